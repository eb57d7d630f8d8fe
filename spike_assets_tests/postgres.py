"""A Postgres of our own for tests: Debian's binaries, a private folder, a port of loopback, gone with the test session.

All workers of a session share one server; each test that asks for one has a database of its own. A watcher stops the
server when the process that runs the session has ended, however it ended.
"""

import fcntl
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import poll
from typing import Any

import pytest

USER = "spike"
PASSWORD = "pass-w0rd/of@spike"  # noqa: S105 - of a server that nobody else reaches; with what a URL has to encode
_ENCODED = "pass-w0rd%2Fof%40spike"
_TEMPLATE = "made"
"""The database that is copied: with the newest schema, and nothing in it."""

_QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_parallel_workers_per_gather": "0",
    "timezone": "America/New_York",  # which nothing of ours may follow
    "lc_messages": "C",
}


def binaries() -> Path | None:
    """Give the folder of Postgres' programs; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    known = shutil.which("initdb")
    return Path(known).resolve().parent if known else None


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes
    ----------
    folder
        Where its data and its socket are.
    """

    folder: Path
    port: int

    def url(self, database: str) -> str:
        """Give the URL of a database, as SPIKE_DATABASE has it."""
        return f"postgresql://{USER}:{_ENCODED}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Let it break off in the midst of whatever it is at, as when its machine fails."""
        _run(self.folder, _somebody(), "pg_ctl", "stop", "-m", "immediate", "-w", "-D", str(self.folder / "data"))

    def start(self) -> None:
        """Start it where it was."""
        _run(self.folder, _somebody(), "pg_ctl", "start", "-w", "-D", str(self.folder / "data"),
             "-o", f"-p {self.port}", "-l", str(self.folder / "log"))  # fmt: skip

    def command(self, sql: str) -> None:
        """Run a command outside a transaction, as the server's owner."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """Make a database with the newest schema, or without any; give its URL, and remove it in the end."""
        name = f"test_{secrets.token_hex(6)}"
        self.command(f"CREATE DATABASE {name}{'' if empty else f' TEMPLATE {_TEMPLATE}'}")
        try:
            yield self.url(name)
        finally:
            self.command(f"DROP DATABASE {name} WITH (FORCE)")


def running(shared: Path) -> Server:
    """Give the server of this test session, whose workers share a folder; start it where it is not."""
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = shared / "postgres.json"
        if not told.exists():
            server = _start()
            told.write_text(json.dumps({"folder": str(server.folder), "port": server.port}), encoding="utf-8")
        known: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return Server(Path(known["folder"]), known["port"])


def _start(**besides: str) -> Server:
    folder = Path(tempfile.mkdtemp(prefix="spike-postgres-"))
    who = _somebody()
    if who:
        shutil.chown(folder, who["user"], who["group"])
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    (folder / "password").chmod(0o644)
    _run(folder, who, "initdb", "-U", USER, "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync",
         "--locale=C.UTF-8", "-E", "UTF8", "-D", str(folder / "data"))  # fmt: skip
    with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        settings = _QUICK | besides | {"unix_socket_directories": str(folder), "listen_addresses": "127.0.0.1"}
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    _watch(os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid(), folder, who)
    server = Server(folder, _listening(folder))
    _make_template(server)
    return server


def _listening(folder: Path) -> int:
    """Start the server on a port that is free, and give it: somebody else may be quicker to take it, so once more."""
    for left in reversed(range(5)):
        port = _free_port()
        try:
            Server(folder, port).start()
        except AssertionError:
            if not left:
                raise
        else:
            return port
    raise AssertionError


def _make_template(server: Server) -> None:
    from spike_assets.store import open_store
    from spike_assets_tests.support import FOREVER

    # An order in which `*` stands elsewhere than in that of bytes: nothing of ours may follow it.
    server.command(
        f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
    )
    with open_store(server.url(_TEMPLATE)).writing(FOREVER, "making the template"):
        pass
    # What is copied must be used by nobody.
    server.command(f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")
    server.command(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_TEMPLATE}'")  # noqa: S608


def _somebody() -> dict[str, Any]:
    """Give as whom the server runs: it refuses to as root."""
    if os.getuid():
        return {}
    names = {one.pw_name for one in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def _run(folder: Path, who: dict[str, Any], program: str, *arguments: str) -> None:
    found = binaries()
    assert found is not None
    log = folder / "said"
    # Not a pipe: the server inherits it, and would keep whoever reads it waiting.
    with log.open("ab") as said:
        command = [str(found / program), *arguments]
        ended = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/", env=_environment(), **who
        )
    if ended.returncode:
        server = folder / "log"
        raise AssertionError(log.read_text() + (server.read_text() if server.exists() else ""))


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _watch(process: int, folder: Path, who: dict[str, Any]) -> None:
    """Start the watcher, which nobody has to wait for."""
    subprocess.run(
        [sys.executable, "-I", __file__, str(process), str(folder), str(binaries()), str(who.get("user", ""))],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=True,
    )


def _watcher(process: int, folder: Path, programs: Path, user: str) -> None:
    """Wait for the end of a process, then stop the server and remove what it leaves."""
    watched = os.pidfd_open(process)
    if os.fork():
        os._exit(0)
    os.setsid()
    waiting = poll()
    waiting.register(watched)
    waiting.poll()
    command = [str(programs / "pg_ctl"), "stop", "-m", "immediate", "-w", "-D", str(folder / "data")]
    subprocess.run(command, check=False, cwd="/", **({"user": user, "extra_groups": []} if user else {}))  # type: ignore[call-overload]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Give the session's Postgres."""
    if binaries() is None:
        pytest.skip("Postgres is not installed here (Debian's package postgresql)")
    base = tmp_path_factory.getbasetemp()
    return running(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="module")
def fragile_server() -> Iterator[Server]:
    """Give a Postgres of one's own, to be stopped and started; what it says is committed is so."""
    if binaries() is None:
        pytest.skip("Postgres is not installed here (Debian's package postgresql)")
    server = _start(synchronous_commit="on")
    yield server
    server.stop()


@pytest.fixture
def postgres(server: Server) -> Iterator[str]:
    """Give the URL of a database of its own, with the newest schema and nothing in it."""
    with server.database() as url:
        yield url


@pytest.fixture
def empty_postgres(server: Server) -> Iterator[str]:
    """Give the URL of a database of its own without anything in it."""
    with server.database(empty=True) as url:
        yield url


if __name__ == "__main__":
    _watcher(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
