"""Addresses of PostgreSQL as libpq takes them, for asyncpg."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from perfopt.errors import InvalidInputError

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
# Parameters of libpq that asyncpg would send to the server as settings, which then refuses the connection.
_LOCAL = frozenset(
    {
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "channel_binding",
        "gssencmode",
        "sslsni",
        "sslcompression",
        "require_auth",
        "load_balance_hosts",
    }
)
_REMEDY = "Write postgresql://user:password@host:5432/database."


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is.

    Attributes:
        dsn: for asyncpg, with every parameter of libpq that it knows.
        place: hosts and database, without credentials.
        connect_seconds: `connect_timeout` of the address; None where it names none.
        named: the address has an application_name.
    """

    dsn: str
    place: str
    connect_seconds: float | None
    named: bool

    @classmethod
    def parse(cls, url: str) -> "DatabaseAddress":
        """Reads an address.

        Raises:
            InvalidInputError: it is none of a PostgreSQL database.
        """
        try:
            parts = urlsplit(url)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            timeout = query.pop("connect_timeout", None)
            seconds = float(timeout) if timeout else None
        except ValueError as error:
            raise _refused() from error
        if parts.scheme not in SCHEMES or not _has_ports(parts.netloc):
            raise _refused()
        parameters = {("sslmode" if name == "ssl" else name): value for name, value in query.items()}
        parameters = {name: value for name, value in parameters.items() if name not in _LOCAL}
        hosts = parts.netloc.rpartition("@")[2] or query.get("host", "")
        return cls(
            dsn=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(parameters), "")),
            place=f"{_with_ports(hosts)}{parts.path}",
            connect_seconds=seconds or None,
            named="application_name" in parameters,
        )


def _has_ports(netloc: str) -> bool:
    """Returns whether what stands behind each host is a port, or nothing."""
    for host in netloc.rpartition("@")[2].split(","):
        _, colon, port = host.rpartition("]")[2].rpartition(":")
        if colon and port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return False
    return True


def _with_ports(hosts: str) -> str:
    named = [host for host in hosts.split(",") if host]
    return ",".join(host if _names_port(host) else f"{host}:5432" for host in named)


def _names_port(host: str) -> bool:
    return host.startswith("/") or host.rpartition("]")[2].rpartition(":")[2].isdigit()


def _refused() -> InvalidInputError:
    return InvalidInputError(
        "This is not the address of a PostgreSQL database.", field="database_url", remedy=_REMEDY
    )
