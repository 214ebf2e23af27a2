"""The table of a report on a terminal: a row a field, grouped by service where the width is small."""

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from perfopt.cli.output.notes import ABSTAINED, FAILED, REJECTED, WARNING, ReportNote
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.report.changes import LOWER, RAISE, SETTING, ServiceChanges, ShownChange

MARKS = {RAISE: "▲", LOWER: "▼", SETTING: "●"}
STYLES = {RAISE: "red", LOWER: "green", SETTING: "cyan"}
LEGEND = (
    "▲ raise  ▼ lower  ● setting  * current requests assumed from limits",
    "backtest: windows accurate/scored (n_eff)",
)
CONTRADICTED = (
    "! the service's own backtest is far below the confidence, which rests on other services: check it first"
)
_FAR_BELOW = 0.25
_COST_HEADER = "Cost/month"
_HEADER = ("", "Service", "Container", "Type", "Field", "Change", _COST_HEADER, "Conf.", "Backtest")
_WIDE_HEADER = (*_HEADER, "Valid until", "Id")
_SERVICE, _FIELD, _CHANGE, _COST, _CONFIDENCE = 1, 4, 5, 6, 7
_GAP, _MIN_SERVICE, _MAX_FIELD, _MAX_CHANGE = 2, 16, 16, 19
_LABEL_STYLES = {REJECTED: "yellow", ABSTAINED: "dim", WARNING: "yellow", FAILED: "red"}

Cells = tuple[str, ...]


def printed(parts: Sequence[RenderableType], screen: TerminalScreen) -> str:
    """Renders parts one below the other, in the width and colours of a screen."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=screen.width,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=screen.colours,
        color_system="standard" if screen.colours else None,
        no_color=not screen.colours,
    )
    for part in parts:
        console.print(part)
    lines = stream.getvalue().splitlines()
    return screen.printable("".join(f"{line.rstrip()}\n" for line in lines))


def changes_table(
    changes: Sequence[ServiceChanges], screen: TerminalScreen, *, wide: bool = False
) -> Iterator[RenderableType]:
    """Returns the table of changes, in the form that the width allows.

    Args:
        changes: at least one.
        screen: what it is printed on.
        wide: with the columns of validity and id, whatever the width.
    """
    currencies = {one.currency for one in changes}
    only = currencies.pop() if len(currencies) == 1 else ""
    names = _WIDE_HEADER if wide else _HEADER
    header = tuple(f"{only}/month" if only and name == _COST_HEADER else name for name in names)
    for full in (True, False):
        groups = [
            _group(one, full=full, currency="" if only else one.currency, columns=len(header))
            for one in changes
        ]
        widths = _widths([header, *(row for group in groups for _, row in group)])
        room = screen.width - sum(widths) + widths[_SERVICE] - _GAP * (len(header) - 1)
        if wide:
            yield _wide(header, groups, widths)
            return
        if room >= min(widths[_SERVICE], 2 * _MIN_SERVICE if full else _MIN_SERVICE):
            widths[_SERVICE] = min(room, widths[_SERVICE])
            yield _wide(header, groups, widths)
            return
    yield from _narrow(changes, groups, screen)


def _widths(rows: Sequence[Cells]) -> list[int]:
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    widths[_FIELD] = min(widths[_FIELD], _MAX_FIELD)
    widths[_CHANGE] = min(widths[_CHANGE], _MAX_CHANGE)
    return widths


def _group(of: ServiceChanges, *, full: bool, currency: str, columns: int) -> list[tuple[ShownChange, Cells]]:
    cost = cost_change(of.cost_current, of.cost_recommended, currency, of.assumed, full=full)
    befores = (None, *of.rows)
    return [
        (row, _cells(of.service, cost, before, row)[:columns])
        for before, row in zip(befores, of.rows, strict=False)
    ]


def _cells(service: str, cost: str, before: ShownChange | None, row: ShownChange) -> Cells:
    """Returns a row's cells by _WIDE_HEADER; what holds for several rows stands in the first of them."""
    first = before is None or before.recommendation_id != row.recommendation_id
    return (
        MARKS[row.severity],
        service if before is None else "",
        row.container,
        row.kind if first else "",
        row.what,
        f"{row.current} → {row.recommended}",
        cost if before is None else "",
        f"{row.confidence:.2f}" if first else "",
        backtest(row) if first else "",
        f"{row.valid_until:%Y-%m-%d %H:%M}Z" if first else "",
        row.recommendation_id if first else "",
    )


def document_rows(of: ServiceChanges, *, repeat_service: bool) -> Iterator[tuple[ShownChange, Cells]]:
    """Returns the rows of a service for a document: each with all but its cost, which the first has."""
    for number, row in enumerate(of.rows):
        yield (
            row,
            (
                MARKS[row.severity],
                of.service if repeat_service or number == 0 else "",
                row.container,
                row.kind,
                row.what,
                f"{row.current} → {row.recommended}",
                cost(of) if number == 0 else "",
                f"{row.confidence:.2f}",
                backtest(row),
            ),
        )


