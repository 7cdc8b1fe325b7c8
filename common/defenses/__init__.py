"""The defences that Diffence is stacked on: what each trains, and how its classifier answers. No attack, no file paths.

The registry: a defence is one file here, one line below and one YAML in common/configs/.
"""

from typing import TYPE_CHECKING

from common.runtime.registry import Registry

if TYPE_CHECKING:
    from common.defenses.base import Defense

DEFENSES: "Registry[Defense]" = Registry(
    undefended="common.defenses.undefended:DEFENSE",
    selena="common.defenses.selena:DEFENSE",
    advreg="common.defenses.advreg:DEFENSE",
    hamp="common.defenses.hamp:DEFENSE",
    relaxloss="common.defenses.relaxloss:DEFENSE",
    dpsgd="common.defenses.dpsgd:DEFENSE",
    memguard="common.defenses.memguard:DEFENSE",
)
