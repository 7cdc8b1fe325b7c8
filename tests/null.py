"""make null: attacks on membership that means nothing.

Who is a member is permuted, in the fitting role and in the final test of `digits`, a hundred times; every attack is
fitted and judged anew, and its 95 % interval of the AUC must hold 0.5 as often as that says. Exit status 1 where an
attack misses it more often than chance does. Needs the undefended classifier and the diffusion model (`make demo`).
"""

import argparse
import sys
from dataclasses import replace

from scipy.stats import binom
from tqdm import trange

from common.attacks import suite
from common.attacks.interface import Fitting
from common.attacks.observations import Observations
from common.evaluation.protocols import HELD_OUT, STEADY, draw
from common.evaluation.run import Settings
from common.experiment import evaluate
from common.experiment.experiment import Experiment
from common.reports import tables
from common.runtime import rng
from common.runtime.paths import REPOSITORY, DatasetFolder
from common.runtime.subject import Subject
from common.statistics.bootstrap import Bootstrap, interval95

FENCES = {"paper": HELD_OUT, "steady": STEADY}
CHANCE = 0.01  # of failing although all is well, over all attacks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.null", description=__doc__)
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--fence", choices=(*FENCES, "none"), default="paper", help="none: the classifier alone")
    options = parser.parse_args()
    fit_on, test, config = _observations(options.fence)
    inside: dict[str, int] = {}
    for number in trange(options.permutations, unit="permutation"):
        permuted = (_permuted(part, number, name) for part, name in ((fit_on, "fit"), (test, "test")))
        result = suite.run(HELD_OUT.attacks, *permuted, Fitting(config, number))
        assert not result.not_run, result.not_run
        for name, scored in result.scored.items():
            lo, hi = interval95(Bootstrap.draw(scored.member, resamples=1000, seed=number).aucs(*scored))
            inside[name] = inside.get(name, 0) + (lo <= 0.5 <= hi)
    least = int(binom.ppf(CHANCE / len(inside), options.permutations, 0.95))
    rows = [(name, str(count), "" if count >= least else "too few") for name, count in inside.items()]
    print(tables.text(("attack", f"of {options.permutations} intervals hold 0.5", f"at least {least}"), rows))
    return 0 if all(count >= least for count in inside.values()) else 1


def _observations(name: str) -> tuple[Observations, Observations, object]:
    """Those of the fitting role and of the final test, and the configuration."""
    experiment = Experiment.at(DatasetFolder(REPOSITORY / "digits"))
    settings = Settings(Subject(), experiment.fence_config, experiment.evaluation_config)
    evaluate.require_inputs(experiment, settings.subject)
    protocol = FENCES.get(name, HELD_OUT)
    fence, models = settings.fence.of(protocol.fence), evaluate.load_models(experiment, settings)
    population = evaluate.fenced_population(experiment, settings, models, fence=fence)
    drawn = draw(population, protocol, settings.evaluation, fence=fence, desc="purify")
    rule = None if name == "none" else drawn.rule
    fit_on, test = (drawn.roles[role].answered(rule).observations for role in (HELD_OUT.fitting, HELD_OUT.test))
    return fit_on, test, settings.evaluation


def _permuted(observations: Observations, number: int, name: str) -> Observations:
    generator = rng.numpy_generator(number, "null", name)
    return replace(observations, member=generator.permutation(observations.membership))


if __name__ == "__main__":
    sys.exit(main())
