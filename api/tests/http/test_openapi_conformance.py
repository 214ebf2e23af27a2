"""The API keeps what its own OpenAPI document promises, for generated requests, good and bad."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
OPERATIONS = [
    "POST /api/v1/optimization/analyze",
    "POST /api/v1/optimization/analyze/fleet",
    "GET /api/v1/optimization/schedules",
    "POST /api/v1/optimization/schedules",
    "DELETE /api/v1/optimization/schedules/{name}",
    "GET /api/v1/optimization/jobs",
    "GET /api/v1/optimization/jobs/{job_id}",
    "GET /api/v1/optimization/recommendations",
    "GET /api/v1/optimization/recommendations/{recommendation_id}",
    "POST /api/v1/optimization/recommendations/{recommendation_id}/apply",
    "POST /api/v1/optimization/jobs/{job_id}/apply",
    "POST /api/v1/optimization/jobs/{job_id}/rollback",
    "POST /api/v1/optimization/jobs/{job_id}/cancel",
    "POST /api/v1/optimization/jobs/{job_id}/approve",
    "GET /api/v1/optimization/jobs/{job_id}/timeline",
    "GET /api/v1/optimization/policy",
    "POST /api/v1/optimization/policy/freeze",
    "POST /api/v1/optimization/policy/unfreeze",
    "POST /api/v1/optimization/policy/restore",
    "GET /api/v1/optimization/audit",
    "GET /api/v1/optimization/accuracy",
    "GET /api/v1/optimization/fleet",
    "GET /api/v1/optimization/models",
    "GET /api/v1/optimization/plugins",
    "GET /api/v1/optimization/scaling/{service}/demand",
    "GET /health/live",
    "GET /health/ready",
    "GET /problems/{code}",
]


def test_the_document_describes_every_operation(client):
    paths = client.get("/openapi.json").json()["paths"]
    described = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    assert described == set(OPERATIONS)


# Any text is a right id or code, so only operations with a query or a body can be asked wrongly.
ASKED = [(name, GenerationMode.POSITIVE) for name in OPERATIONS] + [
    (name, GenerationMode.NEGATIVE)
    for name in OPERATIONS
    if "POST" in name or name.endswith(("s", "accuracy", "demand", "timeline", "policy", "audit"))
    if name not in ("GET /api/v1/optimization/plugins", "GET /api/v1/optimization/schedules")
]


@pytest.mark.parametrize(("name", "mode"), ASKED, ids=lambda value: getattr(value, "name", value))
def test_every_operation_answers_as_documented(world, make_recommendation, name, mode):
    recommendation = make_recommendation()
    world.store.add(recommendation)
    method, path = name.split()
    operation = schemathesis.openapi.from_asgi("/openapi.json", world.app)[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        if "recommendation_id" in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE:
            case.path_parameters["recommendation_id"] = recommendation.recommendation_id
        case.call_and_validate(checks=PROMISES)

    check()
