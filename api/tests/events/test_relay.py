import asyncio
import contextlib
import subprocess
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner
from nats.js.api import StreamConfig
from sqlalchemy import delete, select, text

from perfopt.domain.event import OptimizationRecommendationGenerated
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.childserver import free_port
from perfopt_api.commands.events import events
from perfopt_api.embedded import nats_program
from perfopt_api.events.message import STATUS_PREFIX
from perfopt_api.events.nats import NatsConnection, ensure_stream, event_stream
from perfopt_api.events.relay import Relay
from perfopt_api.events.republish import RepublishedEvents, republish
from perfopt_api.store.outbox import MAX_REFUSALS, PostgresOutbox
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import outbox
from perfopt_api.store.work import PostgresWorkStore
from perfopt_api.supervision import TaskSupervisor

STREAM = event_stream("OPTIMIZATION", 1)


@pytest.fixture
async def connection(nats_url):
    opened = await NatsConnection.connect(nats_url, name="test", within=5)
    await ensure_stream(opened, STREAM)
    yield opened
    await opened.close()


@pytest.fixture
def relay(database, connection):
    return Relay(PostgresOutbox(database), connection, STREAM)


@pytest.fixture
def commit(database, recommendation, result):
    """Finishes one job for a service; of its events that of the recommendation is left in the outbox."""

    async def one(service, **state):
        await PostgresStore(database).create_job(PerformanceAnalysisRequest(service_name=service))
        work = PostgresWorkStore(database)
        claim = await work.claim(owner="w", lease=timedelta(seconds=30))
        await work.finish_job(claim, result(recommendation(service, **state)))
        async with database.transaction() as transaction:
            await transaction.execute(delete(outbox).where(outbox.c.subject.startswith(STATUS_PREFIX)))

    return one


async def streamed(connection):
    state = (await connection.jetstream.stream_info(STREAM.name)).state
    sequence = range(state.first_seq, state.last_seq + 1) if state.messages else ()
    return [await connection.jetstream.get_msg(STREAM.name, each) for each in sequence]


async def stored(database):
    async with database.transaction() as transaction:
        return (await transaction.execute(select(outbox).order_by(outbox.c.id))).all()


async def test_events_go_out_in_the_order_they_were_committed_byte_for_byte(
    database, connection, relay, commit
):
    for number in range(7):
        await commit("vm-1", replicas=number + 1)
    assert await relay.flush() == 7
    assert await relay.flush() == 0
    rows, messages = await stored(database), await streamed(connection)
    assert [message.data for message in messages] == [row.payload for row in rows]
    assert [message.headers["Nats-Msg-Id"] for message in messages] == [str(row.event_id) for row in rows]
    assert {message.subject for message in messages} == {rows[0].subject}
    assert messages[0].headers["ce-type"] == "optimization_recommendation_generated"
    assert messages[0].headers["content-type"] == "application/json"
    assert all(row.published_at is not None for row in rows)


async def test_a_crash_between_publishing_and_marking_leaves_one_message(database, connection, relay, commit):
    await commit("vm-1")
    publish = relay._publish

    async def crash(message):
        assert await publish(message)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await PostgresOutbox(database).publish_pending(crash)
    assert [row.published_at for row in await stored(database)] == [None]
    assert len(await streamed(connection)) == 1
    assert await relay.flush() == 1
    assert len(await streamed(connection)) == 1


async def test_two_relays_at_once_publish_each_event_once(database, connection, relay, commit):
    for number in range(5):
        await commit(f"vm-{number}")
    other = Relay(PostgresOutbox(database), connection, STREAM)
    assert sum(await asyncio.gather(relay.flush(), other.flush())) == 5
    assert len(await streamed(connection)) == 5


async def test_an_event_that_nats_refuses_does_not_hold_up_the_others(database, connection, relay, commit):
    await commit("vm-1")
    async with database.transaction() as transaction:
        too_large = "UPDATE outbox SET payload = convert_to(repeat('x', 2000000), 'UTF8')"
        await transaction.execute(text(too_large))
    await commit("vm-2")
    assert await relay.flush() == 1
    refused, kept = await stored(database)
    assert (refused.published_at, refused.attempts) == (None, 1)
    assert kept.published_at is not None


