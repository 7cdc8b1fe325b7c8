"""Does a classifier give away who was in its training set? An audit by its answers, without a diffusion model.

python -m common.audit --answers FILE.npz, or in Python: from common.audit import audit
"""

import sys
from typing import Any

from common.cli.audit import main


def __getattr__(name: str) -> Any:
    """``audit`` brings heavy imports, which --help does not wait for."""
    if name == "audit":
        from common.experiment.audit import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(main())
