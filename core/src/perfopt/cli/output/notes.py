"""What a report says beside its changes, grouped to a line each: no change, rejected, abstained, warnings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from perfopt.cli.output.render import AnalysisReport
from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Conflict
from perfopt.report.changes import Priced, TypeLabels, short_type, unchanged

NO_CHANGE, REJECTED, ABSTAINED = "no change", "rejected", "abstained"
APPLY, WARNING, FAILED = "apply", "warning", "failed"


@dataclass(frozen=True, slots=True)
class ReportNote:
    """One line about services that have the same to say.

    Attributes:
        label: NO_CHANGE, REJECTED, ABSTAINED, APPLY, WARNING or FAILED.
        kinds: the types concerned, for short; "all" for all five.
        services: whom it concerns, in the order of the report.
        code: stable; "" where there is none.
        text: of the first of them, with its name replaced where there are several.
    """

    label: str
    kinds: str
    services: tuple[str, ...]
    code: str
    text: str

    @property
    def who(self) -> str:
        """The service, or how many there are."""
        return self.services[0] if len(self.services) == 1 else f"{len(self.services)} services"


def notes(report: AnalysisReport) -> list[ReportNote]:
    """Returns all notes of a report, in the order to print them in."""
    results = report.results
    labels = TypeLabels.of_results(results)
    return [
        *_grouped(NO_CHANGE, _unchanged(results, labels)),
        *_rejected(results, labels),
        *_grouped(ABSTAINED, _abstained(results, labels)),
        *_grouped(APPLY, _conditions(results)),
        *_grouped(WARNING, ((r.service_name, "", w.code, w.message) for r in results for w in r.warnings)),
        *(
            ReportNote(FAILED, "", (failed.service_name,), failed.error["code"], failed.error["message"])
            for failed in report.failed
        ),
    ]


_Entry = tuple[str, str, str, str]  # service, types, code, text


def _grouped(label: str, entries: Iterable[_Entry]) -> Iterator[ReportNote]:
    """Groups by types and code; where there is no code, by the text too."""
    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for service, kinds, code, text in entries:
        groups.setdefault((kinds, code, "" if code else text), []).append((service, text))
    for (kinds, code, _), members in groups.items():
        services = tuple(dict.fromkeys(service for service, _ in members))
        first, text = members[0]
        shown = text.replace(f"'{first}'", "of its name").replace(first, "the service")
        shown = shown if len(services) > 1 else text
        yield ReportNote(label, kinds, services, code, shown)


def _unchanged(results: Iterable[AnalysisResult], labels: TypeLabels) -> Iterator[_Entry]:
    kinds: dict[str, list[str]] = {}
    for service, recommendation in unchanged(results):
        label = labels.label(recommendation.optimization_type, recommendation.plugin)
        kinds.setdefault(service, []).append(label)
    for service, own in kinds.items():
        yield service, listed_types(own), "", ""


def _rejected(results: Iterable[AnalysisResult], labels: TypeLabels) -> Iterator[ReportNote]:
    """One line for each proposal of which the plan takes less than it asked for."""
    for result in results:
        lost: dict[tuple[str, str], list[Conflict]] = {}
        for one in result.plan.conflicts if result.plan is not None else ():
            lost.setdefault((one.lost_by, one.lost_by_type), []).append(one)
        for (plugin, kind), conflicts in lost.items():
            fields = ", ".join(f"{one.field} {_rejected_value(one)}" for one in conflicts)
            yield ReportNote(
                REJECTED,
                labels.label(kind, plugin),
                (result.service_name,),
                conflicts[0].code,
                f"{fields}: {conflicts[0].reason}",
            )


def _rejected_value(one: Conflict) -> str:
    if one.wanted is None:
        return "unset"
    return f"({len(one.wanted)} entries)" if isinstance(one.wanted, list | dict) else str(one.wanted)


def _abstained(results: Iterable[AnalysisResult], labels: TypeLabels) -> Iterator[_Entry]:
    for result in results:
        shown = {one.lost_by_type for one in result.plan.conflicts} if result.plan is not None else set()
        reasons: dict[tuple[str, str], list[str]] = {}
        for declined in result.declined:
            if declined.optimization_type not in shown:
                key = (declined.code.value, declined.reason)
                label = labels.label(declined.optimization_type, declined.plugin)
                reasons.setdefault(key, []).append(label)
        for (code, reason), kinds in reasons.items():
            yield result.service_name, listed_types(kinds), code, reason


def listed_types(labels: Sequence[str]) -> str:
    """Returns labels of types with commas; "all" where they are all types."""
    unique = list(dict.fromkeys(labels))
    return "all" if set(unique) == {short_type(kind) for kind in OptimizationType} else ", ".join(unique)


def _conditions(results: Iterable[AnalysisResult]) -> Iterator[_Entry]:
    for result in results:
        for recommendation in (result.plan,) if result.plan is not None else result.recommendations:
            if requirements := conditions(recommendation):
                yield result.service_name, "", "", requirements


def conditions(recommendation: Priced) -> str:
    """Returns what rules ask of whoever applies it; "" where that is nothing."""
    requirements = ["after approval"] if recommendation.requires_approval else []
    if recommendation.not_before is not None:
        requirements.append(f"from {recommendation.not_before:%Y-%m-%d %H:%M} UTC")
    elif recommendation.allowed_windows:
        requirements.append(f"until {recommendation.allowed_windows[0].end:%Y-%m-%d %H:%M} UTC")
    later = len(recommendation.allowed_windows) - 1
    return ", ".join(requirements) + (
        f" ({later} more window{'s' if later > 1 else ''})" if later > 0 else ""
    )
