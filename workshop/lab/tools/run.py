"""Run external programs: from argument lists, each with a deadline, and without leaving one behind."""

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workshop.core.console import Progress
from workshop.core.errors import DeadlineError, PreflightError, WorkshopError
from workshop.core.text import shortened
from workshop.toolhive.known_messages import hint_for

INSTALL = {
    "docker": "Install Docker: https://docs.docker.com/get-docker/",
    "kind": "Install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "helm": "Install Helm: https://helm.sh/docs/intro/install/",
    "kubectl": "Install kubectl: https://kubernetes.io/docs/tasks/tools/",
}

_STREAMED = 2
_AGAIN = "Run the same command again; with `-v` it shows each command it runs"

Environment = Mapping[str, str | None]  # added to our own; None takes a variable away
_MASK = "***"
_LINES = 3
_WIDTH = 240
# A login without a colon counts, too: a proxy may take a token in the user's place. Only ssh's user is shown.
_LOGIN_IN_URL = re.compile(r"(?<=://)(?:[^/\s:@]+:[^/\s@]+|(?<!ssh://)[^/\s@]+)(?=@)")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_FAILURE = re.compile(r"^(error|fatal|failed)\b", re.IGNORECASE)
_STACK_FRAME = re.compile(r"^\S+\.(?:go|s):\d+( \+0x[0-9a-f]+)?$")  # the second line of a frame in Go
Version = tuple[int, int, int]

_NUMBER = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


class Child:
    """A process in a session of its own, with readers that never let it block on a full pipe."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes | Path | None,
        on_line: Callable[[str], None],
        grace_seconds: float,
        drain_seconds: float,
    ) -> None:
        self.stopped = False
        self._grace_seconds = grace_seconds
        self._drain_seconds = drain_seconds
        self._on_line = on_line
        with _opened(stdin) as given:
            self._process = subprocess.Popen(
                argv,
                env=env,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that the group can be ended together, and Ctrl-C reaches only us
            )
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._both: list[str] = []
        self._readers = [
            _thread(self._read, self._process.stdout, self._stdout),
            _thread(self._read, self._process.stderr, self._stderr),
        ]
        if isinstance(stdin, bytes):
            _thread(self._feed, stdin)

    @property
    def code(self) -> int:
        return self._process.returncode

    def output(self) -> tuple[str, str, str]:
        """What it wrote to stdout, to stderr, and to both in order."""
        return "".join(self._stdout), "".join(self._stderr), "".join(self._both)

    def finished(self, seconds: float) -> bool:
        """Wait for it to end; False if the deadline comes first."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ask its group to end, without waiting."""
        # Before the signal, so that `run` never reports the exit code of a program that was stopped.
        self.stopped = True
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """End what is left of its group: terminate, wait, kill."""
        if self._process.poll() is not None and self._drained():
            return
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._grace_seconds)
        # `finally`, because a second Ctrl-C during the wait must not leave the group running.
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._drained()

    def _drained(self) -> bool:
        """Whether all output is read; not while a child process still has the pipe open."""
        deadline = time.monotonic() + self._drain_seconds
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        return not any(reader.is_alive() for reader in self._readers)

    def _signal(self, number: signal.Signals) -> None:
        # macOS answers EPERM for a group in which only zombies are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _feed(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            # A program may end without reading its input.
            with contextlib.suppress(BrokenPipeError), pipe:
                pipe.write(data)

    def _read(self, pipe: IO[bytes] | None, lines: list[str]) -> None:
        if pipe is None:
            return
        with pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace")
                lines.append(line)
                self._both.append(line)
                self._on_line(line.rstrip("\r\n"))


