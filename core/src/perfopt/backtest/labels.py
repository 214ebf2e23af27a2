"""Names beside the dots of a chart, placed so that they lie neither on each other nor on a dot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from perfopt.charts import svg

_CHARACTER, _HEIGHT = 6.4, 13.0  # pixels of the page's font
_DOT = 6.0
_RINGS = (0.0, 14.0, 28.0, 42.0, 60.0, 80.0, 104.0, 132.0)
_ANGLES = tuple(math.radians(angle) for angle in (0, 180, 90, -90, 45, -45, 135, -135))


@dataclass(frozen=True, slots=True)
class LabelledDot:
    """A dot in pixels, with the name and the class ("ours" or "baseline") of what it stands for."""

    x: float
    y: float
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class _LabelBox:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "_LabelBox") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def labels(dots: Sequence[LabelledDot], frame: svg.PlotFrame) -> list[str]:
    """Returns the names, with a line to the dot where one stands apart; dots in one place share a label."""
    taken = [_LabelBox(dot.x - _DOT, dot.y - _DOT, dot.x + _DOT, dot.y + _DOT) for dot in dots]
    parts: list[str] = []
    for dot in sorted(_joined(dots), key=lambda one: (one.kind != "ours", one.x, one.y)):
        box = _place(dot, taken, frame)
        taken.append(box)
        nearest_x = min(max(dot.x, box.left), box.right)
        nearest_y = min(max(dot.y, box.top), box.bottom)
        if math.hypot(nearest_x - dot.x, nearest_y - dot.y) > _HEIGHT:
            parts.append(svg.line(dot.x, dot.y, nearest_x, nearest_y, "leader"))
        parts.append(svg.text(box.left, box.bottom - 3, dot.name, f"name {dot.kind}"))
    return parts


def _joined(dots: Sequence[LabelledDot]) -> list[LabelledDot]:
    """Joins dots of one place: their names in one label."""
    places: dict[tuple[int, int, str], list[LabelledDot]] = {}
    for dot in dots:
        places.setdefault((round(dot.x / 3), round(dot.y / 3), dot.kind), []).append(dot)
    return [
        LabelledDot(group[0].x, group[0].y, ", ".join(dot.name for dot in group), group[0].kind)
        for group in places.values()
    ]


def _place(dot: LabelledDot, taken: Sequence[_LabelBox], frame: svg.PlotFrame) -> _LabelBox:
    """Returns the nearest free place for a label; where none is free the one with the fewest overlaps."""
    width = _CHARACTER * len(dot.name)
    best: tuple[int, _LabelBox] | None = None
    for ring in _RINGS:
        for angle in _ANGLES:
            box = _beside(dot, width, ring, angle)
            inside = box.left >= frame.x.begin and box.right <= frame.width - 2
            if not inside or box.top < 2 or box.bottom > frame.y.begin:
                continue
            overlaps = sum(box.overlaps(other) for other in taken)
            if not overlaps:
                return box
            if best is None or overlaps < best[0]:
                best = (overlaps, box)
    return best[1] if best is not None else _beside(dot, width, 0.0, 0.0)


def _beside(dot: LabelledDot, width: float, ring: float, angle: float) -> _LabelBox:
    reach = _DOT + 3 + ring
    x, y = dot.x + reach * math.cos(angle), dot.y - reach * math.sin(angle)
    left = x if math.cos(angle) > 0.1 else x - width if math.cos(angle) < -0.1 else x - width / 2
    return _LabelBox(left, y - _HEIGHT / 2, left + width, y + _HEIGHT / 2)
