"""Metrics of the service for Prometheus, beside those of HTTP requests."""

from prometheus_client import Counter, Gauge

BACKGROUND_FAILURES = Counter(
    "perfopt_background_failures",
    "Rounds of background tasks that failed; kind is unavailable (a server is away) or unexpected.",
    ("task", "kind"),
)
BACKGROUND_FAILING = Gauge(
    "perfopt_background_failing", "1 while the last round of a background task failed.", ("task",)
)
SET_ASIDE = Counter(
    "perfopt_set_aside",
    "Unreadable or refused, so not tried again; kind is job_message, event or outcome.",
    ("kind",),
)
APPLIES_RUNNING = Gauge("perfopt_applies_running", "Apply jobs that this worker works on.")
ROLLBACKS_FAILING = Gauge(
    "perfopt_rollbacks_failing",
    "Rollbacks whose last try failed; they are tried for ever. Alert on more than 0 for some minutes.",
)
TRANSIENT_PENDING = Gauge(
    "perfopt_transient_pods_pending", "Pods of transient changes in force that do not run with the size yet."
)
