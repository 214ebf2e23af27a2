"""The connection pool, and one meaning for every way in which PostgreSQL can be out of reach."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import asyncpg
import msgspec
from sqlalchemy import exc
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from perfopt.errors import InvalidInputError, PerfoptError, UnavailableError

CONNECT_SECONDS = 3.0
COMMAND_SECONDS = 30.0
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    exc.TimeoutError,
    exc.InterfaceError,
    exc.OperationalError,
)
_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


class Database:
    """A pool of connections to one PostgreSQL database.

    Args:
        url: `postgresql://user:password@host:port/database`.
        pool_size: connections kept; as many more may be opened for a moment.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        try:
            self._url = make_url(url).set(drivername="postgresql+asyncpg")
        except (exc.ArgumentError, ValueError):
            raise InvalidInputError(
                "This is not the address of a PostgreSQL database.",
                field="database_url",
                remedy="Write postgresql://user:password@host:5432/database.",
            ) from None
        self.place = f"{self._url.host}:{self._url.port or 5432}/{self._url.database}"
        self.engine: AsyncEngine = create_async_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,  # a restarted server costs one more round trip, not a failed request
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            connect_args={"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS},
        )

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Gives a connection in a transaction that commits at the end, and rolls back on any error.

        Raises:
            UnavailableError: PostgreSQL is not reachable, or its schema is missing.
        """
        with self.translated():
            async with self.engine.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turns what PostgreSQL's drivers raise into errors that say what to do, with the cause chained."""
        try:
            yield
        except _GONE as error:
            raise self.unavailable(error) from error
        except (asyncpg.PostgresError, exc.DBAPIError) as error:
            cause = getattr(getattr(error, "orig", None), "__cause__", None) or error
            meaning = self._meaning(cause)
            if meaning is None and getattr(error, "connection_invalidated", False):
                meaning = self.unavailable(cause)
            if meaning is None:
                raise
            raise meaning from error

    def _meaning(self, cause: BaseException) -> PerfoptError | None:
        if isinstance(cause, _GONE):
            return self.unavailable(cause)
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

    def unavailable(self, error: BaseException | None = None) -> UnavailableError:
        """Returns the error that says PostgreSQL is not reachable."""
        cause = f" ({_sentence(error)})" if error is not None else ""
        return UnavailableError(
            f"PostgreSQL at {self.place} is not reachable{cause}.",
            remedy="Check that it runs and that the setting database_url is right.",
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def _sentence(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return "it did not answer in time"
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0].rstrip(".") if str(cause) else type(cause).__name__
