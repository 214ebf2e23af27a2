"""What the evidence of current recommendations, and all recorded outcomes, add up to: done by PostgreSQL."""

from typing import Any

import msgspec
from sqlalchemy import bindparam, text
from sqlalchemy.types import String

from perfopt.domain.accuracy import DEFINITION, ReplayedAccuracy
from perfopt.domain.enums import OptimizationType
from perfopt_api.store.database import Database
from perfopt_api.store.realised import PostgresRealised

_QUERY = text("""
WITH current AS (
    SELECT optimization_type,
           (expected_improvement->>'confidence')::float AS confidence,
           body->'evidence' AS evidence
    FROM optimization_recommendations
    WHERE superseded_by IS NULL AND withdrawn_at IS NULL
      AND (valid_until > now() OR created_at + (valid_until - made_at) > now())
      AND (:service_name IS NULL OR replace(service_name, '_', '-') = replace(:service_name, '_', '-'))
      AND (:optimization_type IS NULL OR optimization_type = :optimization_type)
), replays AS (
    SELECT optimization_type,
           window_->>'outcome' AS outcome,
           (window_->>'accurate')::boolean AS accurate,
           (window_->>'cpu_safe')::boolean AS cpu_safe,
           (window_->>'memory_safe')::boolean AS memory_safe,
           (window_->>'cpu_waste')::float AS cpu_waste,
           (window_->>'memory_waste')::float AS memory_waste
    FROM current, json_array_elements(evidence->'windows') AS window_
), made AS (
    SELECT optimization_type, count(*) AS recommendations, avg(confidence) AS confidence
    FROM current GROUP BY optimization_type
)
SELECT made.optimization_type, made.recommendations, made.confidence,
       count(accurate) AS windows,
       count(*) FILTER (WHERE outcome = 'declined') AS declined,
       count(*) FILTER (WHERE outcome = 'not_scored') AS not_scored,
       avg(accurate::int)::float AS accuracy,
       avg(cpu_safe::int)::float AS cpu_safe,
       avg(memory_safe::int)::float AS memory_safe,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_waste) FILTER (WHERE cpu_safe) AS cpu_waste,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY memory_waste) FILTER (WHERE memory_safe) AS memory_waste
FROM made LEFT JOIN replays USING (optimization_type)
GROUP BY made.optimization_type, made.recommendations, made.confidence
ORDER BY made.optimization_type
""").bindparams(bindparam("service_name", type_=String), bindparam("optimization_type", type_=String))
_RECORDED = text("""
SELECT made.optimization_type,
       count(*) FILTER (WHERE status = 'due') AS waiting,
       count(*) FILTER (WHERE status = 'not_scored') AS not_scored,
       count(accurate) AS scored,
       count(*) FILTER (WHERE status = 'scored' AND outcome.applied) AS applied,
       avg(accurate::int)::float AS accuracy,
       (avg(made.stated) FILTER (WHERE accurate IS NOT NULL))::float AS confidence,
       avg((made.stated - accurate::int) ^ 2)::float AS brier,
       avg(cpu_safe::int)::float AS cpu_safe,
       avg(memory_safe::int)::float AS memory_safe,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_waste) FILTER (WHERE cpu_safe) AS cpu_waste,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY memory_waste) FILTER (WHERE memory_safe) AS memory_waste
FROM recommendation_outcomes AS outcome
JOIN (SELECT recommendation_id, optimization_type, service_name,
             (expected_improvement->>'confidence')::float AS stated
      FROM optimization_recommendations) AS made USING (recommendation_id)
WHERE (:service_name IS NULL OR replace(service_name, '_', '-') = replace(:service_name, '_', '-'))
  AND (:optimization_type IS NULL OR made.optimization_type = :optimization_type)
GROUP BY made.optimization_type
""").bindparams(bindparam("service_name", type_=String), bindparam("optimization_type", type_=String))
_DIGITS = 4


async def replayed_accuracy(
    database: Database, service_name: str | None, optimization_type: OptimizationType | None
) -> tuple[ReplayedAccuracy, ...]:
    """Returns one summary for each type that has recommendations in force; see Store.accuracy."""
    filters = {
        "service_name": service_name,
        "optimization_type": optimization_type and optimization_type.value,
    }
    async with database.transaction() as connection:
        replayed = (await connection.execute(_QUERY, filters)).mappings().all()
        recorded = (await connection.execute(_RECORDED, filters)).mappings().all()
    applied = await PostgresRealised(database).applied_accuracy(service_name)
    by_type = {row["optimization_type"]: _rounded(dict(row)) for row in recorded}
    return tuple(
        msgspec.convert(
            _rounded(dict(row))
            | {
                "definition": DEFINITION,
                "recorded": by_type.get(row["optimization_type"]),
                "applied": [one for one in applied if one.optimization_type == row["optimization_type"]],
            },
            ReplayedAccuracy,
        )
        for row in replayed
    )


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in row.items()}
