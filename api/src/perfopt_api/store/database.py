"""The connection pool, and one meaning for every way in which PostgreSQL can be out of reach."""

import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from perfopt.errors import InvalidInputError, PerfoptError, UnavailableError
from perfopt_api.errors import OverloadedError
from perfopt_api.store.address import DatabaseAddress
from perfopt_api.store.admission import AdmissionQueue
from perfopt_api.tracing import span

APPLICATION = "perfopt"
CONNECT_SECONDS = 3.0
POOL_SECONDS = 10.0
"""That a command waits for a free connection before it counts as overload."""
COMMAND_SECONDS = 30.0
ANSWERED_SECONDS = 10.0
"""Since the last answer: a command that is not answered in this time is overload, and PostgreSQL is well."""
_GONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    exc.InterfaceError,
    exc.OperationalError,
)
_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
# Reachable, but not able to do its work; a command may work later.
_UNABLE: dict[type[BaseException], tuple[str, str]] = {
    asyncpg.ReadOnlySQLTransactionError: ("takes no writes", "Check that database_url names the primary."),
    asyncpg.DiskFullError: ("has no disk space left", "Free or add disk space."),
    asyncpg.LockNotAvailableError: ("did not get a lock in time", "Look for long transactions."),
    asyncpg.QueryCanceledError: ("cancelled a command that took too long", "Look for long transactions."),
    asyncpg.TransactionRollbackError: ("rolled a transaction back for another", "Try again."),
    asyncpg.IdleInTransactionSessionTimeoutError: ("ended an idle transaction", "Try again."),
    asyncpg.InsufficientResourcesError: ("is out of resources", "Look at its log."),
    asyncpg.PostgresSystemError: ("has a fault of its storage", "Look at its log."),
    TimeoutError: ("did not answer in time", "Look at its load and for long transactions."),
}


class Database:
    """A pool of connections to one PostgreSQL database.

    Args:
        url: as libpq takes it, with several hosts and its parameters.
        pool_size: half of the connections, which are opened when first used and kept.
        command_seconds: after which a command counts as unanswered.
        bounded: whether a command that would wait too long for a connection is refused at once.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        command_seconds: float = COMMAND_SECONDS,
        bounded: bool = False,
    ) -> None:
        connections = 2 * pool_size
        self._queue = AdmissionQueue(connections) if bounded else None
        self._answered = -math.inf
        address = DatabaseAddress.parse(url)
        self.place = address.place
        settings = {} if address.named else {"application_name": APPLICATION}

        async def connect(*_: Any, **options: Any) -> Any:
            return await asyncpg.connect(
                address.dsn,
                timeout=address.connect_seconds or CONNECT_SECONDS,
                command_timeout=command_seconds,
                server_settings=settings,
                **options,
            )

        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            pool_size=connections,
            max_overflow=0,  # opening one under load, and closing it after, costs more than it brings
            pool_timeout=POOL_SECONDS,
            pool_pre_ping=True,  # a restarted server costs one more round trip, not a failed request
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            async_creator=connect,
        )
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Gives a connection in a transaction that commits at the end, and rolls back on any error.

        Raises:
            UnavailableError: PostgreSQL is not reachable or not able to work, or its schema is missing.
            OverloadedError: there is no connection free.
        """
        with self.translated(), self._span("transaction"), self._place() as use:
            async with self.engine.begin() as connection:
                use()
                yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Gives a connection whose statements are transactions of their own: two round trips less.

        Raises:
            UnavailableError, OverloadedError: as `transaction`.
        """
        with self.translated(), self._span("read"), self._place() as use:
            async with self._reader.connect() as connection:
                use()
                yield connection

    def _span(self, what: str) -> contextlib.AbstractContextManager[Any]:
        return span(
            f"postgresql {what}", kind="client", **{"db.system": "postgresql", "db.place": self.place}
        )

    @contextlib.contextmanager
    def _place(self) -> Iterator[Callable[[], None]]:
        """Gives a place in the queue, if there is one; with a connection at hand, call what is yielded."""

        def answered() -> None:
            self._answered = time.monotonic()

        if self._queue is None:
            yield answered
            return
        with self._queue.place() as use:

            def begun() -> None:
                answered()
                use()

            yield begun

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turns what PostgreSQL's drivers raise into errors that say what to do, with the cause chained."""
        try:
            yield
        except exc.TimeoutError as error:
            raise self._overloaded("All connections of this process are in use") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, exc.DBAPIError) as error:
            cause = getattr(getattr(error, "orig", None), "__cause__", None) or error
            meaning = self._meaning(cause)
            if meaning is None and getattr(error, "connection_invalidated", False):
                meaning = self._unreachable(cause)
            if meaning is None:
                raise
            raise meaning from error

    def _meaning(self, cause: BaseException) -> PerfoptError | None:
        if isinstance(cause, asyncpg.TooManyConnectionsError):
            return self._overloaded("No more connections are accepted")
        if isinstance(cause, TimeoutError) and time.monotonic() - self._answered < ANSWERED_SECONDS:
            return self._overloaded("It answers others, and was too slow for this request")
        for kind, (problem, remedy) in _UNABLE.items():
            if isinstance(cause, kind):
                return UnavailableError(f"PostgreSQL at {self.place} {problem}.", remedy=remedy)
        if isinstance(cause, _GONE):
            return self._unreachable(cause)
        if isinstance(cause, _REFUSED):
            return UnavailableError(
                f"PostgreSQL at {self.place} refuses: {_sentence(cause)}.",
                remedy="Check the setting database_url.",
            )
        if isinstance(cause, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
            return UnavailableError(
                f"The database {self.place} lacks the schema of this version.",
                remedy="Run `perfopt migrate`.",
            )
        if isinstance(cause, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
            return InvalidInputError("There is a character in it that cannot be stored, such as NUL.")
        return None

    def _overloaded(self, problem: str) -> OverloadedError:
        return OverloadedError(
            f"{problem}: PostgreSQL at {self.place}.", remedy="Try again in a few seconds."
        )

    def _unreachable(self, error: BaseException) -> UnavailableError:
        return UnavailableError(
            f"PostgreSQL at {self.place} is not reachable ({_sentence(error)}).",
            remedy="Check that it runs and that the setting database_url is right.",
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def _sentence(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0].rstrip(".") if str(cause) else type(cause).__name__
