"""One connection to NATS, and one meaning for every way in which it can be out of reach."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.events.message import PREFIXES

REQUEST_SECONDS = 2.0
_RECONNECT_SECONDS = 0.5
_WAKE_UP_SECONDS = 3600.0
# A relay that comes back within a day may publish what it had published: JetStream still knows the ids.
_DUPLICATE_WINDOW = 24 * 3600.0
_EVENTS_KEPT_SECONDS = 90 * 86_400.0
# Not below quantivista.optimization: who subscribes to all of that hears events, and nothing else.
JOB_SUBJECT = "perfopt.jobs.analyze"
PREFLIGHT_SUBJECT = "perfopt.preflight"
FINISHED_SUBJECT = "perfopt.jobs.finished"


@dataclass(frozen=True, slots=True)
class NatsFiles:
    """What a connection proves itself with.

    Attributes:
        ca: PEM file of the authority that signed the servers' certificate; None is the system's.
        client_cert, client_key: PEM files of a certificate of our own; the key may stand in the former.
        credentials: NATS credentials (`.creds`).
        nkey_seed: file with the seed of an nkey.
    """

    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    credentials: str | None = None
    nkey_seed: str | None = None

    @property
    def uses_tls(self) -> bool:
        """Whether the connection has to be encrypted whatever the address says."""
        return self.ca is not None or self.client_cert is not None


class NatsConnection:
    """A connection that comes back by itself after the server was away.

    Attributes:
        client: for core NATS.
        jetstream: for streams.
    """

    def __init__(self, url: str) -> None:
        self.client = Client()
        self.jetstream: JetStreamContext
        self._servers, self._login = _without_login([part.strip() for part in url.split(",")])
        self._error: Exception | None = None

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        within: float,
        files: NatsFiles = NatsFiles(),
    ) -> "NatsConnection":
        """Connects, trying again until the time is over.

        Args:
            url: addresses, separated by commas; user and password, or a token, percent-encoded in the first.
            files: certificates and keys.
            name: of this client in the server's monitoring.
            within: seconds.

        Raises:
            UnavailableError: no server answered in that time.
            InvalidInputError: a file cannot be read.
        """
        self = cls(url)
        options: dict[str, Any] = dict(self._login)
        if files.credentials is not None:
            options = {"user_credentials": _readable(files.credentials, "nats_credentials_file")}
        elif files.nkey_seed is not None:
            options = {"nkeys_seed": _readable(files.nkey_seed, "nats_nkey_seed_file")}
        if files.uses_tls or any(server.startswith("tls://") for server in self._servers):
            options["tls"] = _tls(files)
        try:
            async with asyncio.timeout(within):
                await self.client.connect(
                    self._servers,
                    name=name,
                    error_cb=self._note,
                    connect_timeout=max(1, int(REQUEST_SECONDS)),
                    reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # a float works
                    max_reconnect_attempts=-1,
                    ping_interval=2,
                    max_outstanding_pings=2,
                    **options,
                )
        except (TimeoutError, OSError, nats.errors.Error) as error:
            await self.close()
            raise self.unavailable(self._error or error) from error
        self.jetstream = self.client.jetstream(timeout=REQUEST_SECONDS)
        return self

    async def _note(self, error: Exception) -> None:
        self._error = error

    def check(self) -> None:
        """Raises UnavailableError while there is no connection, so that nobody waits for a timeout."""
        if not self.client.is_connected:
            raise self.unavailable(self._error)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turns every form of "not reachable" into UnavailableError, with the cause chained."""
        self.check()
        try:
            yield
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception | None = None) -> UnavailableError:
        """Returns the error that says NATS is not reachable."""
        places = ", ".join(server.partition("://")[2] for server in self._servers)
        cause = f" ({str(error) or type(error).__name__})" if error is not None else ""
        return UnavailableError(
            f"NATS at {places} is not reachable{cause}.",
            remedy="Check that it runs with JetStream and that the setting nats_url is right.",
        )

    async def ping(self) -> None:
        """Returns when the server answered.

        Raises:
            UnavailableError: it did not within two seconds.
        """
        with self.translated():
            await self.client.flush(timeout=max(1, int(REQUEST_SECONDS)))

    async def close(self) -> None:
        """Closes the connection. Not a drain: that waits in vain after the server was restarted."""
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await self.client.close()


