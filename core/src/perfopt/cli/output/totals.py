"""What all changes of a report come to."""

from collections.abc import Iterable, Iterator

from perfopt.cli.output.changes import ServiceChanges
from perfopt.cli.output.layout import cost_change

NO_CHANGES = "No change is recommended."


def totals(found: Iterable[ServiceChanges]) -> Iterator[str]:
    """Returns a sentence on each currency's total, and on what is left out because it is assumed."""
    groups: dict[tuple[bool, str], list[ServiceChanges]] = {}
    for one in found:
        if one.saving is not None:
            groups.setdefault((one.assumed, one.currency), []).append(one)
    for (assumed, currency), services in sorted(groups.items(), key=lambda group: group[0]):
        label = "Not in the total (*)" if assumed else "Total"
        before = sum(one.cost_current or 0.0 for one in services)
        after = sum(one.cost_recommended or 0.0 for one in services)
        count = f"{len(services)} service{'s' if len(services) > 1 else ''}"
        yield f"{label}: {count}, {cost_change(before, after, currency)} a month"