async def test_events_that_nats_refuses_are_tried_ever_more_rarely_and_after_the_others(
    database, connection, relay, commit
):
    for number in range(3):
        await commit(f"vm-{number}")
    async with database.transaction() as transaction:
        refused_often = "UPDATE outbox SET attempts = 10, payload = convert_to(repeat('x', 2000000), 'UTF8')"
        await transaction.execute(text(refused_often))
    assert await relay.flush() == 0
    assert [row.attempts for row in await stored(database)] == [10, 10, 10]
    async with database.transaction() as transaction:
        await transaction.execute(text("UPDATE outbox SET created_at = now() - interval '101 s'"))
    await commit("vm-new")
    assert await PostgresOutbox(database).publish_pending(relay._publish, limit=2) == 1
    assert [row.attempts for row in await stored(database)] == [11, 10, 10, 0]


async def test_what_went_out_before_nats_left_is_marked(database, relay, commit):
    for number in range(3):
        await commit(f"vm-{number}")
    publish = relay._publish
    sent = []

    async def once(message):
        if sent:
            raise UnavailableError("NATS left.")
        sent.append(message)
        return await publish(message)

    with pytest.raises(UnavailableError):
        await PostgresOutbox(database).publish_pending(once)
    assert [row.published_at is None for row in await stored(database)] == [False, True, True]


async def test_a_running_relay_publishes_at_once_when_woken(database, connection, relay, commit):
    task = asyncio.create_task(TaskSupervisor(()).keep(relay))
    try:
        await commit("vm-1")
        relay.wake()
        async with asyncio.timeout(5):
            while not await streamed(connection):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_lost_stream_can_be_filled_again_from_the_outbox(database, connection, relay, commit):
    await commit("vm-1")
    await relay.flush()
    before = [(m.subject, m.data, dict(m.headers)) for m in await streamed(connection)]
    await connection.jetstream.delete_stream(STREAM.name)
    await ensure_stream(connection, STREAM)
    async with database.transaction() as transaction:
        await transaction.execute(text("UPDATE outbox SET published_at = NULL"))
    await relay.flush()
    assert [(m.subject, m.data, dict(m.headers)) for m in await streamed(connection)] == before


async def test_a_stream_an_operator_changed_stays_as_it_is(connection):
    two_days = 2 * 86400.0
    await connection.jetstream.update_stream(STREAM.evolve(max_age=two_days))
    await ensure_stream(connection, STREAM)
    assert (await connection.jetstream.stream_info(STREAM.name)).config.max_age == two_days


async def test_a_stream_of_the_version_before_gets_the_new_subjects(connection):
    [old, *new] = STREAM.subjects
    kept = STREAM.evolve(subjects=[old, "more.>"])
    await connection.jetstream.update_stream(kept)
    await ensure_stream(connection, STREAM)
    found = (await connection.jetstream.stream_info(STREAM.name)).config
    assert set(found.subjects) == {old, "more.>", *new}


async def test_a_stream_of_that_name_for_other_subjects_is_a_clear_error(connection):
    await connection.jetstream.add_stream(StreamConfig(name="TAKEN", subjects=["other.>"]))
    with pytest.raises(InvalidInputError, match="TAKEN exists without the subjects quantivista"):
        await ensure_stream(connection, event_stream("TAKEN", 1))


async def test_subjects_that_another_stream_holds_are_a_clear_error(connection):
    with pytest.raises(InvalidInputError, match="NATS refuses the stream SECOND: subjects overlap"):
        await ensure_stream(connection, event_stream("SECOND", 1))


