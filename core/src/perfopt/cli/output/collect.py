"""Collects the answers of a run in order, numbers recommendations over the run, and prints them."""

from collections.abc import Sequence

import click

from perfopt.cli.output.render import Failed, Report, failed_line, to_json, to_lines, to_table, to_yaml
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Declined, renumbered
from perfopt.domain.workload import Workload
from perfopt.errors import NoDataError, PerfoptError


class Output:
    """The output of one run. ndjson is written as answers come, the other formats at the end.

    Args:
        form: "table", "json", "ndjson" or "yaml".
        types: those asked for.
        forgive_no_data: a service without samples is declined with `no_data` and is no failure.

    Attributes:
        failed: the services that could not be analysed.
    """

    def __init__(self, form: str, *, types: Sequence[OptimizationType], forgive_no_data: bool) -> None:
        self._form = form
        self._types = types
        self._forgive_no_data = forgive_no_data
        self._results: list[AnalysisResult] = []
        self._made = 0
        self.failed: list[Failed] = []

    def add(self, item: AnalysisResult | tuple[Workload, PerfoptError]) -> None:
        """Takes the next answer."""
        if isinstance(item, AnalysisResult):
            self._add_result(item)
            return
        workload, error = item
        if self._forgive_no_data and isinstance(error, NoDataError):
            self._add_result(self._without_data(workload, error))
            return
        failed = Failed(
            service_name=workload.service_name, error={"code": error.code, "message": error.explained}
        )
        self.failed.append(failed)
        click.echo(f"Error: {workload.service_name}: {error.explained}", err=True)
        if self._form == "ndjson":
            click.echo(failed_line(failed), nl=False)

    def finish(self) -> None:
        """Prints what was not printed yet."""
        if self._form == "ndjson":
            return
        report = Report(results=tuple(self._results), failed=tuple(self.failed))
        render = {"json": to_json, "yaml": to_yaml, "table": to_table}[self._form]
        click.echo(render(report), nl=False)

    def _add_result(self, result: AnalysisResult) -> None:
        first = self._made + 1
        self._made += len(result.recommendations)
        ids = [
            f"opt_{made.made_at:%Y%m%d}_{number:03d}"
            for number, made in enumerate(result.recommendations, start=first)
        ]
        numbered = renumbered(result, ids)
        if self._form == "ndjson":
            click.echo(to_lines(numbered), nl=False)
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