def cost(of: ServiceChanges) -> str:
    """Prints the monthly cost and its change, marked where the baseline is assumed from limits."""
    return cost_change(of.cost_current, of.cost_recommended, of.currency, of.assumed)


def cost_change(
    before: float | None, after: float | None, currency: str, assumed: bool = False, *, full: bool = True
) -> str:
    """Prints a cost and its change in percent; with `full`, what it was before too."""
    if after is None:
        return "-"
    unit, mark = f" {currency}" if currency else "", "*" if assumed else ""
    if not before or round(before, 2) == round(after, 2):
        return f"{after:,.2f}{unit}{mark}"
    shown = f"{before:,.2f} → {after:,.2f}" if full else f"{after:,.2f}"
    return f"{shown}{unit} ({100 * (after - before) / before:+.0f} %){mark}"


def backtest(row: ShownChange) -> str:
    """Prints the hit rate of the backtest: windows accurate of those scored, and how many they are worth."""
    if not row.scored:
        return "none"
    mark = " !" if is_contradicted(row) else ""
    return f"{row.accurate}/{row.scored} ({row.n_effective:.1f}){mark}"


def is_contradicted(row: ShownChange) -> bool:
    """Tells whether the service's own backtest is far below the stated confidence."""
    return row.scored > 0 and row.accurate / row.scored < row.confidence - _FAR_BELOW


def shortened(name: str, room: int) -> str:
    """Cuts a name from the left, at a slash where there is one: its end tells services apart."""
    if len(name) <= room:
        return name
    tail = name[-(room - 1) :]
    slash = tail.find("/")
    return f"…{tail[slash:]}" if 0 <= slash < len(tail) // 2 else f"…{tail}"


def _wide(
    header: Cells, groups: Sequence[Sequence[tuple[ShownChange, Cells]]], widths: Sequence[int]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for index, (name, width) in enumerate(zip(header, widths, strict=True)):
        right = index == _CONFIDENCE
        table.add_column(name, width=width, justify="right" if right else "left", overflow="fold")
    for group in groups:
        for row, own in group:
            shown = [*own]
            shown[_SERVICE] = shortened(own[_SERVICE], widths[_SERVICE])
            table.add_row(*_styled(row, shown))
    return table


def _styled(row: ShownChange, shown: Sequence[str], change: int = _CHANGE) -> list[Text]:
    coloured = {0, change}
    return [Text(cell, style=STYLES[row.severity] if i in coloured else "") for i, cell in enumerate(shown)]


_NARROW = (0, 3, 2, _FIELD, _CHANGE, _CONFIDENCE, 8)  # columns of a row below the line of its service


def _narrow(
    changes: Sequence[ServiceChanges],
    groups: Sequence[Sequence[tuple[ShownChange, Cells]]],
    screen: TerminalScreen,
) -> Iterator[RenderableType]:
    rows = [own for group in groups for _, own in group]
    widths = [max(cell_len(own[i]) for own in rows) for i in _NARROW]
    for column, narrowest in ((_FIELD, _MAX_FIELD), (_CHANGE, _MAX_CHANGE), (2, 6), (_CHANGE, 8)):
        over = sum(widths) + _GAP * (len(_NARROW) - 1) - screen.width
        at = _NARROW.index(column)
        widths[at] = max(widths[at] - max(over, 0), min(widths[at], narrowest))
    for of, group in zip(changes, groups, strict=True):
        yield _heading(of, screen)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
        for width in widths:
            table.add_column(width=width, overflow="fold")
        for row, own in group:
            table.add_row(*_styled(row, [own[i] for i in _NARROW], _NARROW.index(_CHANGE)))
        yield table


def _heading(of: ServiceChanges, screen: TerminalScreen) -> Text:
    shown = "" if of.cost_recommended is None else f"{cost(of)} a month"
    room = screen.width - len(shown) - _GAP
    name = shortened(of.service, max(room, _MIN_SERVICE))
    return Text.assemble((name, "bold"), " " * max(room - len(name) + _GAP, _GAP), shown)


def notes_table(notes: Sequence[ReportNote], screen: TerminalScreen) -> Table:
    """Returns the notes, a line each; what is too long for it ends in an ellipsis."""
    rows = [
        (
            note.label,
            _kinds(note.kinds),
            shortened(note.who, max(screen.width // 4, _MIN_SERVICE)),
            _text_of(note),
        )
        for note in notes
    ]
    widths = [max(cell_len(row[i]) for row in rows) for i in range(3)]
    widths.append(max(screen.width - sum(widths) - 3 * _GAP, _MIN_SERVICE))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    for width in widths:
        table.add_column(width=width, no_wrap=True, overflow="ellipsis")
    for label, *rest in rows:
        table.add_row(Text(label, style=_LABEL_STYLES.get(label, "")), *map(Text, rest))
    return table


def _text_of(note: ReportNote) -> str:
    return f"{note.code}: {note.text}" if note.code else note.text


def _kinds(kinds: str) -> str:
    names = kinds.split(", ")
    return kinds if len(names) <= 2 else f"{len(names)} types"
