"""Small parts of SVG: scales, axes, text. All text is escaped; colours are CSS classes of the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 52.0, 18.0, 26.0, 40.0


@dataclass(frozen=True, slots=True)
class PlotAxis:
    """Maps values to one direction of a picture.

    Attributes:
        low, high: the values at its ends.
        begin, end: where they stand, in pixels.
        bend: applied to values first, such as log1p; None is linear.
    """

    low: float
    high: float
    begin: float
    end: float
    bend: Callable[[float], float] | None = None

    def at(self, value: float) -> float:
        """Returns where a value stands, held within the ends."""
        low, high, x = (self.bend(v) if self.bend else v for v in (self.low, self.high, value))
        share = 0.0 if high == low else (x - low) / (high - low)
        return self.begin + min(max(share, 0.0), 1.0) * (self.end - self.begin)


@dataclass(frozen=True, slots=True)
class PlotFrame:
    """A plot's size and axes."""

    width: float
    height: float
    x: PlotAxis
    y: PlotAxis

    @classmethod
    def of(
        cls,
        width: float,
        height: float,
        x: tuple[float, float],
        y: tuple[float, float],
        bend_x: Callable[[float], float] | None = None,
    ) -> "PlotFrame":
        """Returns a frame with room for the labels of both axes."""
        return cls(
            width,
            height,
            PlotAxis(*x, LEFT, width - RIGHT, bend_x),
            PlotAxis(*y, height - BOTTOM, TOP),
        )

    def axes(
        self,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
        x_title: str,
        y_title: str,
    ) -> list[str]:
        """Draws grid lines, tick labels and titles."""
        bottom, parts = self.y.begin, []
        for value, label in y_ticks:
            y = self.y.at(value)
            parts.append(line(self.x.begin, y, self.x.end, y, "grid"))
            parts.append(text(self.x.begin - 6, y + 4, label, "tick end"))
        for value, label in x_ticks:
            x = self.x.at(value)
            parts.append(line(x, bottom, x, bottom + 4, "axis"))
            parts.append(text(x, bottom + 17, label, "tick middle"))
        parts.append(line(self.x.begin, bottom, self.x.end, bottom, "axis"))
        parts.append(text((self.x.begin + self.x.end) / 2, self.height - 5, x_title, "title middle"))
        parts.append(text(4, 11, y_title, "title"))
        return parts


def picture(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Returns a whole picture; the label is what a screen reader says."""
    size = f'viewBox="0 0 {number(width)} {number(height)}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Draws a line."""
    return f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" class="{kind}"/>'


def circle(x: float, y: float, radius: float, kind: str, tip: str) -> str:
    """Draws a dot that shows a text when pointed at."""
    return (
        f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{kind}">'
        f"<title>{escape(tip)}</title></circle>"
    )


def rectangle(x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> str:
    """Draws a filled rectangle, which may show a text when pointed at."""
    size = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    if not tip:
        return f'<rect {size} class="{kind}"/>'
    return f'<rect {size} class="{kind}"><title>{escape(tip)}</title></rect>'


def text(x: float, y: float, content: str, kind: str) -> str:
    """Writes a text; its class says how it is anchored."""
    return f'<text x="{number(x)}" y="{number(y)}" class="{kind}">{escape(content)}</text>'


def path(points: Sequence[tuple[float, float] | None], kind: str) -> str:
    """Draws a line through points; None is a gap."""
    steps, pen_up = [], True
    for point in points:
        if point is None:
            pen_up = True
            continue
        steps.append(f"{'M' if pen_up else 'L'}{number(point[0])} {number(point[1])}")
        pen_up = False
    return f'<path d="{"".join(steps)}" class="{kind}"/>'


def number(value: float) -> str:
    """Prints a coordinate to a tenth of a pixel."""
    rounded = f"{value:.1f}"
    return (
        rounded.removesuffix(".0").replace("-0", "0") if rounded in ("-0.0",) else rounded.removesuffix(".0")
    )


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Returns round values within [low, high], about as many as asked for."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]
