"""What applied recommendations came to, by strategy and service class, and demotions by it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from perfopt.domain.accuracy import AppliedAccuracy
from perfopt.domain.event import OptimizationStrategyDemoted
from perfopt.domain.period import format_instant
from perfopt_api.events.message import demotion_message
from perfopt_api.store.apply_port import AuditEntry
from perfopt_api.store.apply_rows import write_audit
from perfopt_api.store.apply_tables import demotions
from perfopt_api.store.database import Database
from perfopt_api.store.tables import outbox

_DIGITS = 4
_QUERY = text("""
WITH made AS (
    SELECT recommendation_id, optimization_type, service_name,
           body->>'plugin' AS strategy,
           coalesce(body->>'plugin_version', '') AS version,
           coalesce(body->>'service_class', 'standard') AS service_class,
           (expected_improvement->>'confidence')::float AS confidence,
           (body->>'monthly_cost_current')::float - (body->>'monthly_cost_recommended')::float AS saving
    FROM optimization_recommendations
    WHERE (CAST(:service_name AS text) IS NULL
           OR replace(service_name, '_', '-') = replace(CAST(:service_name AS text), '_', '-'))
), ended AS (
    SELECT made.*, job.status, outcome.accurate
    FROM optimization_jobs AS job
    CROSS JOIN LATERAL jsonb_array_elements_text(job.request->'recommendation_ids') AS named(id)
    JOIN made ON made.recommendation_id = named.id
    LEFT JOIN recommendation_outcomes AS outcome
           ON outcome.recommendation_id = made.recommendation_id AND outcome.status = 'scored'
    WHERE job.parent_job_id IS NOT NULL AND job.status IN ('APPLIED', 'ROLLED_BACK')
)
SELECT optimization_type, strategy, version, service_class,
       count(*) FILTER (WHERE status = 'APPLIED') AS applied,
       count(*) FILTER (WHERE status = 'ROLLED_BACK') AS rolled_back,
       count(*) FILTER (WHERE status = 'ROLLED_BACK' OR accurate IS NOT NULL) AS scored,
       (avg(CASE WHEN status = 'ROLLED_BACK' THEN 0 ELSE accurate::int END))::float AS accuracy,
       (avg(confidence) FILTER (WHERE status = 'ROLLED_BACK' OR accurate IS NOT NULL))::float AS confidence,
       (sum(saving) FILTER (WHERE status = 'ROLLED_BACK' OR accurate IS NOT NULL))::float AS expected_saving,
       (sum(CASE WHEN status = 'APPLIED' AND accurate THEN saving ELSE 0 END)
           FILTER (WHERE status = 'ROLLED_BACK' OR accurate IS NOT NULL))::float AS realised_saving
FROM ended
GROUP BY optimization_type, strategy, version, service_class
ORDER BY optimization_type, strategy, version, service_class
""")


class PostgresRealised:
    """Reads what applied recommendations came to, and records which strategies are only advice.

    Args:
        database: the pool.
        base_url: the public address of the API, for events.
    """

    def __init__(self, database: Database, *, base_url: str | None = None) -> None:
        self._database = database
        self._base_url = base_url

    async def applied_accuracy(self, service_name: str | None = None) -> tuple[AppliedAccuracy, ...]:
        """Returns one summary for each type, strategy, version and class of which something was applied.

        What was rolled back was not accurate, and saved nothing.
        """
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_QUERY, {"service_name": service_name})).mappings().all()
        return tuple(msgspec.convert(_rounded(dict(row)), AppliedAccuracy) for row in rows)

    async def demote(self, one: AppliedAccuracy, floor: float) -> bool:
        """Records that a strategy is only advice for a class, with its event; False where it was already."""
        assert one.accuracy is not None, "scored recommendations have one"
        row: dict[str, Any] = {
            "strategy": one.strategy,
            "version": one.version,
            "service_class": one.service_class,
            "accuracy": one.accuracy,
            "scored": one.scored,
        }
        body = OptimizationStrategyDemoted(
            event_id=str(uuid4()), timestamp=format_instant(datetime.now(UTC)), floor=floor, **row
        )
        async with self._database.transaction() as connection:
            new = insert(demotions).values(row).on_conflict_do_nothing()
            if (await connection.execute(new)).rowcount == 0:
                return False
            event = msgspec.structs.asdict(demotion_message(body, self._base_url))
            await connection.execute(insert(outbox).values(event))
            reason = f"{one.accuracy:.0%} of {one.scored} were accurate, below the floor of {floor:.0%}."
            subject = f"{one.strategy}/{one.version}/{one.service_class}"
            await write_audit(connection, AuditEntry(action="demote", subject=subject, reason=reason))
        return True


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}": round(value, _DIGITS) if isinstance(value, float) else value for name, value in row.items()
    }
