"""The logs of workloads, as files here or from containers in a cluster: the last lines, then new ones."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from workshop.lab.kube.client import Kube

_ALL = 10_000  # lines: more than a container writes between two looks


class Log(Protocol):
    """One log: its `name` is unique, and `workload` is the workload that it belongs to."""

    @property
    def name(self) -> str: ...

    @property
    def workload(self) -> str: ...

    def last(self, lines: int) -> Sequence[str]:
        """The last lines; `new` continues after them."""

    def new(self) -> Sequence[str]:
        """The lines that were written since the last call; at first, all of them."""


@dataclass
class FileLog:
    """A file that may grow, be truncated, be replaced or be absent.

    At most `most` bytes are read at a time, and from the end in blocks of `block`.
    """

    name: str
    workload: str
    path: Path
    most: int = 1024 * 1024
    block: int = 64 * 1024
    _file: tuple[int, int] | None = field(default=None, init=False)
    _position: int = field(default=0, init=False)
    _unfinished: bytes = field(default=b"", init=False)

    def last(self, lines: int) -> Sequence[str]:
        """The last lines, including one that is still being written."""
        try:
            with self.path.open("rb") as log:
                self._file = _identity(log)
                text = self._tail(log, lines)
                self._position = log.tell()
        except OSError:
            return ()
        return _decoded(text.removesuffix(b"\n").split(b"\n")[-lines:] if text and lines else ())

    def new(self) -> Sequence[str]:
        """The lines that were finished since; of a file that was truncated or replaced, from its start."""
        try:
            with self.path.open("rb") as log:
                identity, size = _identity(log), os.fstat(log.fileno()).st_size
                if identity != self._file or size < self._position:
                    self._file, self._position, self._unfinished = identity, 0, b""
                log.seek(self._position)
                text = self._unfinished + log.read(self.most)
                self._position = log.tell()
        except OSError:
            self._file = None  # its successor is a new file, even with the same inode number
            return ()
        *whole, self._unfinished = text.split(b"\n")
        if len(self._unfinished) > self.most:
            whole, self._unfinished = [*whole, self._unfinished], b""
        return _decoded(whole)

    def _tail(self, log: BinaryIO, lines: int) -> bytes:
        """At least the last `lines` lines of a file, read from its end; it is left there."""
        end = log.seek(0, os.SEEK_END)
        start, found = end, b""
        while start > 0 and found.count(b"\n") <= lines and len(found) < self.most:
            size = min(self.block, start)
            start = log.seek(start - size)
            found = log.read(size) + found
        log.seek(end)
        return found


@dataclass
class ContainerLog:
    """The log of a container in a cluster, read repeatedly; timestamps show which lines are new."""

    name: str
    workload: str
    kube: "Kube"
    namespace: str
    pod: str
    container: str
    _newest: str = field(default="", init=False)

    def last(self, lines: int) -> Sequence[str]:
        """The last lines; if the container has not written any since its restart, those from before it."""
        found = self._read(max(lines, 1))  # at least one, whose timestamp shows what is new
        if not lines:
            return ()
        return found or self.kube.logs(self.pod, self.namespace, self.container, lines, previous=True)

    def new(self) -> Sequence[str]:
        """The lines after the last one that was returned."""
        return self._read(_ALL)

    def _read(self, lines: int) -> Sequence[str]:
        stamped = self.kube.logs(
            self.pod, self.namespace, self.container, lines, timestamps=True, since=self._newest
        )
        pairs = [line.partition(" ") for line in stamped]
        fresh = [(stamp, text) for stamp, _, text in pairs if stamp[:1].isdigit() and stamp > self._newest]
        self._newest = max([self._newest, *(stamp for stamp, _ in fresh)])
        return [text for _, text in fresh]


def file_logs(directory: Path, prefix: str = "") -> list[FileLog]:
    """The logs below a folder with one folder for each workload, including workloads that no longer run."""
    return [
        FileLog(prefix + path.parent.name, path.parent.name.removesuffix("-0"), path)
        for path in sorted(directory.glob("*/log.txt"))
    ]


def _identity(log: BinaryIO) -> tuple[int, int]:
    found = os.fstat(log.fileno())
    return found.st_dev, found.st_ino


def _decoded(lines: Sequence[bytes]) -> list[str]:
    return [line.rstrip(b"\r").decode("utf-8", "replace") for line in lines]
