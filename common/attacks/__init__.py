"""Membership inference attacks: observations in, scores out, and everywhere a higher score means more likely a member.

They see arrays: no model of the target, no file, no dataset.

The registries: an attack is one file here and one line below; what it must have is in interface.py. Attacks that need
shadow models have a registry of their own, since only an audit by shadow models runs them.
"""

from typing import TYPE_CHECKING

from common.runtime.registry import Registry

if TYPE_CHECKING:
    from common.attacks.interface import Attack

ATTACKS: "Registry[Attack]" = Registry(
    confidence="common.attacks.confidence:ATTACK",
    loss="common.attacks.loss:ATTACK",
    entropy="common.attacks.entropy:ATTACK",
    modified_entropy="common.attacks.modified_entropy:ATTACK",
    correctness="common.attacks.correctness:ATTACK",
    confidence_per_class="common.attacks.confidence:PER_CLASS",
    entropy_per_class="common.attacks.entropy:PER_CLASS",
    modified_entropy_per_class="common.attacks.modified_entropy:PER_CLASS",
    nn="common.attacks.nn:ATTACK",
    likelihood_ratio="common.attacks.likelihood_ratio:ATTACK",
    edges="common.attacks.edges:ATTACK",
    near_copies_1="common.attacks.near_copies:ONE",
    near_copies_4="common.attacks.near_copies:FOUR",
    near_copies_16="common.attacks.near_copies:SIXTEEN",
    near_copies_64="common.attacks.near_copies:SIXTY_FOUR",
    noisy_copies_5="common.attacks.noisy_copies:SMALL",
    noisy_copies_15="common.attacks.noisy_copies:LARGE",
    shifted_copies="common.attacks.shifted_copies:ATTACK",
    work="common.attacks.work:ATTACK",
    label_augmentation="common.attacks.label_only:AUGMENTATION",
    label_noise="common.attacks.label_only:NOISE",
    label_combined="common.attacks.label_only:COMBINED",
    everything="common.attacks.everything:ATTACK",
    boundary="common.attacks.boundary:ATTACK",
)

SHADOW_ATTACKS: "Registry[Attack]" = Registry(
    lira="common.attacks.lira:ONLINE",
    lira_16="common.attacks.lira:ONLINE_16",
    lira_mean_16="common.attacks.lira:MEAN_16",
    lira_offline="common.attacks.lira:OFFLINE",
    lira_offline_16="common.attacks.lira:OFFLINE_16",
    lira_ranks="common.attacks.lira_ranks:ONE",
    lira_ranks_16="common.attacks.lira_ranks:SIXTEEN",
    rmia="common.attacks.rmia:ONLINE",
    rmia_16="common.attacks.rmia:ONLINE_16",
    rmia_offline="common.attacks.rmia:OFFLINE",
)
