"""One detached local process a workload: start it, recognise it later, probe it, end it.

The shape is ToolHive's own local mode: a state file for each workload, its log beside it.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.errors import DeadlineError, WorkshopError
from workshop.core.paths import make_private_dir, write_private

if TYPE_CHECKING:
    import psutil

_POLL_SECONDS = 0.03
_PROBE_SECONDS = 2.0
_TERMINATE_SECONDS = 4.0
_SAME_START_SECONDS = 2.0
_LOG_LINES = 2
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


@dataclass(frozen=True)
class Workload:
    """What to run: an argument list, its environment, its port and how to ask whether it is ready."""

    name: str
    argv: tuple[str, ...]
    port: int
    url: str
    fingerprint: str
    env: Mapping[str, str]
    ready_seconds: float
    handed_over: tuple[int, ...] = ()  # file descriptors that the process gets, such as a bound socket's


@dataclass(frozen=True)
class ProcessState:
    """What is written down of a started workload: enough to know it again, and to end it."""

    name: str
    pid: int
    created: float
    port: int
    url: str
    fingerprint: str
    log: str


def state_path(directory: Path, name: str) -> Path:
    """Where a workload's state is kept."""
    return directory / name / "state.json"


def read_states(directory: Path) -> dict[str, ProcessState]:
    """Every workload written down under `directory`; a damaged file counts as absent."""
    states: dict[str, ProcessState] = {}
    for path in sorted(directory.glob("*/state.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            state = ProcessState(**json.loads(path.read_text(encoding="utf-8")))
            states[state.name] = state
    return states


def start(workload: Workload, directory: Path) -> ProcessState:
    """Start a workload in a session of its own and write its state down before returning."""
    import psutil

    home = directory / workload.name
    make_private_dir(home)
    log = home / "log.txt"
    environment = {key: os.environ[key] for key in (*_PASSED_ON, *_PROXIES) if key in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            workload.argv,
            cwd=home,
            env={**environment, **workload.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=workload.handed_over,
        )
    process.returncode = 0  # it outlives us on purpose: no warning when this handle is dropped
    try:
        created = psutil.Process(process.pid).create_time()
        state = ProcessState(
            workload.name, process.pid, created, workload.port, workload.url, workload.fingerprint, str(log)
        )
        write_private(state_path(directory, workload.name), json.dumps(asdict(state)).encode())
    except BaseException:
        os.kill(process.pid, signal.SIGKILL)
        raise
    return state


def find(state: ProcessState) -> "psutil.Process | None":
    """The running process a state file speaks of; None when it is gone or its pid is another's now."""
    import psutil

    try:
        process = psutil.Process(state.pid)
        same = abs(process.create_time() - state.created) < _SAME_START_SECONDS
        return process if same and _lives(process) else None
    except psutil.Error:
        return None


def is_healthy(state: ProcessState) -> bool:
    """Whether the process itself, not a stranger on its port, answers `/health` with 200."""
    process = find(state)
    return process is not None and _listens(process, state.port) and _answers_health(state.port)


def wait_ready(state: ProcessState, seconds: float) -> None:
    """Wait until a workload is healthy; raises WorkshopError when it ends, DeadlineError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_healthy(state):
        if find(state) is None:
            raise WorkshopError(
                f"`{state.name}` ended while it was starting",
                why=_last_lines(state.log),
                hint=f"Its log is `{state.log}`",
            )
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"`{state.name}` was not ready within {seconds:.0f} s",
                why=_last_lines(state.log),
                hint=f"Its log is `{state.log}`",
            )
        time.sleep(_POLL_SECONDS)


def stop(state: ProcessState) -> bool:
    """End a workload's process: terminate, wait, kill; False when it was gone already."""
    process = find(state)
    if process is None:
        return False
    end(process)
    return True


def end(process: "psutil.Process") -> None:
    """Terminate a process, wait, and kill it when it does not go."""
    import psutil

    terminate(process)
    if not _gone(process, _TERMINATE_SECONDS):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        _gone(process, _TERMINATE_SECONDS)


def terminate(process: "psutil.Process") -> None:
    """Ask a process to end, without waiting for it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()  # a stopped process cannot act on SIGTERM
        process.terminate()


def _gone(process: "psutil.Process", seconds: float) -> bool:
    # Not `process.wait`: in a container nobody may reap an orphan, and a zombie is as good as gone.
    deadline = time.monotonic() + seconds
    while _lives(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _lives(process: "psutil.Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def strays(directory: Path) -> Iterator["psutil.Process"]:
    """Processes whose arguments name this state directory, though no state file speaks of them."""
    import psutil

    mark = f"{directory}{os.sep}"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(mark in argument for argument in process.cmdline()[1:]):
                yield process  # a zombie has no arguments left, and is none


def _listens(process: "psutil.Process", port: int) -> bool:
    import psutil

    with contextlib.suppress(psutil.Error):
        return any(
            connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", 0) == port
            for connection in process.net_connections("tcp")
        )
    return False


def _answers_health(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/health", headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_lines(log: str) -> str:
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "It left no log"
    return " / ".join(line.strip() for line in lines[-_LOG_LINES:]) or "It wrote nothing to its log"
