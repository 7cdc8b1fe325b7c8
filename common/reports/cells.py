"""Values as the cells of tables show them."""

from common.evaluation.record import AttackRow, Best, Chosen, Difference, Ends, Estimate, Point

NOTHING = "-"  # a cell without a value


def auc(row: AttackRow | Best | Chosen) -> str:
    return f"{row.auc:.3f}" + (f" [{row.auc_ci[0]:.3f}, {row.auc_ci[1]:.3f}]" if row.auc_ci else "")


def difference(value: Difference | None) -> str:
    return NOTHING if value is None else str(value)


def estimate(estimate: Estimate | None) -> str:
    return (
        NOTHING
        if estimate is None
        else f"{estimate.value:.3f} [{estimate.interval[0]:.3f}, {estimate.interval[1]:.3f}]"
    )


def point(point: Point | None) -> str:
    """A rate, its exact interval and its counts."""
    if point is None:
        return NOTHING
    low, high = point.interval
    mark = "" if point.resolved else "*"
    rate = point.hits / point.of
    return f"{rate:.3f}{mark} [{low:.3f}, {high:.3f}] {point.hits}/{point.of} at {point.mistakes}/{point.among}"


def interval(ends: Ends | None) -> str:
    return "[-inf, inf]" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"