async def test_nats_without_jetstream_is_named(nats_server):
    port = free_port()
    with subprocess.Popen(
        [nats_program(), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            opened = await NatsConnection.connect(f"nats://127.0.0.1:{port}", name="test", within=5)
            with pytest.raises(UnavailableError, match="JetStream"):
                await ensure_stream(opened, STREAM)
            await opened.close()
        finally:
            process.kill()


async def test_a_message_is_json_that_decodes_to_the_contracts_struct(connection, relay, commit):
    await commit("vm-1", replicas=None)
    await relay.flush()
    [message] = await streamed(connection)
    event = msgspec.json.decode(message.data, type=OptimizationRecommendationGenerated)
    assert event.optimization_recommendation.recommended_state.replicas is None
    assert b'"replicas":null' in message.data


async def test_an_event_refused_too_often_is_set_aside(database, connection, relay, commit):
    await commit("vm-1")
    async with database.transaction() as transaction:
        refused_often = (
            f"UPDATE outbox SET attempts = {MAX_REFUSALS - 1}, created_at = now() - interval '1 h',"
            " payload = convert_to(repeat('x', 2000000), 'UTF8')"
        )
        await transaction.execute(text(refused_often))
    assert await relay.flush() == 0
    [row] = await stored(database)
    assert (row.published_at, row.attempts, row.set_aside_at is None) == (None, MAX_REFUSALS, False)
    assert await relay.flush() == 0
    assert (await stored(database))[0].attempts == MAX_REFUSALS


async def test_nothing_goes_out_while_postgresql_takes_no_writes(database, connection, relay, commit):
    await commit("vm-1")
    async with database.transaction() as transaction:
        await transaction.execute(
            text(
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$"
                " BEGIN RAISE EXCEPTION 'read-only' USING ERRCODE = '25006'; END $$"
            )
        )
        await transaction.execute(text("CREATE TRIGGER no BEFORE UPDATE ON outbox EXECUTE FUNCTION no()"))
    with pytest.raises(UnavailableError, match="takes no writes"):
        await relay.flush()
    assert await streamed(connection) == []


async def test_republishing_rebuilds_a_lost_stream_once(database, connection, relay, commit):
    for number in range(3):
        await commit(f"vm-{number}")
    await relay.flush()
    before = [(m.subject, m.data, dict(m.headers)) for m in await streamed(connection)]
    again = await republish(PostgresOutbox(database), connection, STREAM)
    assert again == RepublishedEvents(present=3)
    await connection.jetstream.delete_stream(STREAM.name)
    assert await republish(PostgresOutbox(database), connection, STREAM) == RepublishedEvents(published=3)
    assert [(m.subject, m.data, dict(m.headers)) for m in await streamed(connection)] == before


async def test_republishing_counts_what_nats_drops_and_refuses_and_clears_what_was_set_aside(
    database, connection, relay, commit
):
    await commit("vm-0")
    await relay.flush()
    await connection.jetstream.purge_stream(STREAM.name)
    await commit("vm-1")
    await commit("vm-2")
    async with database.transaction() as transaction:
        await transaction.execute(text("UPDATE outbox SET set_aside_at = now() WHERE published_at IS NULL"))
        too_large = (
            "UPDATE outbox SET payload = convert_to(repeat('x', 2000000), 'UTF8')"
            " WHERE id = (SELECT max(id) FROM outbox)"
        )
        await transaction.execute(text(too_large))
    done = await republish(PostgresOutbox(database), connection, STREAM)
    assert done == RepublishedEvents(published=1, dropped=1, refused=1)
    assert [row.set_aside_at is None for row in await stored(database)] == [True, True, False]


async def test_republishing_since_an_instant_leaves_older_events_out(database, connection, relay, commit):
    await commit("vm-1")
    async with database.transaction() as transaction:
        await transaction.execute(text("UPDATE outbox SET created_at = now() - interval '2 d'"))
    await commit("vm-2")
    since = datetime.now(UTC) - timedelta(days=1)
    assert await republish(PostgresOutbox(database), connection, STREAM, since) == RepublishedEvents(
        published=1
    )


def test_the_command_says_what_it_did(database_url, nats_url):
    config = {"PERFOPT_SERVICE__DATABASE_URL": database_url, "PERFOPT_SERVICE__NATS_URL": nats_url}
    done = CliRunner(env=config).invoke(events, ["republish", "--since", "7d"])
    assert (done.exit_code, done.output) == (
        0,
        "0 events published, 0 were in the stream already, 0 refused by NATS.\n",
    )
    wrong = CliRunner(env=config).invoke(events, ["republish", "--since", "yesterday"])
    assert "'yesterday' is not a duration" in str(wrong.exception)