@contextlib.contextmanager
def _opened(stdin: bytes | Path | None) -> Iterator[int | IO[bytes]]:
    """The input of a process: nothing, a pipe to write to, or a file."""
    if isinstance(stdin, Path):
        with stdin.open("rb") as file:
            yield file
    else:
        yield subprocess.DEVNULL if stdin is None else subprocess.PIPE


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True)
class Done:
    """A program that has ended: what ran, its exit code, and what it wrote."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    combined: str = ""  # both, in order


class Runner:
    """Runs programs for all tools, from any thread.

    `echo` gets each command in copyable form, `stream` each line that one writes; in both, and in errors, the
    login of a URL is masked. A program that has to end gets `grace_seconds` after SIGTERM; its output is read
    for `drain_seconds` after its end.
    """

    def __init__(
        self,
        echo: Callable[[str], None] | None = None,
        stream: Callable[[str], None] | None = None,
        *,
        grace_seconds: float = 5.0,
        drain_seconds: float = 2.0,
    ) -> None:
        self._echo = echo
        self._grace_seconds = grace_seconds
        self._drain_seconds = drain_seconds
        self._stream = stream
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        env: Environment | None = None,
        stdin: bytes | Path | None = None,
        check: bool = True,
        repeatable: bool = True,
    ) -> Done:
        """Run a program to its end; raises DeadlineError past `seconds`, and WorkshopError when it fails.

        `stdin` is its input, or the file that it reads as such. A command on files that we remove afterwards
        is not `repeatable` by hand.
        """
        if self._echo:
            read = f" < {shlex.quote(str(stdin))}" if isinstance(stdin, Path) else ""
            self._echo(copyable(argv, env) + read)
        child = self._start(argv, env or {}, stdin)
        try:
            in_time = child.finished(seconds)
        finally:
            child.end()  # after the deadline, Ctrl-C, or its own end with children still running
            with self._lock:
                self._children.discard(child)
        done = Done(tuple(argv), child.code, *child.output())
        if child.stopped:
            raise _was_stopped(argv)
        if not in_time:
            raise self._too_slow(done, seconds)
        if check and done.code:
            raise self.failure(done, env, repeatable=repeatable)
        return done

    def stop(self) -> None:
        """End every running program and start no others: Ctrl-C reaches only the main thread."""
        with self._lock:
            self._stopped = True
            children = list(self._children)
        # All are asked before one is awaited, so that they end in one grace period together.
        for child in children:
            child.stop()
        for child in children:
            child.end()

    def resume(self) -> None:
        """Allow programs again, to undo what was done."""
        with self._lock:
            self._stopped = False

    def failure(
        self, done: Done, env: Environment | None = None, *, what: str = "", repeatable: bool = True
    ) -> WorkshopError:
        """The error for a program that failed; `what` replaces the first line of the message."""
        by_hand = f"By hand: {copyable(done.argv, env)}"
        return WorkshopError(
            what or f"`{masked(named(done.argv))}` failed (exit code {done.code})",
            why=key_lines(done.combined) or "It wrote no output",
            hint=hint_for(done.argv[0], done.combined) or (by_hand if repeatable else _AGAIN),
        )

    def _too_slow(self, done: Done, seconds: float) -> DeadlineError:
        return DeadlineError(
            f"`{masked(named(done.argv))}` did not finish within {seconds:.0f} s and was ended",
            why=key_lines(done.combined) or "It wrote no output",
            hint=hint_for(done.argv[0], done.combined),
        )

    def _start(self, argv: Sequence[str], changes: Environment, stdin: bytes | Path | None) -> Child:
        merged = {**os.environ, **changes}
        env = {name: value for name, value in merged.items() if value is not None}
        program = shutil.which(argv[0], path=env.get("PATH"))
        if program is None:
            raise absent(argv[0])
        # The lock includes the start: otherwise `stop` could miss a program that starts meanwhile.
        with self._lock:
            if self._stopped:
                raise _was_stopped(argv)
            child = Child(
                [program, *argv[1:]],
                env=env,
                stdin=stdin,
                on_line=self._show,
                grace_seconds=self._grace_seconds,
                drain_seconds=self._drain_seconds,
            )
            self._children.add(child)
        return child

    def _show(self, line: str) -> None:
        if self._stream:
            self._stream(masked(line))


def absent(program: str) -> PreflightError:
    """The error for a program that is not on the PATH."""
    return PreflightError(
        f"`{program}` was not found on your PATH",
        hint=INSTALL.get(program, f"Install `{program}`"),
    )


def _was_stopped(argv: Sequence[str]) -> WorkshopError:
    return WorkshopError(f"`{named(argv)}` was stopped", why="The command that started it is ending")


def runner_for(progress: Progress) -> Runner:
    """A runner that shows commands in `progress` at verbosity 1 (`-v`), and their output at 2 (`-vv`)."""

    def echo(command: str) -> None:
        progress.say(f"$ {command}")

    return Runner(
        echo=echo if progress.verbosity >= 1 else None,
        stream=progress.say if progress.verbosity >= _STREAMED else None,
    )


def masked(text: str, hide: Sequence[str] = ()) -> str:
    """The text without the given values and without the login of any URL."""
    for secret in sorted(hide, key=len, reverse=True):
        text = text.replace(secret, _MASK) if secret else text
    return _LOGIN_IN_URL.sub(_MASK, text)


def copyable(
    argv: Sequence[str], env: Mapping[str, str | None] | None = None, hide: Sequence[str] = ()
) -> str:
    """One shell line that does the same, preceded by the environment that it needs."""
    unset = [name for name, value in (env or {}).items() if value is None]
    given = [_assigned(name, value, hide) for name, value in (env or {}).items() if value is not None]
    before = ["env", *(word for name in unset for word in ("-u", name))] if unset else []
    words = [shlex.quote(masked(word, hide)) for word in argv]
    return " ".join([*before, *given, *words])


def _assigned(name: str, value: str, hide: Sequence[str]) -> str:
    shown = _MASK if _SECRET_NAME.search(name) else masked(value, hide)
    return f"{name}={shlex.quote(shown)}"


def key_lines(output: str) -> str:
    """The most useful lines of a failed command's output: its error line, then its last ones."""
    lines = [line.strip() for line in _ESCAPES.sub("", masked(output)).splitlines()]
    lines = _without_stack([line for line in lines if line])
    errors = [index for index, line in enumerate(lines) if _FAILURE.match(line)]
    last = range(max(0, len(lines) - _LINES), len(lines))
    chosen = list(last)
    if errors and errors[0] not in last:
        chosen = [errors[0], *last[1:]]
    return "\n".join(shortened(lines[index], _WIDTH) for index in chosen)


def _without_stack(lines: Sequence[str]) -> list[str]:
    """The lines without Go's stack frames, each a function and a file: kubeadm ends every error with some."""
    frames = {index for index, line in enumerate(lines) if _STACK_FRAME.match(line)}
    frames |= {index - 1 for index in frames}
    return [line for index, line in enumerate(lines) if index not in frames]


def named(argv: Sequence[str]) -> str:
    """The program and its verbs, without flags and values: enough to recognise the command."""
    verbs = list(itertools.takewhile(lambda word: not word.startswith("-"), argv[1:]))
    return " ".join([argv[0], *verbs[:2]])


def parsed(text: str) -> Version | None:
    """The first version number in a text; None when there is none."""
    found = _NUMBER.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def spelled(version: Version) -> str:
    """A version as a person writes it."""
    return ".".join(str(number) for number in version)
