"""One instance for tests: its own state directory and free ports, the real command line, and a sure end."""

import os
import shutil
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import psutil
import pytest
from playwright.sync_api import Browser, Page

from tests.fork_server import IMPORTS, ForkedProcess, ForkServer
from workshop.core.ports import free_port
from workshop.lab import process
from workshop.lab.process import ProcessState

_HANG_UP_SECONDS = 5.0
WORKLOADS = ("github-remote", "practice-github", "workshop")


if TYPE_CHECKING:
    _Spawn = pexpect.spawn[str]
else:
    _Spawn = pexpect.spawn


class ForkedTerminal(_Spawn):
    """What `pexpect.spawn` is, for a process that a fork server makes."""

    def __init__(
        self,
        server: ForkServer,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        size: tuple[int, int],
        timeout: float,
    ) -> None:
        super().__init__(None, timeout=timeout, encoding="utf-8")  # type: ignore[arg-type]  # as in its documentation
        own, terminal = os.openpty()
        termios.tcsetwinsize(own, size)
        try:
            forked = ForkedProcess(server, words, folder, environment, imports=IMPORTS, terminal=terminal)
        finally:
            os.close(terminal)
        self.ptyproc = _TerminalProcess(own, forked)
        self.child_fd, self.pid, self.name, self.closed = own, forked.pid, " ".join(words), False


