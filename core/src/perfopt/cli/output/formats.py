"""A report in each format that `perfopt analyze --format` knows; ndjson is printed as results come."""

import csv
import io
from collections.abc import Iterator, Sequence

from perfopt.cli.output.changes import ServiceChanges, service_changes
from perfopt.cli.output.layout import MARKS, backtest, cost
from perfopt.cli.output.notes import notes
from perfopt.cli.output.page import SeriesOf, to_page
from perfopt.cli.output.render import AnalysisReport, to_json, to_yaml
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.cli.output.text import to_text
from perfopt.cli.output.totals import totals, without_changes

_CSV = (
    "service", "container", "type", "field", "current", "recommended", "severity", "confidence",
    "backtest_accurate", "backtest_scored", "n_effective", "recommendation_id", "monthly_cost_current",
    "monthly_cost_recommended", "currency", "assumed_from_limit", "expected_value",
)  # fmt: skip
_MARKDOWN = (
    "", "Service", "Container", "Type", "Field", "Current → recommended", "Cost/month", "Confidence",
    "Backtest (n_eff)",
)  # fmt: skip


def rendered(
    report: AnalysisReport,
    form: str,
    *,
    screen: TerminalScreen,
    verbose: bool = False,
    series: SeriesOf | None = None,
) -> str:
    """Returns a report as text.

    Args:
        report: of one run.
        form: "table", "json", "yaml", "csv", "markdown" or "html".
        screen: what a table is printed on.
        verbose: what a table is followed by, see `to_text`.
        series: what services used, for the pictures of a page.
    """
    if form == "table":
        return to_text(report, screen, verbose=verbose)
    if form == "html":
        return to_page(report, series or {})
    return {"json": to_json, "yaml": to_yaml, "csv": to_csv, "markdown": to_markdown}[form](report)


def to_csv(report: AnalysisReport) -> str:
    """Prints a row for each field that changes; costs, of the whole service, are in its first row only."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV)
    for of in service_changes(report.results):
        writer.writerows(_csv_rows(of))
    return stream.getvalue()


def _csv_rows(of: ServiceChanges) -> Iterator[tuple[object, ...]]:
    whole = (of.cost_current, of.cost_recommended, of.currency, str(of.assumed).lower(), of.expected_value)
    for number, row in enumerate(of.rows):
        yield (
            of.service,
            row.container,
            row.kind,
            row.what,
            "" if row.current == "-" else row.current,
            "" if row.recommended == "-" else row.recommended,
            row.severity,
            row.confidence,
            row.accurate,
            row.scored,
            row.n_effective,
            row.recommendation_id,
            *(whole if number == 0 else [""] * len(whole)),
        )


def to_markdown(report: AnalysisReport) -> str:
    """Prints the table, the total and the notes as GitHub's Markdown, for a merge request or a chat."""
    found = service_changes(report.results)
    lines = [_line(_MARKDOWN), _line(["---"] * len(_MARKDOWN))] if found else [without_changes(report)]
    lines += [_line(row) for of in found for row in _markdown_rows(of)]
    lines += [f"\n{total}" for total in totals(found)]
    lines += [""] if (noted := notes(report)) else []
    for note in noted:
        kinds, code = (f" {text}" if text else "" for text in (note.kinds, note.code))
        text = f": {note.text}" if note.text else ""
        lines.append(f"- **{note.label}**{kinds}, {note.who}{code and f' ({note.code})'}{text}")
    return "\n".join(lines) + "\n"


def _markdown_rows(of: ServiceChanges) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(of.rows):
        yield (
            MARKS[row.severity],
            of.service,
            row.container,
            row.kind,
            row.what,
            f"{row.current} → {row.recommended}",
            cost(of) if number == 0 else "",
            f"{row.confidence:.2f}",
            backtest(row),
        )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"
