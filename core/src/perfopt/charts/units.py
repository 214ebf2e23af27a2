"""Quantities as labels of charts: few digits, in a unit that fits."""

from perfopt.domain.quantity import format_cpu

_UNITS = {2**40: "Ti", 2**30: "Gi", 2**20: "Mi", 1: ""}


def amount(value: float, resource: str) -> str:
    """Prints cores or bytes in few digits."""
    if resource == "cpu":
        return format_cpu(value) if value < 1 else f"{value:.3g}"
    size = unit(value, resource)
    return f"{value / size:.3g}{_UNITS[size]}"


def unit(value: float, resource: str) -> int:
    """Returns the largest unit that a value holds at least one of."""
    return 1 if resource == "cpu" else next((size for size in _UNITS if value >= size), 1)
