"""The registry of models on PostgreSQL: versions, one active of a kind, and the way back."""

import asyncio
import hashlib

import pytest
from sqlalchemy import update

from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.store import model_tables
from perfopt_api.store.models import CorruptModelError, PostgresModels

FIGURES = {"better": True}


@pytest.fixture
def registry(database):
    return PostgresModels(database)


async def registered(registry, content=b"one", kind="sizing"):
    return await registry.register(kind, content, {"name": "fleet"}, "ada")


async def promoted(registry, content, instead_of):
    model = await registered(registry, content)
    return await registry.activate(model, instead_of=instead_of, replay=FIGURES, by="ada")


async def active(registry):
    return [(model.kind, model.version) for model in await registry.active()]


async def test_a_model_is_kept_with_its_hash_and_card(registry):
    made = await registered(registry)
    assert (made.kind, made.version, made.status) == ("sizing", 1, "candidate")
    assert made.sha256 == hashlib.sha256(b"one").hexdigest()
    assert (made.card, made.size_bytes, made.created_by) == ({"name": "fleet"}, 3, "ada")
    assert await registry.get("sizing", 1) == made
    assert await registry.content(made) == b"one"


async def test_versions_count_up_by_kind_and_the_same_content_is_the_same_version(registry):
    for content in (b"one", b"two", b"one"):
        await registered(registry, content)
    await registered(registry, b"one", kind="other")
    listed = [(model.kind, model.version) for model in await registry.list_models()]
    assert listed == [("other", 1), ("sizing", 2), ("sizing", 1)]
    assert [model.version for model in await registry.list_models(kind="other")] == [1]


async def test_registering_at_once_gives_each_its_version(registry):
    contents = [bytes([number % 5]) for number in range(20)]
    made = await asyncio.gather(*(registered(registry, content) for content in contents))
    assert {model.version for model in made} == {1, 2, 3, 4, 5}
    assert len({(model.version, model.sha256) for model in made}) == 5


async def test_an_unknown_version_is_named_with_those_there_are(registry):
    await registered(registry)
    with pytest.raises(NotFoundError) as caught:
        await registry.get("sizing", 7)
    assert caught.value.candidates == ("1",)


async def test_promotion_retires_what_was_active_and_rollback_goes_back_step_by_step(registry):
    for version, content in enumerate((b"one", b"two", b"three"), start=1):
        await promoted(registry, content, version - 1 or None)
    assert await active(registry) == [("sizing", 3)]
    steps = []
    for _ in range(3):
        left, now = await registry.rollback("sizing", "bob")
        steps.append((left.version, left.status, now and (now.version, now.status, now.promoted_by)))
    assert steps == [
        (3, "retired", (2, "active", "bob")),
        (2, "retired", (1, "active", "bob")),
        (1, "retired", None),
    ]
    with pytest.raises(ConflictError, match="nothing to go back from"):
        await registry.rollback("sizing", "bob")


async def test_rollback_after_a_rollback_and_a_promotion_leaves_out_what_was_undone(registry):
    await promoted(registry, b"one", None)
    await promoted(registry, b"two", 1)
    await registry.rollback("sizing", "bob")
    await promoted(registry, b"three", 1)
    _, now = await registry.rollback("sizing", "bob")
    assert now.version == 1


async def test_of_two_promotions_from_the_same_replay_one_wins(registry):
    models = [await registered(registry, content) for content in (b"one", b"two")]
    tries = [registry.activate(m, instead_of=None, replay=FIGURES, by="ada") for m in models]
    done = await asyncio.gather(*tries, return_exceptions=True)
    lost = [one for one in done if isinstance(one, ConflictError)]
    assert len(lost) == 1
    assert "took the place of no model" in lost[0].message
    assert len(await active(registry)) == 1


async def test_a_rejected_model_keeps_its_figures_and_what_is_active_stays(registry):
    await promoted(registry, b"one", None)
    model = await registered(registry, b"two")
    left = await registry.reject(model, {"better": False})
    assert (left.status, left.replay) == ("rejected", {"better": False})
    assert await active(registry) == [("sizing", 1)]


@pytest.mark.parametrize("change", ["activate", "rollback", "content"])
async def test_content_with_another_hash_is_refused(registry, database, change):
    first = await promoted(registry, b"one", None)
    if change == "rollback":
        await promoted(registry, b"two", 1)
    async with database.transaction() as connection:
        table = model_tables.models
        await connection.execute(update(table).where(table.c.version == 1).values(content=b"0ne"))
    with pytest.raises(CorruptModelError, match="sizing model 1"):
        await {
            "content": lambda: registry.content(first),
            "activate": lambda: registry.activate(first, instead_of=1, replay=FIGURES, by="ada"),
            "rollback": lambda: registry.rollback("sizing", "ada"),
        }[change]()
    assert await active(registry) == [("sizing", 2 if change == "rollback" else 1)]
