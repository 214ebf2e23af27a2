"""GET /models: what is registered, which is in use, and nothing that changes it."""

from datetime import UTC, datetime

import pytest

from perfopt_api.store.models import RegisteredModel

MODELS = "/api/v1/optimization/models"


@pytest.fixture
def known(world):
    world.models.known = [
        RegisteredModel(
            kind=kind,
            version=version,
            sha256="ab" * 32,
            status=status,
            size_bytes=3,
            card={"name": "fleet", "trained_until": "2026-11-01T00:00:00Z"},
            created_by="ada",
            created_at=datetime(2026, 11, 2, tzinfo=UTC),
        )
        for kind, version, status in (("other", 1, "active"), ("sizing", 2, "candidate"))
    ]


@pytest.mark.usefixtures("known")
def test_models_are_listed_with_hash_status_and_card(client):
    listed = client.get(MODELS).json()
    assert [(model["kind"], model["version"], model["status"]) for model in listed] == [
        ("other", 1, "active"),
        ("sizing", 2, "candidate"),
    ]
    assert listed[0]["sha256"] == "ab" * 32
    assert listed[0]["card"]["name"] == "fleet"
    assert listed[0]["replay"] is None


@pytest.mark.usefixtures("known")
def test_the_kind_can_be_asked_for(client):
    assert [model["kind"] for model in client.get(MODELS, params={"kind": "sizing"}).json()] == ["sizing"]
    assert client.get(MODELS, params={"kind": "none"}).json() == []


def test_the_api_changes_no_model(client):
    assert client.post(MODELS, json={}).status_code == 405
