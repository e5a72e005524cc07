"""The logs of what runs, as files here or as containers in a cluster: their last lines, then what is new."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from workshop.lab.kube.client import Kube

_BLOCK = 64 * 1024
_MOST = 1024 * 1024
_ALL = 10_000


class Log(Protocol):
    """One log; `name` is unique, and `workload` is what it is about."""

    @property
    def name(self) -> str: ...

    @property
    def workload(self) -> str: ...

    def last(self, lines: int) -> Sequence[str]:
        """The last lines there are; `new` goes on behind them."""

    def new(self) -> Sequence[str]:
        """What has been written since; all of it at first."""


@dataclass
class FileLog:
    """A file that may grow, be cut, be replaced by another, or not be there."""

    name: str
    workload: str
    path: Path
    _file: tuple[int, int] | None = field(default=None, init=False)
    _position: int = field(default=0, init=False)
    _unfinished: bytes = field(default=b"", init=False)

    def last(self, lines: int) -> Sequence[str]:
        """The last lines, with one that is still being written."""
        try:
            with self.path.open("rb") as log:
                self._file = _identity(log)
                text = _tail(log, lines)
                self._position = log.tell()
        except OSError:
            return ()
        return _decoded(text.removesuffix(b"\n").split(b"\n")[-lines:] if text and lines else ())

    def new(self) -> Sequence[str]:
        """The lines that were finished since; from the start in a file that was cut or replaced."""
        try:
            with self.path.open("rb") as log:
                identity, size = _identity(log), os.fstat(log.fileno()).st_size
                if identity != self._file or size < self._position:
                    self._file, self._position, self._unfinished = identity, 0, b""
                log.seek(self._position)
                text = self._unfinished + log.read(_MOST)
                self._position = log.tell()
        except OSError:
            self._file = None  # what comes in its place is another, even with the same number
            return ()
        *whole, self._unfinished = text.split(b"\n")
        if len(self._unfinished) > _MOST:
            whole, self._unfinished = [*whole, self._unfinished], b""
        return _decoded(whole)


@dataclass
class ContainerLog:
    """What a container in a cluster writes, asked for again and again; a time tells what is new."""

    name: str
    workload: str
    kube: "Kube"
    namespace: str
    pod: str
    container: str
    _seen: str = field(default="", init=False)

    def last(self, lines: int) -> Sequence[str]:
        """The last lines, of the run before this one where this one wrote nothing."""
        found = self._read(max(lines, 1))  # one at least, to know what is new
        if not lines:
            return ()
        return found or self.kube.logs(self.pod, self.namespace, self.container, lines, previous=True)

    def new(self) -> Sequence[str]:
        """What was written after the last line seen."""
        return self._read(_ALL)

    def _read(self, lines: int) -> Sequence[str]:
        stamped = self.kube.logs(
            self.pod, self.namespace, self.container, lines, timestamps=True, since=self._seen
        )
        pairs = [line.partition(" ") for line in stamped]
        fresh = [(stamp, text) for stamp, _, text in pairs if stamp[:1].isdigit() and stamp > self._seen]
        self._seen = max([self._seen, *(stamp for stamp, _ in fresh)])
        return [text for _, text in fresh]


def file_logs(directory: Path, prefix: str = "") -> list[FileLog]:
    """The logs under a folder with one folder a workload, also of those that are not running any more."""
    return [
        FileLog(prefix + path.parent.name, path.parent.name.removesuffix("-0"), path)
        for path in sorted(directory.glob("*/log.txt"))
    ]


def _identity(log: BinaryIO) -> tuple[int, int]:
    found = os.fstat(log.fileno())
    return found.st_dev, found.st_ino


def _tail(log: BinaryIO, lines: int) -> bytes:
    """At least the last `lines` lines of a file, read from its end; it is left there."""
    end = log.seek(0, os.SEEK_END)
    start, found = end, b""
    while start > 0 and found.count(b"\n") <= lines and len(found) < _MOST:
        size = min(_BLOCK, start)
        start = log.seek(start - size)
        found = log.read(size) + found
    log.seek(end)
    return found


def _decoded(lines: Sequence[bytes]) -> list[str]:
    return [line.rstrip(b"\r").decode("utf-8", "replace") for line in lines]