def _without_login(servers: list[str]) -> tuple[list[str], dict[str, str]]:
    """Takes the login out of addresses and decodes it, which the client does not do."""
    options: dict[str, str] = {}
    bare = []
    for server in servers:
        scheme, _, rest = server.partition("://")
        login, _, place = rest.rpartition("@")
        user, colon, password = login.partition(":")
        if login and not options:
            options = (
                {"user": unquote(user), "password": unquote(password)} if colon else {"token": unquote(user)}
            )
        bare.append(f"{scheme}://{place}")
    return bare, options


def _tls(files: NatsFiles) -> ssl.SSLContext:
    name, field = files.ca, "nats_ca_file"
    try:
        context = ssl.create_default_context(cafile=files.ca)
        if files.client_cert is not None:
            name, field = files.client_cert, "nats_client_cert_file"
            context.load_cert_chain(files.client_cert, files.client_key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(
            f"{name} cannot be read as certificates: {error}.", field=field, remedy="Name a PEM file."
        ) from error
    return context


def _readable(path: str, field: str) -> str:
    if not os.access(path, os.R_OK):
        raise InvalidInputError(
            f"{path} cannot be read.", field=field, remedy="Check the path and the file's mode."
        )
    return path


def event_stream(name: str, replicas: int) -> StreamConfig:
    """The stream of events. Older ones are still in the outbox: `perfopt events republish`."""
    return StreamConfig(
        name=name,
        description="Recommendations of perfopt, and what became of them",
        subjects=[f"{prefix}.>" for prefix in PREFIXES],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=replicas,
        duplicate_window=_DUPLICATE_WINDOW,
        max_age=_EVENTS_KEPT_SECONDS,
    )


def job_stream(name: str, replicas: int) -> StreamConfig:
    """The work queue: one subject for each job, which holds at most one message.

    Queueing a job that waits already is therefore refused by the server, and a sweeper may queue at will.
    Workers of one class listen without taking messages, so what nobody took expires.
    """
    return StreamConfig(
        name=name,
        description="Jobs of perfopt that wait for a worker",
        subjects=[f"{JOB_SUBJECT}.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        num_replicas=replicas,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
        max_age=_WAKE_UP_SECONDS,
    )


async def ensure_stream(connection: NatsConnection, configured: StreamConfig) -> None:
    """Creates a stream unless it is there, and adds subjects that a version before did not have.

    What an operator changed about an existing one stays.

    Raises:
        InvalidInputError: there is one of that name for other subjects, or the subjects are another's.
        UnavailableError: NATS is not reachable, or runs without JetStream.
    """
    assert configured.name is not None, "our streams have names"
    with connection.translated():
        try:
            config = (await connection.jetstream.stream_info(configured.name)).config
        except nats.js.errors.NotFoundError:
            try:
                config = (await connection.jetstream.add_stream(configured)).config
            except nats.js.errors.BadRequestError as error:
                raise InvalidInputError(
                    f"NATS refuses the stream {configured.name}: {error.description}.",
                    remedy="Remove the stream that holds its subjects, or name that one in the settings.",
                ) from error
    missing = set(configured.subjects or ()) - set(config.subjects or ())
    if missing and missing < set(configured.subjects or ()):
        subjects = [*(config.subjects or ()), *sorted(missing)]
        with connection.translated():
            await connection.jetstream.update_stream(config.evolve(subjects=subjects))
    elif missing:
        raise InvalidInputError(
            f"The NATS stream {configured.name} exists without the subjects"
            f" {', '.join(configured.subjects or ())}.",
            remedy="Add them to the stream, or name another in the settings.",
        )
