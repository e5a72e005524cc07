"""One external program under way: its output read, its whole process group ended when it must."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

_GRACE_SECONDS = 5.0
_DRAIN_SECONDS = 2.0


class Child:
    """A process in a session of its own, with readers that never let it block on a full pipe."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        stdin: bytes | Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self.stopped = False
        self._tell = tell
        with _opened(stdin) as given:
            self._process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # the group can be ended whole, and a Ctrl-C is ours to handle
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
        """What it wrote to stdout, to stderr, and to both as it came."""
        return "".join(self._stdout), "".join(self._stderr), "".join(self._both)

    def finished(self, seconds: float) -> bool:
        """Wait for its end; False when the deadline came first."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ask its group to end, without waiting."""
        self.stopped = True
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """End what is left of its group: terminate, wait, kill; nothing when all of it has ended."""
        if self._process.poll() is not None and self._drained():
            return
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._drained()

    def _drained(self) -> bool:
        """Whether all output is read; not so while a child of its own still holds the pipe."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        return not any(reader.is_alive() for reader in self._readers)

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
                self._both.append(line)
                self._tell(line.rstrip("\r\n"))


@contextlib.contextmanager
def _opened(stdin: bytes | Path | None) -> Iterator[int | IO[bytes]]:
    """What a process is given as its input: nothing, a pipe to feed, or a file."""
    if isinstance(stdin, Path):
        with stdin.open("rb") as file:
            yield file
    else:
        yield subprocess.DEVNULL if stdin is None else subprocess.PIPE


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread
