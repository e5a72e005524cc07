"""Detached local processes, one for each program: start, find, probe and end them.

As in ToolHive's local mode, each has a folder with its state file, its configuration and its log.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.console import Progress
from workshop.core.errors import DeadlineError, PreflightError, WorkshopError
from workshop.core.files import DamagedFileError, Pid, Port, read_state
from workshop.core.outgoing import check_loopback
from workshop.core.paths import make_private_dir, write_private
from workshop.core.ports import is_free, owner
from workshop.lab.base import Applied, Program, WorkloadStatus

if TYPE_CHECKING:
    import psutil

_POLL_SECONDS = 0.05
_PROBE_SECONDS = 5.0
_TERMINATE_SECONDS = 4.0
_SAME_START_SECONDS = 2.0  # psutil counts from the boot time, which a corrected clock moves a little
_LOG_LINES = 2
_LEAST_FREE = 1024 * 1024  # bytes; not 0, because a program that fails gives back some of what it had
# A program gets no other variable of the person's shell: some of them contain secrets.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


@dataclass(frozen=True)
class ProcessState:
    """The recorded state of a started program: enough to find its process again, and to end it."""

    name: str
    pid: Pid
    created: float
    port: Port
    url: str
    fingerprint: str
    log: str


def state_path(directory: Path, name: str) -> Path:
    """The state file of a program."""
    return directory / name / "state.json"


def read_states(directory: Path) -> dict[str, ProcessState]:
    """Every recorded state under `directory`, by name; a damaged file counts as absent."""
    states: dict[str, ProcessState] = {}
    for path in sorted(directory.glob("*/state.json")):
        with contextlib.suppress(DamagedFileError):
            if state := read_state(ProcessState, path):
                states[state.name] = state
    return states


def passed_on() -> dict[str, str]:
    """The variables that a started program gets; a person's secrets may be among the others."""
    return {key: os.environ[key] for key in (*_PASSED_ON, *_PROXIES) if key in os.environ}


def command(program: Program, directory: Path) -> tuple[str, ...]:
    """The arguments that start a program whose folder is below `directory`."""
    if program.config is None:
        return program.argv
    return (*program.argv, "--config", str(directory / program.name / "config.json"))


def start(program: Program, directory: Path, sockets: Sequence[socket.socket] = ()) -> ProcessState:
    """Start a program in a session of its own, and write its state before returning.

    Each of the bound `sockets` is handed over, and its number given as `--socket NUMBER`.
    """
    import psutil

    home = directory / program.name
    make_private_dir(home)
    if program.config is not None:
        write_private(home / "config.json", json.dumps(program.config, indent=2).encode())
    numbers = tuple(sock.fileno() for sock in sockets)
    argv = [*command(program, directory), *(word for each in numbers for word in ("--socket", str(each)))]
    log = home / "log.txt"
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=home,
            env={**passed_on(), **program.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C and the end of the terminal reach only the command
            pass_fds=numbers,
        )
    process.returncode = 0  # it is meant to outlive this process: no warning when this handle is dropped
    try:
        created = psutil.Process(process.pid).create_time()
        state = ProcessState(
            program.name, process.pid, created, program.port, program.url, program.fingerprint, str(log)
        )
        write_private(state_path(directory, program.name), json.dumps(asdict(state)).encode())
    except BaseException:  # without a state nobody would find the process again
        os.kill(process.pid, signal.SIGKILL)
        raise
    return state


def find(state: ProcessState) -> "psutil.Process | None":
    """The running process that a state records; None if it has ended or its pid is in use by another."""
    import psutil

    try:
        process = psutil.Process(state.pid)
        same = abs(process.create_time() - state.created) < _SAME_START_SECONDS
        return process if same and _is_alive(process) else None
    except psutil.Error:
        return None


def is_healthy(state: ProcessState) -> bool:
    """Whether this process, not another one on its port, answers `/health` with 200."""
    process = find(state)
    # The question first: while a program starts, a refused connection costs least.
    return process is not None and _answers_health(state.port) and _listens(process, state.port)


def wait_ready(state: ProcessState, seconds: float) -> None:
    """Wait until a program is healthy; raises WorkshopError when it ends, DeadlineError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_healthy(state):
        ended = find(state) is None
        if ended or time.monotonic() > deadline:
            why, hint = _last_words(Path(state.log))
            if ended:
                raise WorkshopError(f"`{state.name}` exited while it was starting", why=why, hint=hint)
            raise DeadlineError(f"`{state.name}` was not ready within {seconds:.0f} s", why=why, hint=hint)
        time.sleep(_POLL_SECONDS)


def stop(state: ProcessState, seconds: float = _TERMINATE_SECONDS) -> bool:
    """End a program's process: terminate, wait, kill; False if it had ended already."""
    process = find(state)
    if process is None:
        return False
    end(process, seconds)
    return True


def end(process: "psutil.Process", seconds: float = _TERMINATE_SECONDS) -> None:
    """Terminate a process, and kill it if it does not end within `seconds`."""
    import psutil

    terminate(process)
    if not _wait_for_end(process, seconds):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        _wait_for_end(process, _TERMINATE_SECONDS)


