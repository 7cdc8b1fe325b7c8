"""The named modes that YAML files, command lines and code share. Light: a command's --help reads them."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, PlainSerializer

Device = Literal["auto", "cuda", "mps", "cpu"]
Precision = Literal["fp32", "bf16"]
Network = Literal["classifier", "diffusion"]
Noising = Literal["ddpm", "published"]  # the forward process: DDPM's, or that of the published code
ProtocolName = Literal["held_out", "steady", "published"]
FenceName = Literal["steady", "paper", "published"]  # see diffence/measures.py
Noise = Literal["per_image", "shared"]  # drawn for each image anew, or the same for all
Selection = Literal["interval", "matched", "exact"]  # the paper's rule, or answers that follow one distribution
Criterion = Literal["js", "ks"]  # what an interval makes least: the Jensen-Shannon or the Kolmogorov-Smirnov distance
Work = Literal["lazy", "constant"]  # reconstructions are drawn until one is accepted, or always all
TrainedOn = Literal["members", "reference", "both"]  # samples that the diffusion model learns from
Answering = Literal["select", "average", "label"]  # one candidate answers, the mean of all, or the label alone
ShadowDiffusion = Literal["shared", "own"]  # whose diffusion model fences a shadow model: the target's, or its own
OriginalSettings = Literal["selena", "relaxloss", "hamp"]  # the defence whose own paper trains so (table IV)
Answers = Literal["logits", "probabilities"]  # what a classifier gives
TableStyle = Literal["text", "markdown", "latex"]
Scenario = Literal["members_and_non_members", "members_only", "neither"]  # what the defender knows

SCENARIOS: dict[int, Scenario] = dict(enumerate(get_args(Scenario), start=1))
"""By the paper's number, which YAML files, command lines and reports use."""


def _named(value: Any) -> Any:
    """The name of a scenario's number; anything else as it is."""
    return SCENARIOS.get(value, value) if type(value) is int else value


def _numbered(value: Scenario) -> int:
    return next(number for number, name in SCENARIOS.items() if name == value)


ScenarioSetting = Annotated[Scenario, BeforeValidator(_named), PlainSerializer(_numbered)]
"""A scenario in a configuration: read as 1, 2, 3 or by name, held by name, written as the number."""
