"""How to reach a Prometheus, and which queries it gets."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.errors import InvalidInputError

_MATCHER = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"')
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class PrometheusConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="prometheus", forbid_unknown_fields=True
):
    """A source that speaks the Prometheus HTTP API: Prometheus, Thanos, Mimir or VictoriaMetrics.

    A secret (bearer_token, password, a header's value) may be written out, or named as `env:NAME` or
    `file:/path`, so that it need not stand in the YAML. A bearer token's file is read at each request,
    because Kubernetes rotates it.

    Attributes:
        url: address with the base path, if any: http://host:9090, https://mimir/prometheus.
        bearer_token: sent as `Authorization: Bearer`; not together with username.
        username, password: basic authentication.
        headers: sent with every request, for example {"X-Scope-OrgID": "trading"}.
        ca_file: PEM file of the authority that signed the server's certificate.
        client_cert_file, client_key_file: PEM files of our own certificate; the key may stand in the former.
        insecure_skip_verify: accept any server certificate.
        matchers: PromQL label matchers added to every selector, for example ['cluster="prod"'].
        catalogue: YAML file whose entries replace those of the built-in catalogue.
        step_seconds: length of a step of the time grid.
        scrape_interval_seconds: longest interval between two samples of a series; rates look back over three.
        timeout_seconds: time for one request.
        retries: attempts after the first, on connection errors, timeouts, 429, 502, 503 and 504.
        retry_seconds: how long attempts go on once the server has answered.
        concurrency: requests at the same time.
        max_response_mib: size of an answer above which it is refused.
        max_samples: of one metric of one workload, its pods times the steps of the period; more is refused.
        workloads_per_query: workloads in one query at most; fewer where they have many pods.
        max_query_bytes: length above which a query is split. VictoriaMetrics takes 16 KiB by default.
        cluster_label: the label that names the cluster where one server holds several.
        replica_labels: labels that differ between the replicas of an HA pair.
        openslo: OpenSLO documents (YAML files) that state latency objectives, by service.
        opencost_currency: currency of the prices that OpenCost exports without one.
        kubernetes: the cluster's API beside it.
    """

    url: str
    bearer_token: str | None = None
    username: str | None = None
    password: str | None = None
    headers: dict[str, str] = {}
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    insecure_skip_verify: bool = False
    matchers: tuple[str, ...] = ()
    catalogue: str | None = None
    step_seconds: Annotated[int, Meta(ge=1, le=86400)] = 300
    scrape_interval_seconds: Annotated[float, Meta(gt=0, le=86400)] = 60.0
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    retries: Annotated[int, Meta(ge=0, le=20)] = 3
    retry_seconds: Annotated[float, Meta(ge=0, le=3600)] = 120.0
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 8
    max_response_mib: Annotated[int, Meta(ge=1, le=4096)] = 256
    max_samples: Annotated[int, Meta(ge=10_000, le=1_000_000_000)] = 5_000_000
    workloads_per_query: Annotated[int, Meta(ge=1, le=1000)] = 25
    max_query_bytes: Annotated[int, Meta(ge=1024, le=1 << 24)] = 15_000
    cluster_label: str = "cluster"
    replica_labels: tuple[str, ...] = ("prometheus_replica", "prometheus", "replica", "__replica__")
    openslo: tuple[str, ...] = ()
    opencost_currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    kubernetes: KubernetesConfig | None = None

    @property
    def step(self) -> timedelta:
        """Length of a step of the time grid."""
        return timedelta(seconds=self.step_seconds)

    @property
    def address(self) -> str:
        """The URL as messages may show it: without a trailing slash and without a password in it."""
        return _USER.sub("", self.url.rstrip("/"))

    def checked(self) -> "PrometheusConfig":
        """Returns the configuration itself once every setting makes sense.

        Raises:
            InvalidInputError: names the setting, and what to write instead.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInputError(
                f"{self.address!r} is not the address of a Prometheus.",
                field="url",
                remedy="Write http://host:9090, with the base path if there is one.",
            )
        if self.bearer_token and self.username:
            raise InvalidInputError(
                "both a bearer token and a user name are given.", field="bearer_token", remedy="Keep one."
            )
        self._check_labels()
        if 86400 % self.step_seconds:
            raise InvalidInputError(
                f"{self.step_seconds} does not divide a day.",
                field="step_seconds",
                remedy="Write 60, 300 or 3600, for example.",
            )
        return self

    def _check_labels(self) -> None:
        for matcher in self.matchers:
            if not _MATCHER.fullmatch(matcher.strip()):
                raise InvalidInputError(
                    f"{matcher!r} is not a label matcher.",
                    field="matchers",
                    remedy="Write 'cluster=\"prod\"'.",
                )
        for label in (self.cluster_label, *self.replica_labels):
            if not _LABEL.fullmatch(label):
                raise InvalidInputError(
                    f"{label!r} is not a label name.",
                    field="cluster_label" if label == self.cluster_label else "replica_labels",
                    remedy="Use letters, digits and underscores.",
                )


def resolve_secret(value: str, field: str) -> str:
    """Returns a secret that is written out or named as `env:NAME` or `file:/path`.

    Raises:
        InvalidInputError: the variable is not set, or the file cannot be read.
    """
    kind, _, where = value.partition(":")
    if kind == "env":
        secret = os.environ.get(where)
        if secret is None:
            raise InvalidInputError(
                f"the environment variable {where} is not set.",
                field=field,
                remedy="Set it, or name another.",
            )
        return secret
    if kind == "file":
        try:
            return Path(where).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidInputError(
                f"{where} cannot be read: {error.strerror}.",
                field=field,
                remedy="Check the path and its mode.",
            ) from error
    return value
