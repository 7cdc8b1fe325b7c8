"""The verdict in one sentence, for people who read no table: what the strongest attacker gets."""

from common.attacks import SHADOW_ATTACKS
from common.evaluation.record import AttackRow, Report, UnderProtocol
from common.reports.sides import FENCES

MANY = 3  # attacks that did not run: more are counted, not named
PRIOR = "0.1"  # one image in ten was in the training set
AS_JUDGED = {"published": ", as its code judges"}  # said of a fence, by protocol


def sentence(without: Report, fenced: Report | None = None) -> str:
    """Of the strongest attack without a fence, and with each fence that was evaluated; the last one says the rest."""
    plain = without.protocols[without.main]
    fences = {} if fenced is None else {name: fenced.protocols.get(name) for name in (fenced.main, "steady")}
    parts = {name: part for name, part in fences.items() if part is not None}
    last = list(parts.values())[-1] if parts else plain
    cases = [
        f"in {_chances(plain)} without a fence",
        *(f"in {_chances(p)} with the {FENCES[n]}{AS_JUDGED.get(n, '')}" for n, p in parts.items()),
    ]
    if fenced is None:
        cases = [f"in {_chances(plain)}"]
    who = without.dataset
    if without.outputs is None:
        who = f"this {without.dataset} classifier, {without.subject},"
    return (
        f"Shown one training image and one other image, the strongest of {len({*plain.attacks, *last.attacks})} "
        f"attacks tried on {who} picks the training image {_listed(cases)}, where a coin gets 50"
        f"{_precision(last, behind='' if fenced is None else ' behind it')}; not tested: {_untested(last)}."
    )


def _listed(cases: list[str]) -> str:
    return cases[0] if len(cases) == 1 else f"{', '.join(cases[:-1])} and {cases[-1]}"


def _chances(part: UnderProtocol) -> str:
    """Cases in a hundred with certainty, by which attack, from how many queries."""
    best, row = part.best, _strongest(part)
    ends = best.auc_ci or row.auc_ci
    asked = "" if row.queries is None else f", {row.queries} {'query' if row.queries == 1 else 'queries'} an image"
    name = "" if best.attack is None else f"; {best.attack}{asked}"
    return f"{_per_cent(best.auc)} of 100 cases (95 % sure: {_per_cent(ends[0])} to {_per_cent(ends[1])}{name})"


def _precision(part: UnderProtocol, *, behind: str) -> str:
    """How many of those that the strongest attack names behind the fence are members."""
    named = _strongest(part).ppv.get(PRIOR)
    if named is None:
        return ""
    low, high = (_per_cent(end) for end in named.interval)
    return (
        f"; if one image in ten is a training image, then of 100 images that it calls training images{behind} "
        f"{_per_cent(named.value)} are ({low} to {high})"
    )


def _untested(part: UnderProtocol) -> str:
    shadows = [] if any(name in SHADOW_ATTACKS for name in part.attacks) else ["attackers who train shadow models"]
    left = [f"{name} ({reason})" for name, reason in part.not_run.items()]
    if len(left) > MANY:
        left = [f"{len(left)} attacks that need more than was given, as listed below"]
    return "; ".join([", ".join([*shadows, "the most vulnerable images one by one"]), *left])


def _strongest(part: UnderProtocol) -> AttackRow:
    if part.best.attack is not None:
        return part.attacks[part.best.attack]
    return max(part.attacks.values(), key=lambda row: row.auc)


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f}"
