"""A fork server for commands: an interpreter that has imported what they need, and forks for each of them.

The start of Python and imports are most of a short command's processor time. `ForkServer` is the tests' end.
As a program, this file is the server. It starts as a command does, with the same variables, streams and
namespace, and only imports before it forks. The child takes its own streams, folder and variables, runs
`python -m workshop` or a script from the first line, and ends as Python does, in full if that is asked for.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, Self

ENTRY = "workshop.cli.main"  # what a command imports before it does anything
IMPORTS = (
    ENTRY,
    "httpx2",
    "kubernetes",
    "mcp",
    "mcp.client.auth",
    "psutil",
    "rich.live",
    "rich.table",
    "workshop.agent.run",
    "workshop.course.doctor",
    "workshop.course.environment",
    "workshop.course.run",
    "workshop.lab.embedded",
    "workshop.lab.tools.run",
    "workshop.toolhive.lint",
)
_BYTES = 65_536
_ABOVE_STREAMS = 10


class ForkServer:
    """One server; it ends with `close`, or with the process that made this.

    `start` is the command line of an interpreter, without what it is to run. Its children write to pipes,
    except that streams in `redirected` (1, 2) stay as `start` has them; stdin always does.
    """

    def __init__(
        self,
        start: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        redirected: Sequence[int] = (),
    ) -> None:
        self.streams = [number for number in (1, 2) if number not in redirected]
        self._lock = threading.Lock()
        self._control, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(
                [*start, __file__, str(far.fileno())],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[far.fileno()],
            )

    def run(
        self,
        words: Sequence[str],
        folder: Path | None,
        environment: Mapping[str, str],
        *,
        imports: Sequence[str] = (),
        first: str = "",
        finalize: bool = False,
        timeout: float = 100,
    ) -> subprocess.CompletedProcess[str]:
        """Run what follows `python` on a command line: `-m workshop …`, or a script with its arguments.

        Without a folder it runs in the server's own. `imports` are the modules to import before the fork;
        `first` is a command of the shell, to be run after it. With `finalize` the child ends with all of
        Python's finalization. Raises TimeoutExpired after `timeout` seconds.
        """
        with ForkedProcess(
            self,
            words,
            folder,
            environment,
            imports=imports,
            first=first,
            finalize=finalize,
            piped=self.streams,
        ) as forked:
            output, errors = forked.communicate(timeout=timeout)
            return subprocess.CompletedProcess([*words], forked.wait(), output, errors)

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """The pid of a new child with these descriptors: its streams, and one that closes when it ends."""
        return self._ask(request, descriptors)

    def exit_code(self, pid: int) -> int:
        """The exit code of a child that has ended, or the negative number of the signal that ended it."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        """End the server, which must not have printed anything itself."""
        self._control.close()
        printed = b"".join(self._process.communicate(timeout=60))
        assert not printed, printed.decode("utf-8", "replace")

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        """The pid of a new child, or the exit code of one that has ended."""
        answer = b""
        with self._lock, contextlib.suppress(ConnectionError):
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
            answer = self._control.recv(_BYTES)
        if not answer:
            self.close()
            raise RuntimeError(f"The fork server has ended with exit code {self._process.returncode}")
        return int(answer)


class ForkedProcess:
    """What `subprocess.Popen(…, text=True)` has, for a process that a server forks.

    The streams in `piped` are pipes (0 is stdin), and the others are the server's. With a `terminal`, the
    number of an open pseudo-terminal, that is its controlling terminal and all three of its streams. With a
    `log`, stdout and stderr are that file.
    """

    def __init__(
        self,
        server: ForkServer,
        words: Sequence[str],
        folder: Path | None,
        environment: Mapping[str, str],
        *,
        imports: Sequence[str] = (),
        first: str = "",
        finalize: bool = False,
        piped: Sequence[int] = (1, 2),
        terminal: int | None = None,
        log: Path | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._server = server
        streams = [*piped] if terminal is None else []
        request = {
            "words": [*words],
            "folder": str(folder or ""),
            "environment": {**environment},
            "imports": [*imports],
            "first": first,
            "finalize": finalize,
            "streams": streams,
            "terminal": terminal is not None,
        }
        pipes = {number: os.pipe() for number in streams if number == 0 or log is None}
        given = {number: ends[number > 0] for number, ends in pipes.items()}
        if log is not None:
            given |= {number: os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for number in (1, 2)}
        self._alive, alive = os.pipe()
        try:
            handed = [*given.values()] if terminal is None else [terminal]
            self.pid = server.fork(request, [*handed, alive])
        finally:
            for each in (*given.values(), alive):
                os.close(each)
        files = {
            number: os.fdopen(ends[number == 0], "r" if number else "w", encoding="utf-8", errors="replace")
            for number, ends in pipes.items()
        }
        self.stdin, self.stdout, self.stderr = (files.get(number) for number in range(3))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it runs, and close the pipes."""
        if self.poll() is None:
            self.kill()
            self.wait()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with contextlib.suppress(BrokenPipeError):
                    file.close()

    def communicate(self, text: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write to stdin and close it; return the rest of stdout and stderr, after the process has ended."""
        found = ["", ""]

        def read(place: int, file: IO[str] | None) -> None:
            with file or contextlib.nullcontext():
                found[place] = file.read() if file else ""

        readers = [
            threading.Thread(target=read, args=each, daemon=True)
            for each in enumerate((self.stdout, self.stderr))
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(text)
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return found[0], found[1]

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code; raises TimeoutExpired after `timeout` seconds."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._alive], [], [], timeout)[0]:
            self.returncode = self._server.exit_code(self.pid)
            os.close(self._alive)
        return self.returncode


def _serve(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Answer requests until the tests end, then end the children; return in a child, with its request."""
    running: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _BYTES, 4)
        if not message:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        request = json.loads(message)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            running.discard(request["wait"])
        else:
            _import(request["imports"])
            answer = os.fork()
            if answer == 0:
                control.close()
                return request, descriptors
            running.add(answer)
        for each in descriptors:
            os.close(each)
        with contextlib.suppress(ConnectionError):
            control.send(str(answer).encode())


