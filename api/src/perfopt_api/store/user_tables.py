"""The tables of what users hold and start: tokens and backtests."""

from sqlalchemy import JSON, Column, Index, Integer, LargeBinary, String, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from perfopt_api.store.columns import created_at, instant, metadata

# Tokens of the API. What lets somebody in is not here: only its hash.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("token_id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("role", String(20), nullable=False),
    Column("namespaces", JSONB, nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("created_by", String(100), nullable=False),
    created_at(),
    instant("expires_at", required=True),
    instant("revoked_at"),
    instant("last_used_at"),
)


# Backtests that somebody started, the latest of them with their reports.
backtest_runs = Table(
    "backtest_runs",
    metadata,
    Column("run_id", String(100), primary_key=True),
    Column("request", JSON, nullable=False),
    Column("requester", String(100)),
    Column("status", String(20), nullable=False),
    Column("progress", Text, nullable=False, server_default=text("''")),
    Column("error", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    # The page, deflated.
    Column("report", LargeBinary),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("lease_owner", String(100)),
    instant("lease_expires_at"),
    created_at(),
    instant("completed_at"),
    Index("ix_backtest_runs_created_at", "created_at", "run_id"),
)
