"""Closed loops as a person reads them on a terminal."""

from perfopt.backtest.bootstrap import ConfidenceInterval
from perfopt.backtest.loop import LoopResult, PolicyLoop
from perfopt.cli.output.render import paragraph, table

LOOP_HEADER = (
    "POLICY", "DAYS", "ABSTAINED", "UNSAFE (95 %)", "CPU", "MEM", "SAVING (95 %)", "BY SERVICE", "MEMORY",
    "CHANGES/WEEK", "RAISES/WEEK",
)  # fmt: skip
LOOP_LEGEND = (
    "DAYS: service-days scored. SAVING: of the possible, by cost / each service alike / memory alone."
    " CHANGES: of what is in force, a service and week; RAISES: those for drift among them. Intervals are of"
    " 95 %, from resampling services."
)


def to_loop_table(result: LoopResult) -> str:
    """Prints the figures of each policy and what to know of the data."""
    head = (
        f"{result.services} services, analysed every {result.every} from {result.first:%Y-%m-%d %H:%M} to"
        f" {result.last:%Y-%m-%d %H:%M} UTC, history {result.history}, each for the {result.horizon} after."
    )
    parts = [
        f"{paragraph(head)}\n{paragraph(f'{result.definition.capitalize()}.')}\n",
        table(LOOP_HEADER, [loop_row(one) for one in result.policies], right=LOOP_HEADER[1:]),
        f"{paragraph(LOOP_LEGEND)}\n",
        "".join(f"{paragraph(f'Note: {note}')}\n" for note in result.notes),
        "".join(f"{paragraph(f'Failed: {one.service}: {one.message}')}\n" for one in result.failed),
    ]
    return "\n".join(part for part in parts if part)


def loop_row(one: PolicyLoop) -> tuple[str, ...]:
    """Returns the cells of a policy, as LOOP_HEADER names them."""
    figures = one.figures
    return (
        f"{one.policy} IN-SAMPLE" if one.in_sample else one.policy,
        str(one.days),
        str(one.abstained),
        _share(figures.get("unsafe"), 1, interval=True),
        _share(figures.get("unsafe_cpu"), 1),
        _share(figures.get("unsafe_memory"), 1),
        _share(figures.get("saving"), 0, interval=True),
        _share(figures.get("saving_by_service"), 0),
        _share(figures.get("memory_saving"), 0),
        _number(figures.get("changes")),
        _number(figures.get("raises")),
    )


def _share(figure: ConfidenceInterval | None, digits: int, *, interval: bool = False) -> str:
    if figure is None:
        return "-"
    value = f"{figure.value:.{digits}%}"
    if not interval or figure.low is None or figure.high is None:
        return value
    return f"{value} ({100 * figure.low:.{digits}f}-{100 * figure.high:.{digits}f})"


def _number(interval: ConfidenceInterval | None) -> str:
    return "-" if interval is None else f"{interval.value:.2f}"
