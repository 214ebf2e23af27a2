"""A backtest as a person reads it on a terminal."""

from perfopt.backtest import BacktestResult, ConfidenceInterval, PolicySummary
from perfopt.backtest.calibration import MIN_CALIBRATION
from perfopt.backtest.conditional import MIN_GROUP
from perfopt.backtest.summary import ResourceFigures
from perfopt.cli.output.render import paragraph, table

HEADER = (
    "TYPE", "POLICY", "SCORED/MADE", "ABSTAINED", "NO CHANGE", "ACCURACY (95 %)", "CPU SAFE", "MEM SAFE",
    "CLAIMS MET", "CPU WASTE", "MEM WASTE", "COST WASTE", "REALISED SAVING", "CONFIDENCE",
)  # fmt: skip
LEGEND = (
    "ACCURACY: accurate / scored, with its 95 % interval. WASTE: how far the recommended value is above the"
    " smallest safe one, median / mean (COST WASTE: median). REALISED SAVING: share of what could have been"
    " saved, by cost / by service / of memory alone."
)
PLAN_TYPE = "PLAN"


def to_table(result: BacktestResult) -> str:
    """Prints the figures of each policy, what confidence is worth, and what to know of the data."""
    parts = [
        _head(result),
        table(HEADER, [policy_row(summary) for summary in result.policies], right=HEADER[2:], keys=2),
        f"{paragraph(LEGEND)}\n",
        _classes(result),
        _calibrations(result),
        _stabilities(result),
        "".join(f"{paragraph(f'Note: {note}')}\n" for note in result.notes),
        "".join(f"{paragraph(f'Failed: {one.service}: {one.message}')}\n" for one in result.failed),
    ]
    return "\n".join(part for part in parts if part)


def _head(result: BacktestResult) -> str:
    first, last = result.first_origin, result.last_origin
    when = f"{first:%Y-%m-%d %H:%M}" if first == last else f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
    evaluated = (
        f"{result.services} services, {result.origins} origins ({when} UTC), history {result.history},"
        f" scored on the {result.validity} after each."
    )
    return f"{paragraph(evaluated)}\n{paragraph(f'Accurate means: {result.definition}.')}\n"


def policy_row(summary: PolicySummary) -> tuple[str, ...]:
    """Prints the figures of a policy, in the order of HEADER."""
    whole = summary.all
    return (
        type_name(summary),
        f"{summary.policy} IN-SAMPLE" if summary.in_sample else summary.policy,
        f"{whole.scored}/{summary.made}",
        str(sum(summary.declined.values())),
        percent(whole.no_change),
        with_interval(summary.intervals.get("accuracy")),
        percent(whole.cpu.safe),
        percent(whole.memory.safe),
        percent(whole.claims_met),
        waste(whole.cpu),
        waste(whole.memory),
        percent(whole.cost_over_minimum),
        saving(summary),
        number(whole.confidence),
    )


def type_name(summary: PolicySummary) -> str:
    """Returns the short name of a policy's type: RESOURCE, SCALING, ..., or PLAN."""
    kind = summary.optimization_type
    return PLAN_TYPE if kind is None else kind.value.removeprefix("PERFORMANCE_").partition("_")[0]


def percent(share: float | None) -> str:
    """Prints a share as a percentage, "-" where there is none."""
    return "-" if share is None else f"{share:.0%}"


def with_interval(interval: ConfidenceInterval | None) -> str:
    """Prints a share with its interval."""
    if interval is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.1%}"
    return f"{interval.value:.1%} ({interval.low:.0%}-{interval.high:.0%})"


def waste(figures: ResourceFigures) -> str:
    """Prints median and mean of waste, "-" where there is none."""
    if figures.waste_median is None:
        return "-"
    return f"{percent(figures.waste_median)} / {percent(figures.waste_mean10)}"


def saving(summary: PolicySummary) -> str:
    """Prints the three forms of the realised saving, "-" where nothing could be saved."""
    whole = summary.all
    forms = (whole.realised_saving, whole.realised_saving_by_service, whole.realised_memory_saving)
    return "-" if all(form is None for form in forms) else " / ".join(percent(form) for form in forms)


def number(value: float | None) -> str:
    """Prints two digits, "-" where there is no value."""
    return "-" if value is None else f"{value:.2f}"


def _classes(result: BacktestResult) -> str:
    if all(len(summary.classes) < 2 for summary in result.policies):
        return ""
    rows = [
        (
            type_name(summary),
            summary.policy,
            name,
            str(figures.scored),
            percent(figures.accuracy),
            waste(figures.cpu),
            waste(figures.memory),
        )
        for summary in result.policies
        for name, figures in summary.classes.items()
    ]
    header = ("TYPE", "POLICY", "CLASS", "SCORED", "ACCURACY", "CPU WASTE", "MEM WASTE")
    return table(header, rows, right=("SCORED", "ACCURACY"), keys=3)


def _calibrations(result: BacktestResult) -> str:
    """Prints the reliability of a confidence that enough recommendations stated."""
    parts = []
    for summary in result.policies:
        calibration = summary.calibration
        if calibration is None or calibration.count < MIN_CALIBRATION:
            continue
        rows = [
            (
                f"{one.low:.2f} to {one.high:.2f}",
                str(one.count),
                f"{one.confidence:.2f}",
                f"{one.accuracy:.2f}",
            )
            for one in calibration.bins
        ]
        parts.append(
            f"Confidence of {summary.policy}: ECE {calibration.ece:.3f},"
            f" Brier skill {number(calibration.brier_skill)}, AUC {number(calibration.auc)}"
            f" over {calibration.count}\n"
            + table(("STATED", "COUNT", "MEAN", "ACCURATE"), rows, right=("COUNT", "MEAN", "ACCURATE"))
            + _conditional(summary)
        )
    return "\n".join(parts)


def _stabilities(result: BacktestResult) -> str:
    """Prints how sizes move from one day to the next, where origins are a day apart."""
    rows = [
        (
            summary.policy,
            str(one.sizes),
            f"{one.moved:.1%}",
            f"{one.largest:.1f}x",
            str(one.quiet),
            "-" if one.quiet_moved is None else f"{one.quiet_moved:.1%}",
        )
        for summary in result.policies
        if (one := summary.stability) is not None
    ]
    header = ("SIZES A DAY APART", "PAIRS", "MOVED OVER 10 %", "LARGEST", "QUIET", "OF THESE MOVED")
    return table(header, rows, right=header[1:], keys=1) if rows else ""


def _conditional(summary: PolicySummary) -> str:
    """Prints confidence beside accuracy within groups that are large enough."""
    rows = [
        (way, name, str(one.count), f"{one.confidence:.3f}", f"{one.accuracy:.3f}")
        for way, groups in summary.conditional.items()
        for name, one in groups.items()
        if one.count >= MIN_GROUP
    ]
    header = ("BY", "GROUP", "COUNT", "MEAN", "ACCURATE")
    return "\n" + table(header, rows, right=header[2:], keys=2) if rows else ""
