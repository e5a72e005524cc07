"""A practice GitHub in a process of its own."""

import contextlib
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.environment import forked

IMPORTS = ("workshop.core.serving", "workshop.servers.practice.app")


class Process:
    """One practice GitHub in a process of its own."""

    def __init__(self, config: Path, *options: str, **variables: str) -> None:
        self.lines: list[str] = []
        words = ("-m", "workshop.servers.practice", "--config", str(config), *options)
        self._process = forked(*words, folder=config.parent, imports=IMPORTS, env=variables)

    def wait_until_it_serves(self, port: int) -> None:
        assert self._process.stderr
        while self.runs and "startup complete" not in "".join(self.lines):
            self.lines.append(self._process.stderr.readline())
        deadline = time.monotonic() + 60
        while self.runs and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
                return
        pytest.fail("".join(self.lines))

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait until it has ended; returns the exit code."""
        _, rest = self._process.communicate(timeout=60)
        self.lines += rest.splitlines(keepends=True)
        return self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None
