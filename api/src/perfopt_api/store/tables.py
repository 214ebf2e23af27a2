"""The tables. The first two carry the contract's columns first, then ours.

Columns that callers read back in the order they were written are JSON, because JSONB sorts keys; those an
operator may query are JSONB.
"""

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from perfopt_api.store.columns import created_at, instant, key_of, metadata, uuid_key

SCHEMA_REVISION = "0023"


jobs = Table(
    "optimization_jobs",
    metadata,
    uuid_key(),
    Column("job_id", String(100), nullable=False),
    Column("service_name", String(100), nullable=False),
    Column("optimization_type", String(50), nullable=False),
    Column("status", String(32), nullable=False),
    Column("analysis_period", String(50)),
    created_at(),
    instant("completed_at"),
    Column("optimization_types", JSONB, nullable=False, server_default=text("'[]'")),
    Column("request", JSONB, nullable=False),
    Column("declined", JSONB, nullable=False, server_default=text("'[]'")),
    Column("warnings", JSONB, nullable=False, server_default=text("'[]'")),
    Column("error", JSONB),
    Column("requester", String(100)),
    Column("parent_job_id", String(100)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("lease_owner", String(100)),
    instant("lease_expires_at"),
    # How often its lease ran out under a worker, which may have been killed for what the job takes.
    Column("lost_leases", Integer, nullable=False, server_default=text("0")),
    # When its message was last put on the queue, or is due there again after a failed attempt.
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # By what it is claimed, see JobClass.
    Column("priority", SmallInteger, nullable=False, server_default=text("1")),
    Column("namespace", String(100), nullable=False, server_default=text("''")),
    # Hash of the request: an equal one that comes meanwhile is this job.
    Column("fingerprint", String(64)),
    # Of the request's trace, which the worker goes on with.
    Column("traceparent", String(55)),
    # What its recommendations make together.
    Column("plan", JSON(none_as_null=True)),
    # See JobKind. A fleet's job is the parent of its batches and of the analyses of its workloads.
    Column("kind", String(10), nullable=False, server_default=text("'single'")),
    Column("fleet_id", String(100)),
    # What a batch asked the metric source for.
    Column("usage", JSONB(none_as_null=True)),
    # Recommendations that stay in force, since the analysis changes nothing worth a change.
    Column("unchanged", JSONB, nullable=False, server_default=text("'[]'")),
    UniqueConstraint("job_id"),
    Index(
        "ix_optimization_jobs_fleet",
        "fleet_id",
        "kind",
        "status",
        postgresql_where=text("fleet_id IS NOT NULL"),
    ),
    Index(
        "ix_optimization_jobs_of_fleet",
        "fleet_id",
        "kind",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("fleet_id IS NOT NULL"),
    ),
    Index(
        "ix_optimization_jobs_listed",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("fleet_id IS NULL"),
    ),
    Index(
        "ix_optimization_jobs_service",
        text("replace(service_name, '_', '-')"),
        text("created_at DESC"),
        text("id DESC"),
    ),
    Index(
        "ix_optimization_jobs_status",
        "status",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("fleet_id IS NULL"),
    ),
    Index(
        "ix_optimization_jobs_namespace",
        "namespace",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("fleet_id IS NULL"),
    ),
    Index("ix_optimization_jobs_fingerprint", "fingerprint", postgresql_where=text("status = 'ANALYZING'")),
    Index("ix_optimization_jobs_requester", "requester", postgresql_where=text("status = 'ANALYZING'")),
    Index("ix_optimization_jobs_open", "queued_at", postgresql_where=text("status = 'ANALYZING'")),
)

recommendations = Table(
    "optimization_recommendations",
    metadata,
    uuid_key(),
    Column("recommendation_id", String(100), nullable=False),
    Column("job_id", String(100), nullable=False),
    Column("service_name", String(100), nullable=False),
    Column("optimization_type", String(50), nullable=False),
    Column("description", Text, nullable=False),
    Column("current_state", JSON, nullable=False),
    Column("recommended_state", JSON, nullable=False),
    Column("expected_improvement", JSON),
    Column("applied", Boolean, nullable=False, server_default=text("false")),
    created_at(),
    Column("rank", Integer, nullable=False),
    Column("workload", Text, nullable=False),
    instant("made_at", required=True),
    instant("valid_until", required=True),
    Column("body", JSON, nullable=False),
    # Apart from the body, since a page of them would be megabytes: listings leave it unread.
    Column("predictions", JSON(none_as_null=True)),
    # What was last announced for this workload and type; differences are measured from there.
    Column("announced", JSON, nullable=False),
    Column("superseded_by", String(100)),
    instant("superseded_at"),
    # A later analysis recommends nothing of its type.
    instant("withdrawn_at"),
    # The job that applied another in its place; where that is rolled back, this one is applied again.
    Column("replaced_by_apply", String(100)),
    Column("fleet_id", String(100)),
    UniqueConstraint("recommendation_id"),
    Index(
        "ix_optimization_recommendations_fleet",
        "fleet_id",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("fleet_id IS NOT NULL"),
    ),
    Index(
        "ix_optimization_recommendations_current_fleet",
        "fleet_id",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("fleet_id IS NOT NULL AND superseded_by IS NULL"),
    ),
    Index("ix_optimization_recommendations_created_at", text("created_at DESC"), text("id DESC")),
    Index("ix_optimization_recommendations_job_id", "job_id", "rank"),
    Index(
        "ix_optimization_recommendations_service",
        text("replace(service_name, '_', '-')"),
        text("created_at DESC"),
        text("id DESC"),
    ),
    Index(
        "ix_optimization_recommendations_namespace",
        text("split_part(workload, '/', -3)"),
        text("created_at DESC"),
        text("id DESC"),
    ),
    Index(
        "ix_optimization_recommendations_type",
        "optimization_type",
        text("created_at DESC"),
        text("id DESC"),
    ),
    # Of a name with slashes, which is compared with the full name as well.
    Index(
        "ix_optimization_recommendations_name",
        text("replace(lower(split_part(workload, '/', -1)), '_', '-')"),
        text("created_at DESC"),
        text("id DESC"),
    ),
    Index(
        "ix_optimization_recommendations_current_namespace",
        text("split_part(workload, '/', -3)"),
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("superseded_by IS NULL"),
    ),
    # One current recommendation for a workload and type: PostgreSQL itself refuses a second.
    Index(
        "uq_optimization_recommendations_current",
        "workload",
        "optimization_type",
        unique=True,
        postgresql_where=text("superseded_by IS NULL"),
    ),
    Index(
        "ix_optimization_recommendations_current",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("superseded_by IS NULL"),
    ),
    Index("ix_optimization_recommendations_applied", "recommendation_id", postgresql_where=text("applied")),
)

# The latest analysis of each workload in one narrow row: pages filter, sort and add these up.
workloads = Table(
    "workloads",
    metadata,
    Column("workload", Text, primary_key=True),
    Column("service_name", String(100), nullable=False),
    Column("cluster", Text, nullable=False, server_default=text("''")),
    Column("namespace", Text, nullable=False, server_default=text("''")),
    Column("kind", String(32), nullable=False, server_default=text("''")),
    # What it came to, and what limits it: a rule's name or a code, with the sentence.
    Column("status", String(20), nullable=False),
    Column("limit_code", String(100)),
    Column("limit_reason", Text),
    Column("changes", Integer, nullable=False, server_default=text("0")),
    Column("cost_current", Float),
    Column("cost_recommended", Float),
    Column("currency", String(10), nullable=False, server_default=text("''")),
    # The current requests are assumed from the limits: its saving is in no total.
    Column("assumed", Boolean, nullable=False, server_default=text("false")),
    Column("confidence", Float),
    Column("accurate", Integer, nullable=False, server_default=text("0")),
    Column("scored", Integer, nullable=False, server_default=text("0")),
    Column("n_effective", Float),
    Column("owner", String(32), nullable=False, server_default=text("''")),
    Column("recommendation_id", String(100)),
    Column("job_id", String(100), nullable=False),
    Column("analysed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    instant("valid_until"),
)

# When fleets are analysed again. One worker fires each that is due; what was missed is one firing.
schedules = Table(
    "schedules",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("cron", String(100), nullable=False),
    Column("time_zone", String(100), nullable=False),
    Column("request", JSONB, nullable=False),
    Column("requester", String(100)),
    created_at(),
    instant("next_at", required=True),
    instant("last_at"),
    Column("last_job_id", String(100)),
    Index("ix_schedules_next_at", "next_at"),
)

# Series of whole days that a metric source gave, so that later passes over a fleet need not read them again.
workload_days = Table(
    "workload_days",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("workload", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Index("ix_workload_days_day", "day"),
    # One partition a day, dropped as a whole when it is old; the default one has days without their own.
    postgresql_partition_by="RANGE (day)",
)
event.listen(
    workload_days,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]  # its constructor has no types
        "CREATE TABLE workload_days_default PARTITION OF workload_days DEFAULT"
    ),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("event_id", Uuid, nullable=False),
    Column("subject", Text, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    created_at(),
    instant("published_at"),
    # How often NATS refused it for what it is.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Refused too often, so not tried again.
    instant("set_aside_at"),
    UniqueConstraint("event_id"),
    Index("ix_outbox_unpublished", "id", postgresql_where=text("published_at IS NULL")),
)

counters = Table(
    "recommendation_counters",
    metadata,
    Column("day", Date, primary_key=True),
    Column("last", Integer, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("requester", String(100), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(128), nullable=False),
    Column("job_id", String(100), ForeignKey(jobs.c.job_id, ondelete="CASCADE"), nullable=False),
    created_at(),
    instant("expires_at", required=True),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
    Index("ix_idempotency_keys_job_id", "job_id"),
)


def _outcome(name: str, key: Column[str]) -> Table:
    """Returns a table of outcomes. A row is due from the end of the validity on, and is written once."""
    return Table(
        name,
        metadata,
        key,
        Column("status", String(20), nullable=False, server_default=text("'due'")),
        Column("due_at", DateTime(timezone=True), nullable=False),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("lease_owner", String(100)),
        instant("lease_expires_at"),
        instant("scored_at"),
        Column("applied", Boolean),
        Column("accurate", Boolean),
        Column("cpu_safe", Boolean),
        Column("memory_safe", Boolean),
        Column("claim_kept", Boolean),
        Column("cpu_waste", Float),
        Column("memory_waste", Float),
        Column("censored", String(20)),
        Column("reason", Text),
        Index(f"ix_{name}_due", "due_at", postgresql_where=text("status = 'due'")),
        Index(f"ix_{name}_scored_at", text("scored_at DESC")),
    )


# What each recommendation came to, and each plan of several.
outcomes = _outcome(
    "recommendation_outcomes", key_of("recommendation_id", recommendations.c.recommendation_id)
)
# What was stated, beside what came of it: sums over many rows need not read the wide recommendations.
for _column in (
    Column("optimization_type", String(50)),
    Column("strategy", String(100)),
    Column("service_class", String(20)),
    Column("stated", Float),
    Column("saving", Float),
    Column("currency", String(10)),
):
    outcomes.append_column(_column)
plan_outcomes = _outcome("plan_outcomes", key_of("job_id", jobs.c.job_id))
