"""What all changes of a report come to."""

from collections.abc import Iterable, Iterator

from perfopt.cli.output.layout import cost_change
from perfopt.cli.output.render import AnalysisReport
from perfopt.domain.enums import DeclineCode
from perfopt.domain.recommendation import AnalysisResult
from perfopt.report.changes import ServiceChanges


def without_changes(report: AnalysisReport) -> str:
    """Returns what stands where a table of changes would, of a report without any."""
    results = report.results
    if any(result.recommendations for result in results):
        return "No change is recommended."
    without_data = sum(_all_without_data(result) for result in results)
    number = len(results) + len(report.failed)
    services = "1 service" if number == 1 else f"{number} services"
    if without_data + len(report.failed) == number:
        return f"Nothing could be analysed: {services} without usable data, see below."
    return f"No recommendation: all strategies abstained for {services}, see below."


def _all_without_data(result: AnalysisResult) -> bool:
    return all(one.code is DeclineCode.NO_DATA for one in result.declined)


def totals(changes: Iterable[ServiceChanges]) -> Iterator[str]:
    """Returns a sentence on each currency's total, and on what is left out because it is assumed."""
    groups: dict[tuple[bool, str], list[ServiceChanges]] = {}
    for one in changes:
        if one.saving is not None:
            groups.setdefault((one.assumed, one.currency), []).append(one)
    for (assumed, currency), services in sorted(groups.items(), key=lambda group: group[0]):
        label = "Not in the total (*)" if assumed else "Total"
        before = sum(one.cost_current or 0.0 for one in services)
        after = sum(one.cost_recommended or 0.0 for one in services)
        count = f"{len(services)} service{'s' if len(services) > 1 else ''}"
        yield f"{label}: {count}, {cost_change(before, after, currency)} a month"
