"""Runs external programs: argument lists, each with a deadline, none left behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workshop.errors import DeadlineError, PreflightError, WorkshopError
from workshop.tools.known import known_hint
from workshop.tools.shown import copyable, masked, telling

__all__ = ["Done", "Runner", "copyable"]

_GRACE_SECONDS = 5.0
_DRAIN_SECONDS = 2.0
_POLL_SECONDS = 0.05
_INSTALL = {
    "docker": "Install Docker: https://docs.docker.com/get-docker/",
    "kind": "Install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "helm": "Install Helm: https://helm.sh/docs/intro/install/",
    "kubectl": "Install kubectl: https://kubernetes.io/docs/tasks/tools/",
}


@dataclass(frozen=True)
class Done:
    """A program that ended: what ran, its exit code and what it wrote."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return f"{self.stdout}\n{self.stderr}"


class Runner:
    """Runs programs for all tools; `echo` gets each command in copyable form, `stream` its output's lines."""

    def __init__(
        self,
        echo: Callable[[str], None] | None = None,
        stream: Callable[[str], None] | None = None,
        hide: Sequence[str] = (),
    ) -> None:
        self._echo = echo
        self._stream = stream
        self._hide = tuple(hide)
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        env: Mapping[str, str | None] | None = None,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        check: bool = True,
    ) -> Done:
        """Run a program to its end; `env` is added to ours, where None takes a variable away."""
        if self._echo:
            self._echo(copyable(argv, env, self._hide))
        child = self._start(argv, env, cwd)
        try:
            in_time = child.finish(stdin, seconds)
        finally:
            child.end()  # the deadline, Ctrl-C, or children that outlived it
            with self._lock:
                self._children.discard(child)
        done = Done(tuple(argv), child.code, child.text(0), child.text(1))
        if not in_time:
            raise self._too_slow(done, seconds)
        if check and done.code:
            raise self.failure(done, env)
        return done

    def stop(self) -> None:
        """End every program under way and start no more: Ctrl-C reaches the main thread only."""
        with self._lock:
            self._stopped = True
            children = list(self._children)
        for child in children:
            child.end()

    def failure(self, done: Done, env: Mapping[str, str | None] | None = None) -> WorkshopError:
        """The error for a program that ended with a code we did not expect."""
        told = done.stderr if done.stderr.strip() else done.stdout
        return WorkshopError(
            f"`{masked(_named(done.argv), self._hide)}` failed (exit code {done.code})",
            why=telling(told, self._hide) or "It said nothing",
            hint=known_hint(told) or f"By hand: {copyable(done.argv, env, self._hide)}",
        )

    def _too_slow(self, done: Done, seconds: float) -> DeadlineError:
        told = done.stderr if done.stderr.strip() else done.stdout
        return DeadlineError(
            f"`{masked(_named(done.argv), self._hide)}` did not finish within {seconds:.0f} s and was ended",
            why=telling(told, self._hide) or "It said nothing",
            hint=known_hint(told),
        )

    def _start(self, argv: Sequence[str], env: Mapping[str, str | None] | None, cwd: Path | None) -> "_Child":
        environment = _environment(env or {})
        program = shutil.which(argv[0], path=environment.get("PATH"))
        if program is None:
            raise absent(argv[0])
        with self._lock:
            if self._stopped:
                raise WorkshopError(f"`{_named(argv)}` was not started: everything is being stopped")
            child = _Child([program, *argv[1:]], environment, cwd, self._stream)
            self._children.add(child)
        return child


class _Child:
    """A process in a session of its own, with readers that never let it block on a full pipe."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        stream: Callable[[str], None] | None,
    ) -> None:
        self._stream = stream
        self._process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the group can be ended whole, and a terminal's Ctrl-C is ours to handle
        )
        self._lines: tuple[list[str], list[str]] = ([], [])
        pipes = (self._process.stdout, self._process.stderr)
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True)
            for pipe, lines in zip(pipes, self._lines, strict=True)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def code(self) -> int:
        return self._process.returncode or 0

    def text(self, stream: int) -> str:
        return "".join(self._lines[stream])

    def finish(self, stdin: bytes | None, seconds: float) -> bool:
        """Feed it and wait for its end; False when the deadline came first."""
        threading.Thread(target=self._feed, args=(stdin or b"",), daemon=True).start()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """End what is left of its group: terminate, wait, kill."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        else:
            self._drain(_DRAIN_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._drain(_DRAIN_SECONDS)

    def _drain(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _feed(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError), pipe:
                pipe.write(data)

    def _read(self, pipe: IO[bytes] | None, lines: list[str]) -> None:
        if pipe is None:
            return
        with pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace")
                lines.append(line)
                if self._stream:
                    self._stream(line.rstrip("\n"))


def absent(program: str) -> PreflightError:
    """The error for a program that is not on the PATH."""
    return PreflightError(
        f"`{program}` is not installed",
        why="It is not on the PATH",
        hint=_INSTALL.get(program, f"Install `{program}`"),
    )


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _named(argv: Sequence[str]) -> str:
    """The program and its verbs, without flags and values: enough to know which command it was."""
    words = []
    for word in argv[1:]:
        if word.startswith("-"):
            break
        words.append(word)
    return " ".join([argv[0], *words[:2]])
