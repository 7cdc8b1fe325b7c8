"""The registry: a defence is one file here, one line below and one YAML in each dataset folder's configs/."""

from common.defenses import advreg, dpsgd, hamp, memguard, relaxloss, selena, undefended
from common.defenses.base import Defense

DEFENSES: dict[str, Defense] = {
    "undefended": undefended.DEFENSE,
    "selena": selena.DEFENSE,
    "advreg": advreg.DEFENSE,
    "hamp": hamp.DEFENSE,
    "relaxloss": relaxloss.DEFENSE,
    "dpsgd": dpsgd.DEFENSE,
    "memguard": memguard.DEFENSE,
}
