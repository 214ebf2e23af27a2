"""A report as one self-contained HTML page: the table, the rest a line each, and pictures of use."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from perfopt.charts.page import document
from perfopt.cli.output.layout import document_rows
from perfopt.cli.output.notes import ReportNote, notes
from perfopt.cli.output.pictures import pictures
from perfopt.cli.output.render import AnalysisReport
from perfopt.cli.output.totals import totals, without_changes
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.report.changes import ServiceChanges, service_changes

SeriesOf = Mapping[str, WorkloadSnapshot]
_HEADER = (
    "", "Service", "Container", "Type", "Field", "Current → recommended", "Cost a month", "Confidence",
    "Backtest (n_eff)",
)  # fmt: skip
_LEGEND = (
    "<h2>Use, requests and limits</h2><p>The line is the median use, the band its range."
    " Lines from the left are what is set, blue ones what is recommended. Backtest: the past windows in which"
    " the same strategy, from what was known then, was accurate. Unchanged: whether the current requests and"
    " limits would have been safe there.</p>"
)


def to_page(report: AnalysisReport, series: SeriesOf, appendix: str = "") -> str:
    """Returns the page.

    Args:
        report: of one run.
        series: what workloads used, by identity; those without have no pictures.
        appendix: HTML that follows the pictures.
    """
    changes = service_changes(report.results)
    parts = ["<h1>Recommendations</h1>", *(f"<p><b>{escape(total)}</b></p>" for total in totals(changes))]
    parts.append(_table(changes) if changes else f"<p>{escape(without_changes(report))}</p>")
    parts.append(_notes(notes(report)))
    if series:
        parts.append(_LEGEND)
    order = {one.service: number for number, one in enumerate(changes)}
    for result in sorted(report.results, key=lambda one: order.get(one.service_name, len(order))):
        if result.workload in series:
            parts.append(pictures(result, series[result.workload]))
    return document("Recommendations", "".join([*parts, appendix]))


def _table(changes: Sequence[ServiceChanges]) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in _HEADER)
    rows = "".join(row for of in changes for row in _rows(of))
    legend = (
        "▲ raise: too little now; ▼ lower: more than needed; ● setting;"
        " * current requests assumed from limits. "
        " Backtest: windows accurate of those scored (effective number)."
    )
    table = f'<table class="changes"><tr>{header}</tr>{rows}</table>'
    return f'<div class="wide">{table}</div><p class="legend">{legend}</p>'


def _rows(of: ServiceChanges) -> Iterator[str]:
    for number, (row, cells) in enumerate(document_rows(of, repeat_service=False)):
        inner = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        yield f'<tr class="{row.severity}{" first" if number == 0 else ""}">{inner}</tr>'


def _notes(notes: Sequence[ReportNote]) -> str:
    if not notes:
        return ""
    items = "".join(
        f"<tr><td>{escape(one.label)}</td><td>{escape(one.kinds)}</td><td>{escape(one.who)}</td>"
        f"<td>{escape(f'{one.code}: {one.text}' if one.code else one.text)}</td></tr>"
        for one in notes
    )
    return f'<h2>Everything else</h2><div class="wide"><table class="notes">{items}</table></div>'
