"""A report as a person reads it on a terminal: one table, a total, and the rest a line each."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import RenderableType
from rich.text import Text

from perfopt.cli.output.details import details
from perfopt.cli.output.layout import (
    CONTRADICTED,
    LEGEND,
    changes_table,
    is_contradicted,
    notes_table,
    printed,
)
from perfopt.cli.output.notes import notes
from perfopt.cli.output.render import AnalysisReport
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.cli.output.totals import totals, without_changes
from perfopt.report.changes import ServiceChanges, service_changes

WIDE = 250  # what lines of the wide table are allowed
NOTHING = "Nothing was analysed: the source holds no service.\n"


def to_text(
    report: AnalysisReport, screen: TerminalScreen, *, verbose: bool = False, wide: bool = False
) -> str:
    """Prints a report.

    Args:
        report: of one run.
        screen: what it is printed on.
        verbose: print each service's recommendations, evidence and reasons in full below the table.
        wide: with the columns of validity and id; lines are as long as they need to be.
    """
    changes, noted = service_changes(report.results), notes(report)
    if not changes and not noted:
        return NOTHING
    screen = replace(screen, width=max(screen.width, WIDE)) if wide else screen
    parts: list[RenderableType] = (
        [*changes_table(changes, screen, wide=wide)] if changes else [without_changes(report)]
    )
    parts += [Text(total, style="bold") for total in totals(changes)]
    if changes:
        parts += [Text(line, style="dim") for line in _legend(screen)]
        parts += _contradictions(changes)
    if noted:
        parts += ["", notes_table(noted, screen)]
    shown = printed(parts, screen)
    return shown + details(report.results, screen) if verbose else shown


def _contradictions(changes: Sequence[ServiceChanges]) -> list[Text]:
    rows = (row for of in changes for row in of.rows)
    return [Text(CONTRADICTED, style="yellow")] if any(is_contradicted(row) for row in rows) else []


def _legend(screen: TerminalScreen) -> Sequence[str]:
    whole = "; ".join(LEGEND)
    return (whole,) if len(whole) <= screen.width else LEGEND
