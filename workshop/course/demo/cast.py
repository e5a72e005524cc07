"""Recordings in asciicast v3: newline-delimited JSON, a header and then events with the time since the last.

Source: https://docs.asciinema.org/manual/asciicast/v3/
"""

import json
import time
from collections.abc import Callable
from typing import TextIO


class Recorder:
    """Writes what a terminal shows, with its times; the markers are the steps."""

    def __init__(
        self,
        file: TextIO,
        title: str,
        *,
        columns: int,
        rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock = clock
        self._begun = self._last = clock()
        header = {
            "version": 3,
            "term": {"cols": columns, "rows": rows, "type": "xterm-256color"},
            "timestamp": int(time.time()),
            "title": title,
        }
        self._file.write(json.dumps(header) + "\n")

    @property
    def seconds(self) -> float:
        """How long the recording is until its last event."""
        return self._last - self._begun

    def output(self, text: str) -> None:
        """Note what the terminal was given to show."""
        self._event("o", text)

    def marker(self, label: str) -> None:
        """Note where a step begins."""
        self._event("m", label)

    def end(self, code: int) -> None:
        """Note how it ended."""
        self._event("x", str(code))

    def _event(self, kind: str, data: str) -> None:
        now = self._clock()
        self._file.write(json.dumps([round(now - self._last, 3), kind, data], ensure_ascii=False) + "\n")
        self._last = now
