"""A backtest as a person reads it on a terminal."""

from perfopt.backtest import Backtest, Interval, PolicySummary
from perfopt.backtest.summary import TERCILES, Figures, ResourceFigures
from perfopt.cli.output.render import table

_RIGHT = (
    "MADE",
    "DECLINED",
    "NOT SCORED",
    "ACCURACY",
    "CPU SAFE",
    "MEMORY SAFE",
    "CPU TOTAL",
    "MEMORY TOTAL",
)
_LEGEND = (
    "Accuracy with its 95 % interval (services resampled); waste over the safe ones, median / mean clipped at"
    " 10;\ntotal: sum recommended / sum needed - 1 over all; saving: cost claimed -> kept after shortage.\n"
)


def to_table(result: Backtest) -> str:
    """Prints the figures of each policy, what is said of confidence, and what to know of the data."""
    parts = [
        _head(result),
        _policies(result),
        _LEGEND,
        _classes(result),
        _calibrations(result),
        "".join(f"Note: {note}\n" for note in result.notes),
        "".join(f"Failed: {failed.service}: {failed.message}\n" for failed in result.failed),
    ]
    return "\n".join(part for part in parts if part)


def _head(result: Backtest) -> str:
    first, last = result.cuts[0], result.cuts[-1]
    when = f"{first:%Y-%m-%d %H:%M}" if first == last else f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
    cuts = "1 cut" if first == last else f"{len(result.cuts)} cuts"
    return (
        f"{result.services} services, {cuts} ({when} UTC), history {result.history},"
        f" scored on the {result.validity} after each.\n"
    )


def _policies(result: Backtest) -> str:
    header = (
        "POLICY", "MADE", "DECLINED", "NOT SCORED", "ACCURACY", "CPU SAFE", "MEMORY SAFE", "BY LOAD",
        "CPU WASTE", "MEMORY WASTE", "CPU TOTAL", "MEMORY TOTAL", "SLACK CPU/MEM", "SAVING",
    )  # fmt: skip
    return table(header, [_row(summary) for summary in result.policies], right=_RIGHT)


def _row(summary: PolicySummary) -> tuple[str, ...]:
    whole = summary.all
    return (
        f"{summary.policy} IN-SAMPLE" if summary.in_sample else summary.policy,
        str(summary.made),
        str(sum(summary.declined.values())),
        str(summary.not_scored),
        _with_interval(summary.intervals.get("accuracy")),
        percent(whole.cpu.safe),
        percent(whole.memory.safe),
        "/".join(_group(summary.terciles.get(name)) for name in TERCILES),
        _waste(whole.cpu),
        _waste(whole.memory),
        percent(whole.cpu.weighted_waste),
        percent(whole.memory.weighted_waste),
        f"{percent(whole.cpu.slack)} / {percent(whole.memory.slack)}",
        f"{percent(whole.claimed_saving)} -> {percent(whole.realised_saving)}",
    )


def percent(share: float | None) -> str:
    """Prints a share as a percentage, "-" where there is none."""
    return "-" if share is None else f"{share:.0%}"


def _group(figures: Figures | None) -> str:
    return "-" if figures is None else percent(figures.accuracy)


def _with_interval(found: Interval | None) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.1%}"
    return f"{found.value:.1%} ({found.low:.0%}-{found.high:.0%})"


def _waste(figures: ResourceFigures) -> str:
    return f"{percent(figures.waste_median)} / {percent(figures.waste_mean10)}"


def _classes(result: Backtest) -> str:
    if all(len(summary.classes) < 2 for summary in result.policies):
        return ""
    rows = [
        (
            summary.policy,
            name,
            str(figures.scored),
            percent(figures.accuracy),
            _waste(figures.cpu),
            _waste(figures.memory),
        )
        for summary in result.policies
        for name, figures in summary.classes.items()
    ]
    header = ("POLICY", "CLASS", "SCORED", "ACCURACY", "CPU WASTE", "MEMORY WASTE")
    return table(header, rows, right=("SCORED", "ACCURACY"))


def _calibrations(result: Backtest) -> str:
    parts = []
    for summary in result.policies:
        found = summary.calibration
        if found is None:
            continue
        rows = [
            (
                f"{one.low:.2f} to {one.high:.2f}",
                str(one.count),
                f"{one.confidence:.2f}",
                f"{one.accuracy:.2f}",
            )
            for one in found.bins
        ]
        parts.append(
            f"Confidence of {summary.policy}: ECE {found.ece:.3f}, Brier skill {_number(found.brier_skill)},"
            f" AUC {_number(found.auc)} over {found.count}\n"
            + table(("STATED", "COUNT", "MEAN", "ACCURATE"), rows, right=("COUNT", "MEAN", "ACCURATE"))
        )
    return "\n".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
