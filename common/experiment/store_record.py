"""store.json: the settings that a store of shadow models was made with."""

import json
from pathlib import Path
from typing import Any

from common.runtime import storage
from common.runtime.errors import UserError
from common.training.provenance import difference

NOT_SAID_BEFORE = ("normalisation", "target")  # by stores of versions before: taken to be as it is now


def settings_of(record: Path, now: dict[str, Any]) -> dict[str, Any]:
    """The settings that a store says it was made with; those of now where there is no store yet.

    Raises UserError where they are others, so that no store is ever mixed of two kinds.
    """
    if not record.is_file():
        return now
    try:
        found = storage.read_json(record)
    except (OSError, ValueError) as error:
        raise UserError(f"{record}: not readable JSON ({error}): move {record.parent} away") from error
    wanted = storage.parse_json(json.dumps(now).encode())
    assumed = {name: wanted[name] for name in NOT_SAID_BEFORE if name in wanted}
    if not isinstance(found, dict) or assumed | found != wanted:
        changed = difference(assumed | found, wanted) if isinstance(found, dict) else "all of them"
        raise UserError(
            f"{record.parent} was made with other settings than there are now ({changed[:500]}): move it away to "
            "make shadow models anew, or leave the settings as they were"
        )
    return found
