"""Metrics of the service for Prometheus, beside those of HTTP requests."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

from perfopt.domain.enums import DeclineCode
from perfopt.domain.job import SourceUsage
from perfopt.domain.recommendation import AnalysisResult
from perfopt_api.tracing import span

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
NOTIFICATIONS = Counter(
    "perfopt_notifications",
    "Deliveries of events to a hook; outcome is delivered, retried or given_up.",
    ("task", "outcome"),
)
APPLIES_FINISHED = Counter("perfopt_applies_finished", "Apply jobs that ended here, by status.", ("status",))
DENIED_CALLS = Counter(
    "perfopt_denied_calls",
    "Calls of the API that were denied: no_token, unknown_token, expired_token, revoked_token, refused_jwt,"
    " wrong_role, wrong_namespace, no_rule.",
    ("reason",),
)
VERIFICATION_LOOKS = Counter(
    "perfopt_verification_looks",
    "Looks of the verifier at changes under way, by step and verdict: passed, failed, inconclusive.",
    ("step", "verdict"),
)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
REFUSED_REQUESTS = Counter(
    "perfopt_refused_requests", "Requests refused with 429 at their arrival: too many were at work."
)
REQUESTS_AT_WORK = Gauge(
    "perfopt_requests_at_work", "Requests that the API works on, without those that wait for a body or a job."
)
JOBS_WAITING = Gauge("perfopt_jobs_waiting", "Jobs that no worker holds, by class.", ("job_class",))
JOBS_RUNNING = Gauge("perfopt_jobs_running", "Jobs that a worker holds, by class.", ("job_class",))
OLDEST_JOB = Gauge(
    "perfopt_oldest_waiting_job_seconds",
    "Age of the oldest job held by no worker, by class.",
    ("job_class",),
)
OUTBOX_EVENTS = Gauge("perfopt_outbox_events", "Events that are committed and not yet published.")
OUTBOX_LAG = Gauge("perfopt_outbox_lag_seconds", "Age of the oldest event that is not yet published.")
JOBS_FINISHED = Counter(
    "perfopt_jobs_finished",
    "Analyses that ended here, by class and status.",
    ("job_class", "status"),
)
JOB_WAIT = Histogram(
    "perfopt_job_wait_seconds", "From the request to its first claim.", ("job_class",), buckets=_SECONDS
)
STAGE = Histogram(
    "perfopt_analysis_stage_seconds",
    "Time of an analysis by stage: inventory, fetch, engine, store; total is from claim to commit.",
    ("stage",),
    buckets=_SECONDS,
)
RECOMMENDATIONS = Counter(
    "perfopt_recommendations",
    "Recommendations made, by type, and whether one changes anything.",
    ("type", "change"),
)
CONFIDENCE = Histogram(
    "perfopt_recommendation_confidence",
    "Confidence of the recommendations made.",
    ("type",),
    buckets=(0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1),
)
DECLINED = Counter("perfopt_declined", "Types without a recommendation, by reason code.", ("type", "code"))
PLUGIN_FAILURES = Counter("perfopt_plugin_failures", "Strategies that raised, hung or crashed.", ("plugin",))
OUTCOMES = Counter(
    "perfopt_outcomes",
    "Recommendations whose validity is over: accurate, inaccurate, not_scored.",
    ("result",),
)
ACCURACY = Gauge(
    "perfopt_accuracy_ratio", "Share of accurate recommendations of those scored in 13 weeks.", ("type",)
)
STATED_CONFIDENCE = Gauge(
    "perfopt_stated_confidence_ratio", "Mean confidence that the same recommendations stated.", ("type",)
)
SCORED = Gauge("perfopt_scored_recommendations", "How many these are.", ("type",))
FLEET_WORKLOADS = Counter(
    "perfopt_fleet_workloads", "Workloads of fleets that ended here: analysed or failed.", ("result",)
)
SOURCE_QUERIES = Counter("perfopt_source_queries", "Queries that fleets sent to metric sources.")
SOURCE_SAMPLES = Counter("perfopt_source_samples", "Samples in the answers to these queries.")
SOURCE_BYTES = Counter("perfopt_source_bytes", "Bytes of these answers.")
BATCH_QUERIES = Histogram(
    "perfopt_batch_queries",
    "Queries of one batch of a fleet, what is within its budget.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
BATCH_SAMPLES = Histogram(
    "perfopt_batch_samples",
    "Samples in the answers to one batch of a fleet.",
    buckets=(1e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8),
)


def count_usage(usage: SourceUsage) -> None:
    """Counts what a batch asked the metric source for."""
    SOURCE_QUERIES.inc(usage.queries)
    SOURCE_SAMPLES.inc(usage.samples)
    SOURCE_BYTES.inc(usage.bytes)
    BATCH_QUERIES.observe(usage.queries)
    BATCH_SAMPLES.observe(usage.samples)


@contextlib.contextmanager
def timed(stage: str) -> Iterator[None]:
    """Observes the time of a stage of an analysis, whether it succeeds or not."""
    started = time.monotonic()
    try:
        with span(stage):
            yield
    finally:
        STAGE.labels(stage).observe(time.monotonic() - started)


def count_result(result: AnalysisResult) -> None:
    """Counts what an analysis recommended, and what it declined and why."""
    for recommendation in result.recommendations:
        kind = recommendation.optimization_type.value
        RECOMMENDATIONS.labels(kind, "false" if recommendation.no_change_needed else "true").inc()
        CONFIDENCE.labels(kind).observe(recommendation.expected_improvement.confidence)
    for declined in result.declined:
        DECLINED.labels(declined.optimization_type.value, declined.code.value).inc()
        if declined.code is DeclineCode.STRATEGY_FAILED:
            PLUGIN_FAILURES.labels(declined.plugin or "unknown").inc()
