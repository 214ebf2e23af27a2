"""A backtest as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from html import escape

from perfopt.backtest import charts
from perfopt.backtest.misses import MissSeries
from perfopt.backtest.policies import OURS, about
from perfopt.backtest.report import Backtest
from perfopt.backtest.summary import TERCILES, Figures, PolicySummary, ResourceFigures
from perfopt.charts.page import document
from perfopt.charts.units import amount


def render_page(result: Backtest, misses: Sequence[MissSeries]) -> str:
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
            _frontiers(result),
            _tables(result),
            _confidence(result),
            _misses(misses),
            _notes(result),
        )
    )
    return document(title, body)


def _head(result: Backtest, title: str) -> str:
    first, last = result.cuts[0], result.cuts[-1]
    return (
        f"<h1>{escape(title)}</h1><p>{result.services} services at {len(result.cuts)} instants from"
        f" {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC. Each recommendation was made from the"
        f" {result.history} before its instant and scored on the {result.validity} after it. It is accurate"
        " when 99 % of the 5-minute means of cpu stay within the request and no sample of memory is"
        f" above request or limit ({escape(result.definition)}).</p>"
    )


def _cards(result: Backtest) -> str:
    ours = next((summary for summary in result.policies if summary.policy.startswith(OURS)), None)
    if ours is None:
        return ""
    baselines = [summary for summary in result.policies if not summary.policy.startswith(OURS)]
    best = max(baselines, key=lambda summary: summary.all.accuracy or 0.0, default=None)
    cards = [
        (_percent(ours.all.accuracy, 1), f"accuracy of {ours.policy}"),
        (_percent(ours.all.cpu.waste_median), "median cpu waste, safe ones"),
        (_percent(ours.all.memory.waste_median), "median memory waste, safe ones"),
        (_percent(ours.all.realised_saving), "cost saved after shortage"),
        (_percent(ours.abstention), "abstention"),
    ]
    if best is not None:
        cards.append((_percent(best.all.accuracy, 1), f"accuracy of the best baseline, {best.policy}"))
    inner = "".join(f'<div class="card"><b>{b}</b><span>{escape(t)}</span></div>' for b, t in cards)
    return f'<div class="cards">{inner}</div>'


def _frontiers(result: Backtest) -> str:
    drawn = [
        _figure(charts.frontier(result.policies, resource), f"<b>{resource}</b>")
        for resource in ("cpu", "memory")
        if any(f"{resource}_waste_median" in summary.intervals for summary in result.policies)
    ]
    return (
        "<h2>Accuracy against waste</h2><p>Up and to the left is better. Bars are 95 % intervals from"
        " resampling services; the dashed line joins the policies that no other beats in both.</p>"
        f'<div class="row">{"".join(drawn)}</div>'
    )


def _figure(drawing: str, caption: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{drawing}</figure>"


def _tables(result: Backtest) -> str:
    header = (
        "policy", "made / declined / unscored", "accuracy", "cpu safe", "mem safe", "by load",
        "cpu waste", "mem waste", "cpu total", "mem total", "slack cpu / mem", "saving",
    )  # fmt: skip
    rows = "".join(_row(summary) for summary in result.policies)
    whole = (
        "<h2>Figures</h2><p>Waste: median / mean clipped at 10, over the safe ones. Total: what was"
        " recommended over what was needed, less 1, over all. By load: accuracy by tercile of the history's"
        " P99. Slack: 1 - mean use / recommended. Saving: cost of requests claimed, and kept after what was"
        " short was added.</p>"
        f'<div class="wide"><table><tr>{_cells("th", header)}</tr>{rows}</table></div>'
    )
    if all(len(summary.classes) < 2 for summary in result.policies):
        return whole
    parts = [
        f"<tr{_kind(summary)}>{_cells('td', _class_row(summary, name, figures))}</tr>"
        for summary in result.policies
        for name, figures in summary.classes.items()
    ]
    titles = _cells("th", ("policy", "class", "scored", "accuracy", "cpu waste", "memory waste"))
    body = f"<tr>{titles}</tr>{''.join(parts)}"
    return f'{whole}<h2>By service class</h2><div class="wide"><table>{body}</table></div>'


def _kind(summary: PolicySummary) -> str:
    return ' class="ours"' if summary.policy.startswith(OURS) else ""


def _row(summary: PolicySummary) -> str:
    whole = summary.all
    found = summary.intervals.get("accuracy")
    interval = ""
    if found is not None and found.low is not None and found.high is not None:
        interval = f" <small>{found.low:.0%} to {found.high:.0%}</small>"
    cells = (
        f'<span title="{escape(about(summary.policy))}">{escape(summary.policy)}</span>',
        f"{summary.made} / {sum(summary.declined.values())} / {summary.not_scored}",
        f"{_percent(whole.accuracy, 1)}{interval}",
        _percent(whole.cpu.safe),
        _percent(whole.memory.safe),
        " / ".join(_percent(f.accuracy) if (f := summary.terciles.get(n)) else "-" for n in TERCILES),
        _waste(whole.cpu),
        _waste(whole.memory),
        _percent(whole.cpu.weighted_waste),
        _percent(whole.memory.weighted_waste),
        f"{_percent(whole.cpu.slack)} / {_percent(whole.memory.slack)}",
        f"{_percent(whole.claimed_saving)} → {_percent(whole.realised_saving)}",
    )
    return f"<tr{_kind(summary)}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _class_row(summary: PolicySummary, name: str, figures: Figures) -> tuple[str, ...]:
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


def _confidence(result: Backtest) -> str:
    parts = []
    for summary in result.policies:
        found = summary.calibration
        if found is None:
            continue
        skill = "-" if found.brier_skill is None else f"{found.brier_skill:.2f}"
        area = "-" if found.auc is None else f"{found.auc:.2f}"
        caption = (
            f"<b>{escape(summary.policy)}</b>, {found.count} recommendations: ECE {found.ece:.3f},"
            f" Brier skill {skill}, AUC {area}"
        )
        parts.append(_figure(charts.reliability(found), caption))
    if not parts:
        return ""
    return (
        "<h2>Does confidence mean what it says?</h2><p>Bins of equal mass: on the diagonal, of those"
        " stated at 90 %, 90 in 100 were accurate. The bars below show how many lie in each.</p>"
        f'<div class="row">{"".join(parts)}</div>'
    )


def _misses(misses: Sequence[MissSeries]) -> str:
    if not misses:
        return ""
    drawn = []
    for found in misses:
        miss = found.miss
        sure = "" if miss.confidence is None else f", confidence {miss.confidence:.2f}"
        given, needed = (amount(v, miss.resource) for v in (miss.recommended, miss.needed))
        caption = (
            f"<b>{escape(miss.service)}</b>, {miss.resource}, {miss.made_at:%Y-%m-%d %H:%M}:"
            f" {given} recommended, {needed} needed{sure}"
        )
        drawn.append(_figure(charts.miss(found), caption))
    return (
        f"<h2>The worst misses of {escape(misses[0].miss.policy)}</h2><p>"
        '<span class="key" style="color:var(--baseline)"></span>known then'
        '<span class="key" style="color:var(--ink)"></span>what came'
        '<span class="key" style="color:var(--ours)"></span>recommended'
        '<span class="key" style="color:var(--bad)"></span>needed. One a service, by shortage;'
        " the largest sample of each stretch is drawn, and cpu may exceed the request in 1 % of samples.</p>"
        f'<div class="row">{"".join(drawn)}</div>'
    )


def _notes(result: Backtest) -> str:
    failed = [f"{one.service} could not be walked: {one.message}" for one in result.failed]
    items = "".join(f"<li>{escape(note)}</li>" for note in (*result.notes, *failed))
    return f"<h2>Notes</h2><ul>{items}</ul>" if items else ""
