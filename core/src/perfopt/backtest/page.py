"""A backtest as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from html import escape

from perfopt.backtest import charts
from perfopt.backtest.calibration import MIN_CALIBRATION
from perfopt.backtest.policies import about
from perfopt.backtest.report import BacktestResult
from perfopt.backtest.summary import TERCILES, AccuracyFigures, PolicySummary, ResourceFigures
from perfopt.backtest.violations import ViolationSeries
from perfopt.charts.page import document
from perfopt.charts.units import amount
from perfopt.domain.enums import OptimizationType

_EMPTY = ("-", "- / - / -")
_HEADER = (
    "policy", "scored of made", "abstained", "no change", "accuracy", "cpu safe", "memory safe",
    "claims met", "by load, %", "cpu waste", "memory waste", "cost over minimum", "saving by cost",
    "by service", "memory alone", "confidence",
)  # fmt: skip


def render_page(result: BacktestResult, misses: Sequence[ViolationSeries]) -> str:
    """Returns the page.

    Args:
        result: the figures.
        misses: the series of its worst misses.
    """
    title = f"Backtest of {result.source}"
    body = "".join(
        (
            _head(result, title),
            _cards(result),
            _tables(result),
            _frontiers(result),
            _replicas(result),
            _confidence(result),
            _misses(misses),
            _notes(result),
        )
    )
    return document(title, body)


def _head(result: BacktestResult, title: str) -> str:
    return (
        f"<h1>{escape(title)}</h1><p>{result.services} services at {result.origins} origins from"
        f" {result.first_origin:%Y-%m-%d %H:%M} to {result.last_origin:%Y-%m-%d %H:%M} UTC. Each"
        f" recommendation was made from the {result.history} before its origin and scored on the"
        f" {result.validity} after it."
        f" Accurate means: {escape(result.definition)}.</p>"
    )


def _cards(result: BacktestResult) -> str:
    """Shows the accuracy and the saving of each policy of perfopt, with interval and count."""
    cards = []
    for summary in result.policies:
        if summary.baseline or not summary.all.scored:
            continue
        saving = summary.all.realised_saving
        saved = "" if saving is None else f"; {_percent(saving)} of the possible saving"
        of = f"accuracy of {escape(summary.policy)} ({_between(summary, 'accuracy')}n {summary.all.scored})"
        accuracy = _percent(summary.all.accuracy, 1)
        cards.append(f'<div class="card"><b>{accuracy}</b><span>{of}{saved}</span></div>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _frontiers(result: BacktestResult) -> str:
    sizes = [
        one for one in result.policies if one.optimization_type is OptimizationType.RESOURCE_OPTIMIZATION
    ]
    drawn = [
        _figure(charts.frontier(sizes, resource), f"<b>{resource}</b>")
        for resource in ("cpu", "memory")
        if any(f"{resource}_waste_median" in summary.intervals for summary in sizes)
    ]
    if not drawn:
        return ""
    return (
        "<h2>Accuracy against waste of sizes</h2><p>Up and to the left is better. Bars are 95 % intervals"
        " from resampling services; the dashed line joins the policies that no other beats in both.</p>"
        f'<div class="row">{"".join(drawn)}</div>'
    )


def _figure(drawing: str, caption: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{drawing}</figure>"


def _tables(result: BacktestResult) -> str:
    rows = [_row(summary) for summary in result.policies]
    shown = [at for at in range(len(_HEADER)) if any(cells[at] not in _EMPTY for cells in rows)]
    parts = [f"<tr>{_cells('th', [_HEADER[at] for at in shown])}</tr>"]
    kinds = dict.fromkeys(summary.optimization_type for summary in result.policies)
    for kind in kinds:
        name = "merged plan" if kind is None else kind.value
        parts.append(f'<tr class="kind"><th colspan="{len(shown)}">{name}</th></tr>')
        parts += [
            f"<tr{_kind(summary)}>{''.join(f'<td>{cells[at]}</td>' for at in shown)}</tr>"
            for summary, cells in zip(result.policies, rows, strict=True)
            if summary.optimization_type is kind
        ]
    whole = (
        "<h2>Figures</h2><p>In small print the 95 % interval from resampling services, and the count where"
        " it is not that of the scored. Waste: median of recommended / smallest safe value - 1 over the safe"
        " ones. By load: accuracy by tercile of the history's P99. Saving: what the accurate recommendations"
        " save, as a share of what the smallest accurate values would save.</p>"
        f'<div class="wide"><table>{"".join(parts)}</table></div>'
    )
    return whole + _classes(result)


def _classes(result: BacktestResult) -> str:
    if all(len(summary.classes) < 2 for summary in result.policies):
        return ""
    parts = [
        f"<tr{_kind(summary)}>{_cells('td', _class_row(summary, name, figures))}</tr>"
        for summary in result.policies
        for name, figures in summary.classes.items()
    ]
    titles = _cells("th", ("policy", "class", "scored", "accuracy", "cpu waste", "memory waste"))
    body = f"<tr>{titles}</tr>{''.join(parts)}"
    return f'<h2>By service class</h2><div class="wide"><table>{body}</table></div>'


def _kind(summary: PolicySummary) -> str:
    return "" if summary.baseline else ' class="ours"'


def _row(summary: PolicySummary) -> tuple[str, ...]:
    """Returns the cells of one policy as HTML, in the order of the header."""
    whole, title = summary.all, about(summary.optimization_type, summary.policy)
    return (
        f'<span title="{escape(title)}">{escape(summary.policy)}</span>'
        + (" IN-SAMPLE" if summary.in_sample else ""),
        f"{whole.scored} of {summary.made}",
        str(sum(summary.declined.values())),
        _percent(whole.no_change),
        _with_interval(summary, "accuracy", whole.accuracy, digits=1),
        _with_interval(summary, "cpu_safe", whole.cpu.safe, count=whole.cpu.count),
        _with_interval(summary, "memory_safe", whole.memory.safe, count=whole.memory.count),
        _percent(whole.claims_met),
        " / ".join(_load(summary.terciles.get(name)) for name in TERCILES),
        _with_interval(summary, "cpu_waste_median", whole.cpu.waste_median, count=whole.cpu.count),
        _with_interval(summary, "memory_waste_median", whole.memory.waste_median, count=whole.memory.count),
        _with_interval(summary, "cost_over_minimum", whole.cost_over_minimum),
        _with_interval(summary, "realised_saving", whole.realised_saving),
        _with_interval(summary, "realised_saving_by_service", whole.realised_saving_by_service),
        _with_interval(summary, "realised_memory_saving", whole.realised_memory_saving),
        "-" if whole.confidence is None else f"{whole.confidence:.2f}",
    )


def _load(figures: AccuracyFigures | None) -> str:
    """Returns the accuracy of one tercile of load in per cent, without the sign."""
    return "-" if figures is None or figures.accuracy is None else f"{100 * figures.accuracy:.0f}"


def _with_interval(
    summary: PolicySummary, name: str, value: float | None, *, digits: int = 0, count: int | None = None
) -> str:
    """Prints a share with its interval, and its count where that is not the number of the scored."""
    if value is None:
        return "-"
    own = count is not None and count != summary.all.scored
    small = _between(summary, name).rstrip(", ") + (f" n {count}" if own else "")
    return f"{_percent(value, digits)}" + (f"<br><small>{small.strip()}</small>" if small.strip() else "")


def _between(summary: PolicySummary, name: str) -> str:
    bounds = summary.intervals.get(name)
    if bounds is None or bounds.low is None or bounds.high is None:
        return ""
    return f"{100 * bounds.low:.0f} to {100 * bounds.high:.0f}, "


def _class_row(summary: PolicySummary, name: str, figures: AccuracyFigures) -> tuple[str, ...]:
    return (
        summary.policy,
        name,
        str(figures.scored),
        _percent(figures.accuracy, 1),
        _waste(figures.cpu),
        _waste(figures.memory),
    )


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f}\N{NARROW NO-BREAK SPACE}%"


def _waste(figures: ResourceFigures) -> str:
    return f"{_percent(figures.waste_median)} / {_percent(figures.waste_mean10)}"


def _replicas(result: BacktestResult) -> str:
    if not result.replicas:
        return ""
    drawn = [
        _figure(
            charts.replicas(one.trace, one.policy),
            f"<b>{escape(one.service)}</b>, {escape(one.policy)}, {one.made_at:%Y-%m-%d %H:%M}:"
            f" {one.outcome}",
        )
        for one in result.replicas
    ]
    return (
        "<h2>Demand against replicas</h2><p>"
        '<span class="key" style="color:var(--ink)"></span>replicas that the demand needs at the recommended'
        " request"
        '<span class="key" style="color:var(--ours)"></span>replicas that would have run. Of each stretch the'
        " largest demand and the fewest replicas are drawn.</p>"
        f'<div class="row">{"".join(drawn)}</div>'
    )


def _confidence(result: BacktestResult) -> str:
    parts = []
    for summary in result.policies:
        calibration = summary.calibration
        if calibration is None or calibration.count < MIN_CALIBRATION:
            continue
        skill = "-" if calibration.brier_skill is None else f"{calibration.brier_skill:.2f}"
        area = "-" if calibration.auc is None else f"{calibration.auc:.2f}"
        caption = (
            f"<b>{escape(summary.policy)}</b>, {calibration.count} recommendations:"
            f" ECE {calibration.ece:.3f}, Brier skill {skill}, AUC {area}"
        )
        parts.append(_figure(charts.reliability(calibration), caption))
    if not parts:
        return ""
    return (
        "<h2>Reliability of confidence</h2><p>Bins of equal mass: on the diagonal, of those"
        " stated at 90 %, 90 in 100 were accurate. The bars below show how many lie in each.</p>"
        f'<div class="row">{"".join(parts)}</div>'
    )


def _misses(misses: Sequence[ViolationSeries]) -> str:
    if not misses:
        return ""
    drawn = []
    for example in misses:
        miss = example.miss
        stated = "" if miss.confidence is None else f", confidence {miss.confidence:.2f}"
        given, needed = (amount(v, miss.resource) for v in (miss.recommended, miss.needed))
        caption = (
            f"<b>{escape(miss.service)}</b>, {escape(miss.policy)}, {miss.resource},"
            f" {miss.made_at:%Y-%m-%d %H:%M}: {given} recommended, {needed} needed{stated}"
        )
        drawn.append(_figure(charts.miss(example), caption))
    return (
        "<h2>Worst misses</h2><p>"
        '<span class="key" style="color:var(--baseline)"></span>known at the origin'
        '<span class="key" style="color:var(--ink)"></span>what came'
        '<span class="key" style="color:var(--ours)"></span>recommended'
        '<span class="key" style="color:var(--bad)"></span>needed. One a service, by shortage;'
        " the largest sample of each stretch is drawn, and cpu may exceed the request in 1 % of samples.</p>"
        f'<div class="row">{"".join(drawn)}</div>'
    )


def _notes(result: BacktestResult) -> str:
    failed = [f"{one.service} could not be evaluated: {one.message}" for one in result.failed]
    items = "".join(f"<li>{escape(note)}</li>" for note in (*result.notes, *failed))
    return f"<h2>Notes</h2><ul>{items}</ul>" if items else ""
