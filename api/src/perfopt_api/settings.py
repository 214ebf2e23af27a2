"""Settings of the service: the section `service` of the configuration.

The environment overrides a field (`PERFOPT_SERVICE__DATABASE_URL=...`), see perfopt.config.loading.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from perfopt.config import Config
from perfopt.config.prometheus import resolve_secret
from perfopt.errors import InvalidInputError
from perfopt_api.auth.roles import EVERY_NAMESPACE, Namespace, Role
from perfopt_api.auth.settings import OidcSettings
from perfopt_api.store.schedule_port import DeclaredSchedule

SECTION = "service"
REFERENCES = ("env:", "file:")
_MIN_TOKEN = 16

Seconds = Annotated[float, Meta(gt=0, le=3600)]
StreamName = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bearer token that lets its holder in.

    Attributes:
        token: sent as `Authorization: Bearer <token>`; also `env:NAME` or `file:/path`.
        role: viewer, operator, approver or admin.
        namespaces: in which it has the role; `*` is all.
    """

    token: Annotated[str, Meta(max_length=512, pattern="^[!-~]+$")]
    role: Role = Role.ADMIN
    namespaces: Annotated[tuple[Namespace, ...], Meta(min_length=1)] = (EVERY_NAMESPACE,)

    def __post_init__(self) -> None:
        """Refuses tokens that could be guessed."""
        if len(self.token) < _MIN_TOKEN and not self.token.startswith(REFERENCES):
            raise ValueError(f"a token must have length >= {_MIN_TOKEN}")


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the API and the worker run.

    Attributes:
        database_url: PostgreSQL as libpq takes it, several hosts and `?sslmode=` included; also `env:NAME` or
            `file:/path`.
        nats_url: NATS servers with JetStream, separated by commas; also `env:NAME` or `file:/path`.
        nats_ca_file: PEM file of the authority that signed NATS's certificate.
        nats_client_cert_file, nats_client_key_file: PEM files of our own certificate for NATS.
        nats_credentials_file: NATS credentials (`.creds`).
        nats_nkey_seed_file: seed of an nkey for NATS.
        traces_endpoint: where OpenTelemetry traces go, over OTLP/HTTP, such as `http://collector:4318/v1/traces`;
            unset makes none. Needs `perfopt-api[otel]`.
        traces_ratio: share of requests that are traced.
        host, port: where the API listens.
        base_url: public address of the API, for links in events and for KEDA.
        ui: serve the dashboard at `/ui`.
        grafana_url: of the Grafana dashboard of this installation; pages link to it.
        max_connections: clients connected at once; further ones wait to be accepted.
        header_seconds: a connection without complete headers for so long is closed, as is an idle one.
        body_seconds: a request whose body takes longer is refused with 408.
        max_waiters: requests that wait by `Prefer: wait=N` at once; further ones get their 202 at once.
        max_open_jobs: unfinished jobs of one requester (without tokens: of all); then 429.
        requests_per_second: of one requester (without tokens: of one address), in each process of the API;
            then 429. Bursts of two seconds' worth pass.
        max_body_bytes: a larger request body is refused with 413.
        max_wait_seconds: the most that `Prefer: wait=N` waits.
        startup_seconds: how long a start waits for PostgreSQL and NATS before it gives up.
        worker_concurrency: jobs that one worker analyses at once; of two and more, one is never a fleet job.
        worker_class: a worker takes jobs of this class only, so that each class has workers of its own; unset
            takes all.
        worker_port: where a worker serves `/health/live`, `/health/ready` and `/metrics` on `host`.
        lease_seconds: how long a worker holds a job without renewing; after a crash another takes it then.
        max_attempts: claims of a job before it ends as FAILED.
        max_lost_workers: workers that may be lost with a job before it ends as FAILED.
        fleet_max_workloads: of one fleet analysis; more are refused.
        fleet_batch_workloads: of a fleet that one worker takes at once.
        fleet_max_samples: that one fleet analysis may read of its source; what is left then fails.
        fleet_days: for how long series that fleets read of Prometheus are kept, so that later passes read
            new days only; 0 keeps none. Samples that arrive an hour after the end of their day are not seen.
        model_poll_seconds: how often a worker looks for another active model.
        outcome_poll_seconds: how often recommendations whose validity is over are looked for.
        drift_poll_seconds: how often the use of workloads with applied sizes is looked at for drift.
        demand_poll_seconds: how often the source is read for services that autoscalers ask for.
        demand_wait_seconds: how long `scaling/{service}/demand` waits for it; then the stored plan is given.
        retention_days: after which finished analyses, ended changes that are not in force, and published
            events go; null keeps everything.
        event_stream: JetStream stream of the events.
        job_stream: JetStream stream of the work queue.
        stream_replicas: copies of both streams in a NATS cluster.
        log_level, log_json: of the log on standard error.
        auth: `on` asks every caller for a token, `off` lets everyone do everything, `auto` asks where `host`
            is not loopback, or where `api_keys` or `oidc` are set.
        api_keys: name of the requester to its token, beside those of `perfopt token create`.
        oidc: the OpenID Connect issuer whose tokens are taken.
        schedules: analyses of fleets that repeat, by name.
        session_secret: signs sessions of the dashboard; `database_url` does otherwise. Also `env:NAME` or
            `file:/path`.
        docs_public, metrics_public: serve `/docs` with `/openapi.json`, and `/metrics`, without a token.
    """

    database_url: str = "postgresql://perfopt@localhost:5432/perfopt"
    nats_url: str = "nats://localhost:4222"
    nats_ca_file: str | None = None
    nats_client_cert_file: str | None = None
    nats_client_key_file: str | None = None
    nats_credentials_file: str | None = None
    nats_nkey_seed_file: str | None = None
    traces_endpoint: Annotated[str, Meta(pattern="^https?://[^ ]+$")] | None = None
    traces_ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    base_url: str | None = None
    ui: bool = True
    grafana_url: Annotated[str, Meta(pattern="^https?://[^ ]+$")] | None = None
    max_connections: Annotated[int, Meta(ge=16, le=65536)] = 4096
    header_seconds: Annotated[float, Meta(ge=1, le=600)] = 75.0
    body_seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0
    max_waiters: Annotated[int, Meta(ge=0, le=10_000)] = 200
    max_open_jobs: Annotated[int, Meta(ge=1, le=1_000_000)] = 2000
    requests_per_second: Annotated[float, Meta(gt=0, le=100_000)] = 200.0
    max_body_bytes: Annotated[int, Meta(ge=1024, le=16 * 2**20)] = 64 * 1024
    max_wait_seconds: Annotated[int, Meta(ge=0, le=600)] = 60
    startup_seconds: Seconds = 30.0
    worker_concurrency: Annotated[int, Meta(ge=1, le=64)] = 2
    worker_class: Literal["apply", "interactive", "fleet", "heavy"] | None = None
    worker_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    lease_seconds: Seconds = 15.0
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    max_lost_workers: Annotated[int, Meta(ge=1, le=100)] = 3
    fleet_max_workloads: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    fleet_batch_workloads: Annotated[int, Meta(ge=1, le=1000)] = 100
    fleet_max_samples: Annotated[int, Meta(ge=1)] = 20_000_000_000
    fleet_days: Annotated[int, Meta(ge=0, le=400)] = 15
    model_poll_seconds: Seconds = 5.0
    outcome_poll_seconds: Seconds = 60.0
    drift_poll_seconds: Seconds = 60.0
    demand_poll_seconds: Seconds = 30.0
    demand_wait_seconds: Annotated[float, Meta(gt=0, le=60)] = 2.0
    retention_days: Annotated[float, Meta(ge=30, le=36500)] | None = 365
    event_stream: StreamName = "OPTIMIZATION"
    job_stream: StreamName = "PERFOPT_JOBS"
    stream_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = True
    auth: Literal["auto", "on", "off"] = "auto"
    oidc: OidcSettings | None = None
    schedules: dict[Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,100}$")], DeclaredSchedule] = {}
    session_secret: Annotated[str, Meta(max_length=512)] | None = None
    docs_public: bool = True
    metrics_public: bool = True
    api_keys: dict[Annotated[str, Meta(pattern="^[A-Za-z0-9_.@-]{1,100}$")], ApiKey] = {}

    def __post_init__(self) -> None:
        """Refuses addresses that no client of ours could use."""
        _check("database_url", self.database_url, ("postgresql://", "postgresql+asyncpg://", "postgres://"))
        for url in self.nats_url.split(","):
            _check("nats_url", url.strip(), ("nats://", "tls://"))
        if self.base_url is not None:
            _check("base_url", self.base_url, ("http://", "https://"))
        if self.oidc is not None and self.oidc.client_id is not None and self.base_url is None:
            raise ValueError("oidc.client_id needs base_url, which the issuer leads browsers back to")
        secret = self.session_secret
        if secret is not None and len(secret) < _MIN_TOKEN and not secret.startswith(REFERENCES):
            raise ValueError(f"session_secret must have length >= {_MIN_TOKEN}")
        tokens = [key.token for key in self.api_keys.values()]
        if len(set(tokens)) != len(tokens):
            raise ValueError("two api_keys have the same token")


def service_settings(config: Config) -> ServiceSettings:
    """Returns the service's section of the configuration.

    Raises:
        InvalidInputError: an unknown field or a wrong value; names the key and the file.
    """
    return _resolved(config.section(SECTION, ServiceSettings))


def _resolved(settings: ServiceSettings) -> ServiceSettings:
    """Returns the settings with what `env:` and `file:` name in place of these."""
    keys = {
        name: resolve_secret(key.token, f"{SECTION}.api_keys.{name}.token")
        for name, key in settings.api_keys.items()
    }
    urls = {
        field: resolve_secret(getattr(settings, field), f"{SECTION}.{field}")
        for field in ("database_url", "nats_url", "session_secret")
        if getattr(settings, field) is not None
    }
    oidc = settings.oidc
    if oidc is not None and oidc.client_secret is not None:
        secret = resolve_secret(oidc.client_secret, f"{SECTION}.oidc.client_secret")
        oidc = msgspec.structs.replace(oidc, client_secret=secret)
    try:
        tokens = {
            name: msgspec.structs.replace(settings.api_keys[name], token=token)
            for name, token in keys.items()
        }
        return msgspec.structs.replace(settings, api_keys=tokens, oidc=oidc, **urls)
    except ValueError as error:
        raise InvalidInputError(
            f"what `env:` or `file:` names is wrong: {error}.", field=SECTION, remedy="Correct it there."
        ) from error


def _check(field: str, url: str, schemes: tuple[str, ...]) -> None:
    if not url.startswith((*schemes, *REFERENCES)):
        raise ValueError(f"{field} must start with {' or '.join(schemes)}")


def with_service(config: Config, **fields: Any) -> Config:
    """Returns the configuration with fields of the service's section replaced, but for None."""
    section = {**config.sections.get(SECTION, {}), **{k: v for k, v in fields.items() if v is not None}}
    return msgspec.structs.replace(config, sections={**config.sections, SECTION: section})
