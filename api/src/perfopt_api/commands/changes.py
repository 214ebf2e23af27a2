"""Commands that change a cluster through the service, and look at what changes."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import click

from perfopt.cli.options import config_option, format_option, settings_option
from perfopt.errors import ConflictError
from perfopt_api.client import ServiceClient
from perfopt_api.commands.service import service_client, service_options

if TYPE_CHECKING:
    from perfopt_api.store.apply_port import TimelineEntry

_SEPARATOR = "  "
_OPEN = ("ANALYZING", "APPLYING")
_LOOK_SECONDS = 1.0
_ALONE = (
    "No service is asked: its freezes, changes under way, caps and cool-downs do not hold here."
    " Windows, exchanges and the cluster's own freezes do."
)


def reason_option[F: Callable[..., Any]](command: F) -> F:
    """Adds the option `--reason`."""
    return click.option("--reason", help="Why, for the audit.")(command)


@click.command("apply")
@click.argument("recommendation_id")
@click.option(
    "--mode",
    type=click.Choice(("canary", "direct", "dry_run", "export")),
    default="canary",
    show_default=True,
    help="canary and direct change the cluster; dry_run shows the changes; export writes manifests.",
)
@click.option(
    "--verify-for", help="How long to watch all pods after the change, such as 2h; 10m to 1d by default."
)
@click.option(
    "--durability",
    type=click.Choice(("template", "transient", "git")),
    default="template",
    show_default=True,
    help="template changes the workload; transient resizes pods, and new ones again; git commits besides.",
)
@click.option("--force", is_flag=True, help="Also where the recommendation is superseded or expired.")
@click.option("--wait", is_flag=True, help="Follow the job to its end; status 1 unless it was applied.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --mode export: directory for the manifests; default: standard output.",
)
@click.option(
    "--from",
    "printed",
    type=click.File("rb"),
    help="Without a service: what `perfopt analyze --format json` printed; - is standard input.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --from: file that the change is resumed from after a crash; default: ./ID.state.",
)
@config_option
@settings_option
@reason_option
@service_options
def apply(
    recommendation_id: str,
    mode: str,
    durability: str,
    verify_for: str | None,
    force: bool,
    wait: bool,
    output: Path | None,
    printed: BinaryIO | None,
    state: Path | None,
    config_file: Path | None,
    reason: str | None,
    server: str,
    token_file: Path | None,
) -> None:
    """Apply a recommendation: canary, verification, rollback.

    By the service; or with --from in this process, on the cluster and by the policy of the configuration.
    Then freezes, caps and cool-downs that a service holds are not known. Ctrl-C takes the change back;
    where this process was killed, the same command goes on.
    """
    if output is not None and mode != "export":
        raise click.UsageError("--output goes with --mode export.")
    if wait and mode not in ("canary", "direct"):
        raise click.UsageError("--wait goes with --mode canary or direct.")
    if printed is not None:
        if mode not in ("canary", "direct"):
            raise click.UsageError("--from goes with --mode canary or direct; see `perfopt export`.")
        wish = ApplyWish(mode=mode, durability=durability, verify_for=verify_for, force=force, reason=reason)
        _apply_here(recommendation_id, wish, printed, state, config_file)
        return
    if state is not None:
        raise click.UsageError("--state goes with --from.")
    with service_client(server, token_file) as client:
        job = client.post(
            f"/recommendations/{recommendation_id}/apply",
            mode=mode,
            durability=durability if durability != "template" else None,
            verify_for=verify_for,
            force=force or None,
            reason=reason,
        )
        if mode in ("dry_run", "export"):
            _show_artifacts(job, output)
            return
        click.echo(_job_line(job))
        if wait:
            _require_success(_follow(client, job["job_id"]))


class ApplyWish(NamedTuple):
    """How a recommendation is to be applied, as the options say."""

    mode: str
    durability: str
    verify_for: str | None
    force: bool
    reason: str | None


def _apply_here(
    recommendation_id: str, wish: ApplyWish, printed: BinaryIO, state: Path | None, config_file: Path | None
) -> None:
    """Applies a recommendation in this process."""
    import getpass

    import msgspec

    from perfopt.cli.lookup import given, read_input
    from perfopt.cli.options import load
    from perfopt.cli.output.terminal import TerminalScreen
    from perfopt_api.apply.filestore import FileApplies
    from perfopt_api.apply.request import ApplyRecommendationRequest
    from perfopt_api.jobs.direct import begin_job, work_on
    from perfopt_api.logs import configure_logging
    from perfopt_api.settings import service_settings, with_service

    screen = TerminalScreen.of_stdout()
    config, path = load(config_file), state or Path(f"{recommendation_id}.state")
    configure_logging(service_settings(with_service(config, log_level="error", log_json=False)))

    click.echo(_ALONE, err=True)

    def show(entry: "TimelineEntry") -> None:
        for line in _lines(msgspec.to_builtins(entry), commands=False):
            click.echo(screen.printable(line))

    if path.exists():
        store = FileApplies.read(path, show)
    else:
        (recommendation, *_) = given(read_input(printed), recommendation_id)
        request = msgspec.convert(wish._asdict(), ApplyRecommendationRequest)
        store = begin_job(config, recommendation, request, path, show, getpass.getuser())
    job = work_on(config, store)
    if job.status.value != "APPLIED":
        error, remedy = ("", None) if job.error is None else (job.error.message, job.error.remedy)
        raise ConflictError(
            f"{recommendation_id} ended as {job.status.value}. {error}".strip(), remedy=remedy
        )
    click.echo(f"{recommendation_id}{_SEPARATOR}APPLIED{_SEPARATOR}{job.new.workload}")


@click.command("rollback")
@click.argument("job_id")
@reason_option
@service_options
def rollback(job_id: str, reason: str | None, server: str, token_file: Path | None) -> None:
    """Take back what a job applied, or is applying."""
    with service_client(server, token_file) as client:
        click.echo(_job_line(client.post(f"/jobs/{job_id}/rollback", reason=reason)))


@click.command("cancel")
@click.argument("job_id")
@reason_option
@service_options
def cancel(job_id: str, reason: str | None, server: str, token_file: Path | None) -> None:
    """Stop a job."""
    with service_client(server, token_file) as client:
        click.echo(_job_line(client.post(f"/jobs/{job_id}/cancel", reason=reason)))


@click.command("approve")
@click.argument("job_id")
@reason_option
@service_options
def approve(job_id: str, reason: str | None, server: str, token_file: Path | None) -> None:
    """Approve a job that waits for it, as another than who asked."""
    with service_client(server, token_file) as client:
        click.echo(_job_line(client.post(f"/jobs/{job_id}/approve", reason=reason)))


@click.command("freeze")
@click.argument("scope", default="*")
@reason_option
@service_options
def freeze(scope: str, reason: str | None, server: str, token_file: Path | None) -> None:
    """Hold back changes, those under way before their next write; rollbacks go on.

    SCOPE is `*` (everything), `[cluster/]namespace`, or `[cluster/]namespace/kind/name`.
    """
    with service_client(server, token_file) as client:
        frozen = client.post("/policy/freeze", scope=scope, reason=reason)
        click.echo(f"Frozen: {frozen['scope']} ({frozen['reason']})")


@click.command("unfreeze")
@click.argument("scope", default="*")
@reason_option
@service_options
def unfreeze(scope: str, reason: str | None, server: str, token_file: Path | None) -> None:
    """Let changes begin again within a SCOPE."""
    with service_client(server, token_file) as client:
        left = client.post("/policy/unfreeze", scope=scope, reason=reason)
        click.echo(f"Still frozen: {', '.join(one['scope'] for one in left) or 'nothing'}")


@click.command("restore")
@click.argument("scope")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@service_options
def restore(scope: str, yes: bool, reason: str | None, server: str, token_file: Path | None) -> None:
    """Take back every change within a SCOPE.

    SCOPE is `*` (everything), `[cluster/]namespace`, or `[cluster/]namespace/kind/name`.
    """
    if not yes:
        click.confirm(f"Take back every change in {scope}?", abort=True)
    with service_client(server, token_file) as client:
        jobs = client.post("/policy/restore", scope=scope, reason=reason)["job_ids"]
        click.echo("\n".join(jobs) if jobs else f"Nothing is applied in {scope}.")


@click.command("jobs")
@click.option("--service", "service_name", help="Only of this service.")
@click.option("--status", help="Only of this status, such as APPLYING.")
@click.option("--fleet", "fleet_id", help="The analyses of this fleet's workloads.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Jobs at most.")
@format_option("table", "json")
@service_options
def jobs(
    service_name: str | None,
    status: str | None,
    fleet_id: str | None,
    limit: int,
    form: str,
    server: str,
    token_file: Path | None,
) -> None:
    """List jobs, newest first."""
    from perfopt.cli.output.render import table, to_json

    with service_client(server, token_file) as client:
        listed = client.get("/jobs", service_name=service_name, status=status, fleet_id=fleet_id, limit=limit)
    if form == "json":
        click.echo(to_json(listed), nl=False)
        return
    rows = [
        (
            job["job_id"],
            job["status"],
            job["service_name"],
            "apply" if job.get("parent_job_id") else "analysis",
            str(job.get("created_at") or "")[:19],
            (job.get("error") or {}).get("message", ""),
        )
        for job in listed
    ]
    click.echo(table(("JOB", "STATUS", "SERVICE", "KIND", "CREATED", "ERROR"), rows), nl=False)


@click.command("watch")
@click.argument("job_id")
@click.option("--commands", is_flag=True, help="Show the kubectl commands that do the same by hand.")
@format_option("table", "ndjson")
@service_options
def watch(job_id: str, commands: bool, form: str, server: str, token_file: Path | None) -> None:
    """Follow a job to its end: what a change does to the cluster, or until an analysis is done.

    Status 1 where it ends as FAILED or ROLLED_BACK.
    """
    with service_client(server, token_file) as client:
        job = _follow(client, job_id, commands=commands, as_json=form == "ndjson")
    _require_success(job)
    if form == "table":
        click.echo(_job_line(job))


def _follow(
    client: ServiceClient, job_id: str, *, commands: bool = False, as_json: bool = False
) -> Mapping[str, Any]:
    """Prints the timeline of a job as it is made; returns the job once it has ended."""
    from perfopt.cli.output.terminal import TerminalScreen

    printable = TerminalScreen.of_stdout().printable
    job: Mapping[str, Any] = client.get(f"/jobs/{job_id}")
    after = 0
    while True:
        for entry in client.followed(f"/jobs/{job_id}/timeline", after) if job.get("parent_job_id") else ():
            for line in _json_line(entry) if as_json else _lines(entry, commands=commands):
                click.echo(printable(line))
            sys.stdout.flush()
            after = entry["id"]
        job = client.get(f"/jobs/{job_id}")
        if job["status"] not in _OPEN:
            return job
        time.sleep(_LOOK_SECONDS)


def _json_line(entry: Mapping[str, Any]) -> Iterator[str]:
    import msgspec

    yield msgspec.json.encode(entry).decode()


def _lines(entry: Mapping[str, Any], *, commands: bool) -> Iterator[str]:
    """Gives an entry of a timeline: its time, step and sentence, then the commands where they are wanted."""
    yield _SEPARATOR.join((str(entry["at"])[11:19], f"{entry['step']:<10}", entry["message"]))
    if commands:
        for command in entry.get("commands", ()):
            yield f"{'':10}$ {command}"


def _job_line(job: Mapping[str, Any]) -> str:
    error = job.get("error") or {}
    why = f"{error.get('message') or ''} {error.get('remedy') or ''}".strip()
    parts = (job["job_id"], job["status"], job["service_name"])
    return _SEPARATOR.join((*parts, why) if why else parts)


def _require_success(job: Mapping[str, Any]) -> None:
    if job["status"] not in ("APPLIED", "RECOMMENDATIONS_READY"):
        error = job.get("error") or {}
        message = f"{job['job_id']} ended as {job['status']}. {error.get('message', '')}".strip()
        raise ConflictError(message, remedy=error.get("remedy"))


def _show_artifacts(job: Mapping[str, Any], output: Path | None) -> None:
    """Prints what a dry run or an export gave, or writes its files into a directory."""
    from perfopt.cli.output.render import to_yaml

    for warning in job.get("warnings", ()):
        click.echo(f"warning: {warning['message']}", err=True)
    for artifact in job.get("artifacts", ()):
        content = artifact.get("content")
        if content is None:
            click.echo(to_yaml(artifact), nl=False)
        elif output is None:
            click.echo(f"# {artifact['filename']}: {artifact.get('command', '')}\n{content}")
        else:
            output.mkdir(parents=True, exist_ok=True)
            path = output / Path(artifact["filename"]).name
            path.write_text(content, encoding="utf-8")
            click.echo(f"{path}: {artifact.get('command', '')}")
