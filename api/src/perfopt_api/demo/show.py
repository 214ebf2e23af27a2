"""What the demo prints: the table of `perfopt analyze` over all jobs, and what was stored and published."""

from collections.abc import Sequence

import msgspec

from perfopt.cli.output.render import AnalysisReport, FailedAnalysis
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.cli.output.text import to_text
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import AnalysisResult


def show_jobs(jobs: Sequence[OptimizationJob], screen: TerminalScreen, *, verbose: bool) -> str:
    """Prints what came of the analyses."""
    return to_text(_report(jobs), screen, verbose=verbose)


def _report(jobs: Sequence[OptimizationJob]) -> AnalysisReport:
    return AnalysisReport(
        results=tuple(_result(job) for job in jobs if job.error is None),
        failed=tuple(
            FailedAnalysis(service_name=job.service_name, error=job.error)
            for job in jobs
            if job.error is not None
        ),
    )


def _result(job: OptimizationJob) -> AnalysisResult:
    return AnalysisResult(
        service_name=job.service_name,
        workload=job.service_name,
        recommendations=job.recommendations,
        declined=job.declined,
        warnings=job.warnings,
        plan=job.plan,
    )


def show_stored(jobs: int, recommendations: int) -> str:
    """Says what the API gives back from the database."""
    return f"Stored in PostgreSQL, read back over REST: {jobs} jobs, {recommendations} recommendations."


def show_events(count: int, subject: str, message_id: str) -> str:
    """Says what a subscriber received, with one message as an example."""
    return (
        f"Published on NATS JetStream, received by a subscriber: {count} events, such as {message_id} on\n"
        f"  {subject}"
    )


def show_event(subject: str, headers: dict[str, str], payload: bytes) -> str:
    """Prints a message as it came over the wire, its body indented."""
    head = "\n".join(f"  {name}: {value}" for name, value in sorted(headers.items()))
    body = msgspec.json.format(payload, indent=2).decode()
    return f"\n{subject}\n{head}\n{body}"
