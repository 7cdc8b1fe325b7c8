"""The registry: a defence is one file here, one line below and one YAML in each dataset folder's configs/."""

from common.defenses import undefended
from common.defenses.base import Defense

DEFENSES: dict[str, Defense] = {
    "undefended": undefended.DEFENSE,
}
