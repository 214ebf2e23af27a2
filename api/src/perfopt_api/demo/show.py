"""What the demo prints: the table of `perfopt analyze` over all jobs, and what was stored and published."""

import textwrap
from collections.abc import Sequence

import msgspec

from perfopt.cli.output.render import AnalysisReport, FailedAnalysis
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.cli.output.text import to_text
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import AnalysisResult
from perfopt_api.store.apply_port import TimelineEntry


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


def show_simulated(seconds: int, screen: TerminalScreen) -> str:
    """Says what of the changes that follow is simulated."""
    text = (
        "Changed on a SIMULATED Kubernetes API server: no container runs, and pods, requests and latencies"
        " are computed. Policy, executor and verification are those of the service. To fit into this demo,"
        f" series have a point every second and are compared for at most {seconds} s, in place of every"
        " minute and 30 min."
    )
    return "\n" + textwrap.fill(text, screen.width)


def show_change(analysis: OptimizationJob, screen: TerminalScreen) -> str:
    """Says what is changed: the head of a timeline."""
    texts = [made.description for made in analysis.recommendations[:1]]
    return "\n" + textwrap.fill(" ".join((f"{analysis.service_name}:", *texts)), screen.width)


def show_entry(entry: TimelineEntry, screen: TerminalScreen) -> str:
    """Prints an entry of a timeline: time of the day, step and sentence."""
    head = f"  {entry.at:%H:%M:%S}  {entry.step:<9}  "
    width = max(screen.width, len(head) + 40)
    return textwrap.fill(head + screen.printable(entry.message), width, subsequent_indent=" " * len(head))


def show_end(job: OptimizationJob) -> str:
    """Says how a change ended."""
    why = "" if job.error is None else f": {job.error['code']}"
    return f"  {job.status.value}{why}"


def show_event(subject: str, headers: dict[str, str], payload: bytes) -> str:
    """Prints a message as it came over the wire, its body indented."""
    head = "\n".join(f"  {name}: {value}" for name, value in sorted(headers.items()))
    body = msgspec.json.format(payload, indent=2).decode()
    return f"\n{subject}\n{head}\n{body}"
