"""A report in each format that `perfopt analyze --format` knows; ndjson is printed as results come."""

import csv
import io
from collections.abc import Sequence

from perfopt.cli.output.layout import document_rows
from perfopt.cli.output.notes import notes
from perfopt.cli.output.page import SeriesOf, to_page
from perfopt.cli.output.render import AnalysisReport, to_json, to_yaml
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.cli.output.text import to_text
from perfopt.cli.output.totals import totals, without_changes
from perfopt.report.changes import service_changes

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
        form: "table", "wide", "json", "yaml", "csv", "markdown" or "html".
        screen: what a table is printed on.
        verbose: what a table is followed by, see `to_text`.
        series: what services used, for the pictures of a page.
    """
    if form in ("table", "wide"):
        return to_text(report, screen, verbose=verbose, wide=form == "wide")
    if form == "html":
        return to_page(report, series or {})
    return {"json": to_json, "yaml": to_yaml, "csv": to_csv, "markdown": to_markdown}[form](report)


def to_csv(report: AnalysisReport) -> str:
    """Prints a row for each field that changes; costs, of the whole service, are in its first row only."""
    from perfopt.report.frames import to_arrow  # pyarrow is not needed for other formats

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    table = to_arrow(report.results)
    writer.writerow(table.column_names)
    writer.writerows([_csv_cell(value) for value in row.values()] for row in table.to_pylist())
    return stream.getvalue()


def _csv_cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def to_markdown(report: AnalysisReport) -> str:
    """Prints the table, the total and the notes as GitHub's Markdown, for a merge request or a chat."""
    changes = service_changes(report.results)
    lines = [_line(_MARKDOWN), _line(["---"] * len(_MARKDOWN))] if changes else [without_changes(report)]
    lines += [_line(row) for of in changes for _, row in document_rows(of, repeat_service=True)]
    lines += [f"\n{total}" for total in totals(changes)]
    lines += [""] if (noted := notes(report)) else []
    for note in noted:
        kinds, code = (f" {text}" if text else "" for text in (note.kinds, note.code))
        text = f": {note.text}" if note.text else ""
        lines.append(f"- **{note.label}**{kinds}, {note.who}{code and f' ({note.code})'}{text}")
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"