def terminate(process: "psutil.Process") -> None:
    """Ask a process to end, without waiting for it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()  # a stopped process cannot act on SIGTERM
        process.terminate()


def _wait_for_end(process: "psutil.Process", seconds: float) -> bool:
    # Not `process.wait`: in a container an orphan may never be reaped, and a zombie counts as ended.
    deadline = time.monotonic() + seconds
    while _is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _is_alive(process: "psutil.Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def strays(directory: Path) -> Iterator["psutil.Process"]:
    """Processes whose arguments name this directory, with or without a state file."""
    import psutil

    mark = f"{directory}{os.sep}"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(mark in argument for argument in process.cmdline()[1:]):
                yield process  # never a zombie, which has no arguments left


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


def _last_words(log: Path) -> tuple[str, str]:
    """The last lines of a program's log and where it is; of an empty one on a full disk, the remedy."""
    hint = f"Its log is `{log}`"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "There is no log", hint
    if words := " / ".join(line.strip() for line in lines[-_LOG_LINES:]):
        return words, hint
    if shutil.disk_usage(log.parent).free >= _LEAST_FREE:
        return "Its log is empty", hint
    return (
        f"Its log is empty, and the disk with `{log}` is full",
        "Free some space on that disk, or set WORKSHOP_HOME to another folder that you may write to",
    )


class Supervisor:
    """The programs of one directory: starts those that changed, reports how they are, ends them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def states(self) -> dict[str, ProcessState]:
        """The recorded state of each program, by name."""
        return read_states(self.directory)

    def apply(self, programs: Sequence[Program], progress: Progress) -> Applied:
        """Start those that do not run as described; if one fails, those of this call are stopped again.

        Raises PreflightError, before anything is started, for a port that another program has, and where
        nothing that listens here could be reached.
        """
        states = self.states()
        unchanged = [item for item in programs if _is_current(item, states.get(item.name))]
        changed = [item for item in programs if item not in unchanged]
        if changed:
            check_loopback()
        _refuse_taken_ports(changed, states)
        self._start(changed, states, progress)
        return Applied(
            {item.name: item.url for item in programs},
            started=[item.name for item in changed],
            kept=[item.name for item in unchanged],
        )

    def prune(self, programs: Sequence[Program], progress: Progress) -> None:
        """Stop every program that is not among these."""
        wanted = {item.name for item in programs}
        for state in self.states().values():
            if state.name not in wanted:
                with progress.step(f"Stop {state.name}, which is no longer needed"):
                    self.forget(state)

    def _start(
        self, changed: Sequence[Program], states: Mapping[str, ProcessState], progress: Progress
    ) -> None:
        for item in changed:
            if old := states.get(item.name):
                stop(old)
        with ExitStack() as undo:
            started = []
            for item in changed:
                started.append(start(item, self.directory))
                undo.callback(self.forget, started[-1])
            for item, state in zip(changed, started, strict=True):
                with progress.step(f"Start {item.name}", bound=item.ready_seconds) as step:
                    wait_ready(state, item.ready_seconds)
                    step.note(item.url)
            undo.pop_all()

    def status(self) -> Sequence[WorkloadStatus]:
        """Every recorded program, and how it is now."""
        return [_status(state) for state in self.states().values()]

    def stop(self, progress: Progress) -> Sequence[str]:
        """Stop every process, even one without a state file; returns the names of those stopped."""
        states = reversed(self.states().values())
        running = [(state.name, found) for state in states if (found := find(state))]
        for _, found in running:
            terminate(found)  # all at once, since each may take a while
        for name, found in running:
            with progress.step(f"Stop {name}"):
                end(found)
        stopped = [name for name, _ in running]
        for stray in strays(self.directory):
            with progress.step(f"Stop a process without a state file (pid {stray.pid})"):
                end(stray)
                stopped.append(f"pid {stray.pid}")
        return stopped

    def forget(self, state: ProcessState) -> bool:
        """End a program's process and remove its state; False if it had ended already."""
        stopped = stop(state)
        state_path(self.directory, state.name).unlink(missing_ok=True)
        return stopped


def on_this_machine(program: Program, *options: str) -> Program:
    """A program of `part.toml` with the arguments that run it here: this Python, and its script's full path.

    `options` are for the interpreter. The files beside a script count as files that it depends on.
    """
    word, first, *rest = program.argv
    interpreter = (sys.executable, *options) if word == "python" else (word,)
    if first == "-m":
        return replace(program, argv=(*interpreter, first, *rest))
    script = (program.directory / first).resolve()
    beside = sorted(path for path in script.parent.iterdir() if path.is_file() and path.suffix != ".md")
    return replace(program, argv=(*interpreter, str(script), *rest), files=(*program.files, *beside))


def _refuse_taken_ports(changed: Sequence[Program], states: Mapping[str, ProcessState]) -> None:
    replaced = [states[item.name] for item in changed if item.name in states]
    freed = {state.port for state in replaced if find(state)}
    for program in changed:
        if program.port not in freed and not is_free(program.port):
            raise port_taken(program.name, program.port)


def port_taken(name: str, port: int) -> PreflightError:
    """The error for a port of this machine that another program has."""
    return PreflightError(
        f"Port {port} is already in use, and `{name}` needs it",
        why=owner(port),
        hint=f"End that program, or choose another port: `workshop up --port {name}=PORT`",
    )


def _is_current(program: Program, state: ProcessState | None) -> bool:
    return state is not None and state.fingerprint == program.fingerprint and is_healthy(state)


def _status(state: ProcessState) -> WorkloadStatus:
    running = find(state)
    if running is None:
        return WorkloadStatus(state.name, "stopped", state.url, None, state.log)
    healthy = is_healthy(state)
    return WorkloadStatus(state.name, "running" if healthy else "unhealthy", state.url, state.pid, state.log)
