"""Runs external programs: argument lists, each with a deadline, none left behind."""

import os
import shlex
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.errors import DeadlineError, PreflightError, WorkshopError
from workshop.lab.tools.child import Child
from workshop.lab.tools.shown import copyable, masked, named, telling
from workshop.toolhive.known_messages import hint_for

__all__ = ["Done", "Runner", "absent", "copyable", "runner_for"]

_INSTALL = {
    "docker": "Install Docker: https://docs.docker.com/get-docker/",
    "kind": "Install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "helm": "Install Helm: https://helm.sh/docs/intro/install/",
    "kubectl": "Install kubectl: https://kubernetes.io/docs/tasks/tools/",
}

_STREAMED = 2
_AGAIN = "Run the same command again; with `-v` it shows each command it runs"

Environment = Mapping[str, str | None]  # added to our own; None takes a variable away


@dataclass(frozen=True)
class Done:
    """A program that ended: what ran, its exit code and what it wrote."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    said: str = ""  # both, in the order they came


class Runner:
    """Runs programs for all tools, from any thread.

    `echo` gets each command in copyable form, `stream` each line that one writes; the values of `hide` are
    masked in both, and in errors.
    """

    def __init__(
        self,
        echo: Callable[[str], None] | None = None,
        stream: Callable[[str], None] | None = None,
        hide: Sequence[str] = (),
    ) -> None:
        self._echo = echo
        self._stream = stream
        self._hide = tuple(hide)
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
        cwd: Path | None = None,
        check: bool = True,
        repeatable: bool = True,
    ) -> Done:
        """Run a program to its end; raises DeadlineError past `seconds`, and WorkshopError when it fails.

        `stdin` is its input, or the file that it reads as such. A command on files that we remove afterwards
        is not `repeatable` by hand.
        """
        if self._echo:
            read = f" < {shlex.quote(str(stdin))}" if isinstance(stdin, Path) else ""
            self._echo(copyable(argv, env, self._hide) + read)
        child = self._start(argv, env or {}, stdin, cwd)
        try:
            in_time = child.finished(seconds)
        finally:
            child.end()  # the deadline, Ctrl-C, or children of its own that outlived it
            with self._lock:
                self._children.discard(child)
        done = Done(tuple(argv), child.code, *child.output())
        if child.stopped:
            raise _stopped(argv)
        if not in_time:
            raise self._too_slow(done, seconds)
        if check and done.code:
            raise self.failure(done, env, repeatable=repeatable)
        return done

    def stop(self) -> None:
        """End every program under way and start no more: Ctrl-C reaches the main thread only."""
        with self._lock:
            self._stopped = True
            children = list(self._children)
        for child in children:
            child.stop()
        for child in children:
            child.end()

    def resume(self) -> None:
        """Start programs again, to take back what was made."""
        with self._lock:
            self._stopped = False

    def failure(
        self, done: Done, env: Environment | None = None, *, what: str = "", repeatable: bool = True
    ) -> WorkshopError:
        """The error for a program that ended with a code we did not expect; `what` is what it was to do."""
        by_hand = f"By hand: {copyable(done.argv, env, self._hide)}"
        return WorkshopError(
            what or f"`{masked(named(done.argv), self._hide)}` failed (exit code {done.code})",
            why=telling(done.said, self._hide) or "It said nothing",
            hint=hint_for(done.argv[0], done.said) or (by_hand if repeatable else _AGAIN),
        )

    def _too_slow(self, done: Done, seconds: float) -> DeadlineError:
        return DeadlineError(
            f"`{masked(named(done.argv), self._hide)}` did not finish within {seconds:.0f} s and was ended",
            why=telling(done.said, self._hide) or "It said nothing",
            hint=hint_for(done.argv[0], done.said),
        )

    def _start(
        self, argv: Sequence[str], changes: Environment, stdin: bytes | Path | None, cwd: Path | None
    ) -> Child:
        merged = {**os.environ, **changes}
        env = {name: value for name, value in merged.items() if value is not None}
        program = shutil.which(argv[0], path=env.get("PATH"))
        if program is None:
            raise absent(argv[0])
        with self._lock:
            if self._stopped:
                raise _stopped(argv)
            child = Child([program, *argv[1:]], env=env, cwd=cwd, stdin=stdin, tell=self._tell)
            self._children.add(child)
        return child

    def _tell(self, line: str) -> None:
        if self._stream:
            self._stream(masked(line, self._hide))


def absent(program: str) -> PreflightError:
    """The error for a program that is not on the PATH."""
    return PreflightError(
        f"`{program}` is not installed",
        why="It is not on the PATH",
        hint=_INSTALL.get(program, f"Install `{program}`"),
    )


def _stopped(argv: Sequence[str]) -> WorkshopError:
    return WorkshopError(f"`{named(argv)}` was stopped", why="The command it belongs to is ending")


def runner_for(progress: Progress) -> Runner:
    """A runner that shows commands in `progress` at verbosity 1 (`-v`), and their output at 2 (`-vv`)."""

    def echo(command: str) -> None:
        progress.say(f"$ {command}")

    return Runner(
        echo=echo if progress.verbosity >= 1 else None,
        stream=progress.say if progress.verbosity >= _STREAMED else None,
    )
