"""Collects the answers of a run in order, numbers recommendations over the run, and prints them."""

from collections.abc import Callable, Sequence

import click

from perfopt.cli.output.render import AnalysisReport, FailedAnalysis, failed_line, to_lines
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Declined, renumbered
from perfopt.domain.workload import Workload
from perfopt.errors import NoDataError, PerfoptError


class ResultCollector:
    """The results of one run, in order.

    Args:
        types: those asked for.
        forgive_no_data: a service without samples is an abstention with `no_data` and no failure.
        write_line: takes each result as lines of JSON when it comes; None where nothing is printed before
            the end.

    Attributes:
        failed: the services that could not be analysed.
        analysed: whether any service had data: a run that had none must not pass for one without changes.
    """

    def __init__(
        self,
        *,
        types: Sequence[OptimizationType],
        forgive_no_data: bool,
        write_line: Callable[[str], object] | None,
    ) -> None:
        self._types = types
        self._forgive_no_data = forgive_no_data
        self._write_line = write_line
        self._results: list[AnalysisResult] = []
        self._numbered = 0
        self.failed: list[FailedAnalysis] = []
        self.analysed = False

    def add(self, item: AnalysisResult | tuple[Workload, PerfoptError]) -> None:
        """Takes the next answer."""
        if isinstance(item, AnalysisResult):
            self.analysed = True
            self._add_result(item)
            return
        workload, error = item
        if self._forgive_no_data and isinstance(error, NoDataError):
            self._add_result(self._without_data(workload, error))
            return
        failed = FailedAnalysis(
            service_name=workload.service_name, error={"code": error.code, "message": error.explained}
        )
        self.failed.append(failed)
        click.echo(f"Error: {workload.service_name}: {error.explained}", err=True)
        if self._write_line is not None:
            self._write_line(failed_line(failed))

    def report(self) -> AnalysisReport:
        """Returns everything that came; without results where they were written line by line."""
        return AnalysisReport(results=tuple(self._results), failed=tuple(self.failed))

    def _add_result(self, result: AnalysisResult) -> None:
        first = self._numbered + 1
        self._numbered += len(result.recommendations)
        ids = [
            f"opt_{recommendation.made_at:%Y%m%d}_{number:03d}"
            for number, recommendation in enumerate(result.recommendations, start=first)
        ]
        numbered = renumbered(result, ids)
        if self._write_line is not None:
            self._write_line(to_lines(numbered))
        else:
            self._results.append(numbered)

    def _without_data(self, workload: Workload, error: NoDataError) -> AnalysisResult:
        declined = tuple(
            Declined(optimization_type=kind, code=DeclineCode.NO_DATA, reason=error.explained)
            for kind in self._types
        )
        return AnalysisResult(
            service_name=workload.service_name,
            workload=str(workload.id),
            recommendations=(),
            declined=declined,
            warnings=(),
        )