class _TerminalProcess:
    """What pexpect asks of `ptyprocess.PtyProcess`."""

    def __init__(self, fd: int, forked: ForkedProcess) -> None:
        self.fd, self._forked = fd, forked
        self.flag_eof = self.terminated = False
        self.status: int | None = None
        self.exitstatus: int | None = None
        self.signalstatus: int | None = None

    def isalive(self) -> bool:
        # Its output has ended: so does the process, in a moment.
        code = self._forked.wait() if self.flag_eof else self._forked.poll()
        if code is not None:
            self.status, self.terminated = code, True
            self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)
        return code is None

    def close(self, force: bool = True) -> None:  # noqa: FBT001, FBT002 - as pexpect calls it
        """Hang up, and end the process if that does not."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        try:
            self._forked.wait(_HANG_UP_SECONDS)
        except subprocess.TimeoutExpired:
            self._forked.kill()
            self._forked.wait()
        self.isalive()

    def setwinsize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.fd, (rows, columns))

    def sendintr(self) -> tuple[int, bytes]:
        """Press Ctrl-C."""
        return os.write(self.fd, b"\x03"), b"\x03"


@dataclass(frozen=True)
class IsolatedInstance:
    """Runs `workshop` as a person does, in an empty folder, with its own state and ports."""

    home: Path
    folder: Path
    ports: dict[str, int]

    @property
    def directory(self) -> Path:
        return self.home / "default"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **plain_environment(),
            "WORKSHOP_HOME": str(self.home),
            "WORKSHOP_BACKEND": "embedded",
            "COLUMNS": "100",
            "BROWSER": "true",
            "PAGER": "cat",
        }

    @property
    def port_options(self) -> list[str]:
        return [f"--port={name}={port}" for name, port in self.ports.items()]

    def run(self, *arguments: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, without a terminal, in a process that a fork server makes."""
        return self.run_python("-m", "workshop", *arguments, timeout=timeout)

    def run_python(self, *words: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        """The same for what follows `python`: a script, or `-m workshop …`."""
        server = fork_server(self.environment)
        return server.run(words, self.folder, self.environment, imports=IMPORTS, timeout=timeout)

    def start(self, *arguments: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        """Run one command as `run` does, in a process that is really started."""
        return subprocess.run(
            [sys.executable, "-m", "workshop", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def spawn(
        self, *arguments: str, timeout: float = 60, size: tuple[int, int] = (40, 100), **variables: str
    ) -> "pexpect.spawn[str]":
        """Start one command on a real terminal of this many rows and columns, with more variables set."""
        return self.spawn_python("-m", "workshop", *arguments, timeout=timeout, size=size, **variables)

    def spawn_python(
        self, *words: str, timeout: float = 60, size: tuple[int, int] = (40, 100), **variables: str
    ) -> "pexpect.spawn[str]":
        """The same for what follows `python`."""
        given = {name: value for name, value in self.environment.items() if name != "COLUMNS"}
        return forked_terminal(
            *words, folder=self.folder, timeout=timeout, size=size, env={**given, **variables}
        )

    def begin(self, *words: str, **variables: str) -> ForkedProcess:
        """Start what follows `python` and let it run, with pipes for its three streams."""
        return forked(*words, folder=self.folder, env={**self.environment, **variables})

    def up(self) -> subprocess.CompletedProcess[str]:
        """Bring everything up with the practice GitHub."""
        done = self.run("up", *self.port_options)
        assert done.returncode == 0, done.stderr
        return done

    def states(self) -> dict[str, ProcessState]:
        return process.read_states(self.directory / "workloads")

    def processes(self) -> list[psutil.Process]:
        """Every process that names this instance's state directory."""
        return list(process.strays(self.directory))


_LOCK = threading.Lock()  # a test may run commands in several threads
_SERVERS: dict[tuple[tuple[str, str], ...], ForkServer] = {}
# What no import reads, so that servers need not differ in it.
_AT_RUN_TIME = (
    *("WORKSHOP_", "BROWSER", "COLUMNS", "FORCE_", "HOME", "LOG_LEVEL", "MCP_", "NO_COLOR", "PAGER"),
    *("PRACTICE_", "TERM"),
)


def fork_server(environment: Mapping[str, str]) -> ForkServer:
    """The fork server with these variables, except for those that only its children get."""
    shell = {name: value for name, value in environment.items() if not name.startswith(_AT_RUN_TIME)}
    key = tuple(sorted(shell.items()))
    with _LOCK:
        if key not in _SERVERS:
            _SERVERS[key] = ForkServer([sys.executable], Path(__file__).parent, shell)
        return _SERVERS[key]


Env = Mapping[str, str] | None  # what a program gets besides the plain variables


def plain_environment() -> dict[str, str]:
    """What every program gets of the variables of whoever tests."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}


def forked(
    *words: str, folder: Path, imports: Sequence[str] = IMPORTS, log: Path | None = None, env: Env = None
) -> ForkedProcess:
    """Start what follows `python` in a process that a fork server makes, with pipes for its three streams.

    What runs for long and is not read writes to a file, `log`.
    """
    environment = {**plain_environment(), **(env or {})}
    server = fork_server(environment)
    return ForkedProcess(server, words, folder, environment, imports=imports, piped=(0, 1, 2), log=log)


def forked_terminal(
    *words: str, folder: Path, timeout: float = 60, size: tuple[int, int] = (40, 100), env: Env = None
) -> ForkedTerminal:
    """Start what follows `python` on a terminal; without COLUMNS, the terminal itself is asked."""
    environment = {**plain_environment(), "TERM": "xterm-256color", **(env or {})}
    return ForkedTerminal(fork_server(environment), words, folder, environment, size, timeout)


def run_forked(
    *words: str, folder: Path, imports: Sequence[str] = IMPORTS, timeout: float = 100, env: Env = None
) -> subprocess.CompletedProcess[str]:
    """The same to its end, with nothing on stdin."""
    environment = {**plain_environment(), **(env or {})}
    return fork_server(environment).run(words, folder, environment, imports=imports, timeout=timeout)


@pytest.fixture(scope="session", autouse=True)
def fork_servers() -> Iterator[None]:
    """The end of every fork server."""
    yield
    while _SERVERS:
        _SERVERS.popitem()[1].close()


def instance_in(directory: Path, ports: Mapping[str, int] | None = None) -> IsolatedInstance:
    """An instance whose state, folder and `.env` are below this directory, on these ports or free ones."""
    folder = directory / "here"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").touch(mode=0o600)  # the checkout's own is not read then
    return IsolatedInstance(
        directory / "state", folder, dict(ports or {name: free_port() for name in WORKLOADS})
    )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[IsolatedInstance]:
    made = instance_in(tmp_path)
    yield made
    for left in made.processes():
        process.end(left)


@contextmanager
def started_instance(directory: Path) -> Iterator[IsolatedInstance]:
    """An instance that is up, until the block ends."""
    made = instance_in(directory)
    made.up()
    yield made
    for left in made.processes():
        process.end(left)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedInstance]:
    with started_instance(tmp_path_factory.mktemp("started")) as made:
        yield made


@pytest.fixture(scope="session")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedInstance]:
    with started_instance(tmp_path_factory.mktemp("restarted")) as made:
        yield made


@pytest.fixture
def expendable(restarted: IsolatedInstance) -> Iterator[IsolatedInstance]:
    """Another `up` for every test that ends a workload: the next `part 4 run` starts it again."""
    yield restarted
    shutil.rmtree(restarted.directory / "logins", ignore_errors=True)


@pytest.fixture
def running(started: IsolatedInstance) -> Iterator[IsolatedInstance]:
    """One `up` for every test that leaves its workloads as they are; the agent starts without a login."""
    before = started.states()
    yield started
    shutil.rmtree(started.directory / "logins", ignore_errors=True)
    assert started.states() == before, "a test that changes what runs needs an instance of its own"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page as wide as a telephone."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(180_000)
    yield opened
    context.close()