def _import(names: Sequence[str]) -> None:
    """Import modules; one that opens a file or starts a thread changes what a child is, and is refused."""
    new = [name for name in names if name not in sys.modules]
    before = _opened()
    for name in new:
        importlib.import_module(name)
    if _opened() != before:
        sys.exit("An import has opened a file or started a thread")
    if new:
        gc.freeze()  # a collection would write to what is shared with the children, and copy it


def _opened() -> list[str]:
    tasks = Path("/proc/self/task")
    return [*os.listdir("/dev/fd"), *(os.listdir(tasks) if tasks.is_dir() else [])]  # noqa: PTH208 - one that is closed again


def _take(request: Mapping[str, Any], descriptors: Sequence[int]) -> Sequence[str]:
    """Take over streams, folder and variables, and return the words of the command line."""
    # A descriptor may have the number of a stream that is closed, and shall stay so.
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STREAMS) for each in descriptors]
    for each in descriptors:
        os.close(each)
    for number, handle in zip(request["streams"], moved[: len(request["streams"])], strict=True):
        os.dup2(handle, number)
        os.close(handle)
    if request["terminal"]:
        os.login_tty(moved[0])
    os.environ.update(request["environment"])
    if request["folder"]:
        os.chdir(request["folder"])
    if request["first"] and os.system(request["first"]):
        sys.exit(99)
    words: list[str] = request["words"]
    return words


def _run(words: Sequence[str]) -> None:
    """Do what `python` with these words does."""
    sys.orig_argv[1:] = words
    if words[0] == "-m":
        with contextlib.suppress(OSError):  # a folder that was deleted
            sys.path.insert(0, str(Path.cwd()))
        sys.argv = [words[1], *words[2:]]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        sys.argv = [*words]
        runpy.run_path(words[0], run_name="__main__")


def _end(code: int) -> NoReturn:
    """End as Python does, except that it does not take apart what it has imported: half of a command's time.

    What this and the flush of the streams report is printed, as Python prints it.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream and not stream.closed:
                stream.flush()
        except (OSError, ValueError) as error:
            code = 120
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(f"Exception ignored in: {stream!r}\n{type(error).__name__}: {error}\n")
                sys.stderr.flush()
    os._exit(code)


def _exit_code(ended: SystemExit) -> int:
    """The exit code that Python gives for this, which may print a text first."""
    if ended.code is None or isinstance(ended.code, int):
        return (ended.code or 0) & 0xFF
    sys.stderr.write(f"{ended.code}\n")
    return 1


if __name__ == "__main__":
    del sys.path[0]  # this file's folder
    request, descriptors = _serve(socket.socket(fileno=int(sys.argv[1])))
    words = _take(request, descriptors)
    if request["finalize"]:
        _run(words)
    else:
        code = 0
        try:
            _run(words)
        except SystemExit as ended:
            code = _exit_code(ended)
        _end(code)  # not above, where the error still refers to what the program has left
