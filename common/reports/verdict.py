"""The verdict in one sentence, for people who read no table: what the strongest attacker gets."""

from common.evaluation.record import AttackRow, Report, UnderProtocol

PRIOR = "0.1"  # one image in ten was in the training set
FENCES = {
    "held_out": "the paper's fence",
    "steady": "the steady fence",
    "published": "the paper's fence, as its code judges",
}


def sentence(without: Report, fenced: Report) -> str:
    """Of the strongest attack without a fence, and with each fence that was evaluated; the last one says the rest."""
    plain = without.protocols[without.main]
    fences = {name: fenced.protocols[name] for name in (fenced.main, "steady") if name in fenced.protocols}
    last = list(fences.values())[-1]
    tried = len({*plain.attacks, *last.attacks})
    cases = [f"in {_chances(plain)} without a fence"]
    cases += [f"in {_chances(part)} with {FENCES[name]}" for name, part in fences.items()]
    return (
        f"Shown one training image and one other image, the strongest of {tried} attacks tried on this "
        f"{fenced.dataset} classifier, {fenced.subject}, picks the training image {', '.join(cases[:-1])} and "
        f"{cases[-1]}, where a coin gets 50{_precision(last)}; not tested: {_untested(last)}."
    )


def _chances(part: UnderProtocol) -> str:
    """Cases in a hundred with certainty, by which attack, from how many queries."""
    best, row = part.best, _strongest(part)
    ends = best.auc_ci or row.auc_ci
    asked = "" if row.queries is None else f", {row.queries} {'query' if row.queries == 1 else 'queries'} an image"
    name = "" if best.attack is None else f"; {best.attack}{asked}"
    return f"{_per_cent(best.auc)} of 100 cases (95 % sure: {_per_cent(ends[0])} to {_per_cent(ends[1])}{name})"


def _precision(part: UnderProtocol) -> str:
    """How many of those that the strongest attack names behind the fence are members."""
    named = _strongest(part).ppv.get(PRIOR)
    if named is None:
        return ""
    low, high = (_per_cent(end) for end in named.interval)
    return (
        f"; if one image in ten is a training image, {_per_cent(named.value)} of 100 that it names behind it are "
        f"({low} to {high})"
    )


def _untested(part: UnderProtocol) -> str:
    left = [f"{name} ({reason})" for name, reason in part.not_run.items()]
    return "; ".join(["attackers who train shadow models, the most vulnerable images one by one", *left])


def _strongest(part: UnderProtocol) -> AttackRow:
    if part.best.attack is not None:
        return part.attacks[part.best.attack]
    return max(part.attacks.values(), key=lambda row: row.auc)


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f}"
