"""Is a credential written down so that it can be read? Search a system's files, knowing only its SHA-256."""

import base64
import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from workshop.audit.compare.evidence import Searched
from workshop.servers.practice.client import fingerprint

_MOST_BYTES = 32 * 1024 * 1024
# By the shape of a practice token: SQLite writes columns with nothing between them.
_SHAPE = re.compile(rb"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_RUN = re.compile(rb"[A-Za-z0-9._~+/=-]{16,4096}")


def search(directory: Path, secrets: Path, upstream: Collection[str], client: Collection[str]) -> Searched:
    """Search all files below `directory` but those of `secrets`, which were made before anybody logged in.

    `upstream` are SHA-256 digests, `client` are tokens.
    """
    searched, found, client_found, credential = 0, list[str](), list[str](), ""
    for path in _files(directory, secrets):
        data = _read(path)
        if data is None:
            continue
        searched += 1
        name = path.relative_to(directory).as_posix()
        if match := _matching(data, upstream):
            found.append(name)
            credential = match
        if any(token.encode() in data for token in client if token):
            client_found.append(name)
    return Searched(searched, found, client_found, credential)


def _files(directory: Path, secrets: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink() and secrets not in path.parents:
            yield path


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return None


def _matching(data: bytes, digests: Collection[str]) -> str:
    for candidate in _candidates(data):
        if fingerprint(candidate.decode("ascii", "replace")) in digests:
            return candidate.decode()
    return ""


def _candidates(data: bytes) -> Iterator[bytes]:
    """What may be a credential, also where it is only spelled in base64 or hexadecimal digits."""
    yield from _SHAPE.findall(data)
    for run in _RUN.findall(data):
        yield run
        for plain in _decoded(run):
            yield from _SHAPE.findall(plain)


def _decoded(run: bytes) -> Iterator[bytes]:
    with contextlib.suppress(ValueError):
        yield base64.urlsafe_b64decode(run.rstrip(b"=").translate(_URL_SAFE) + b"==")
    with contextlib.suppress(ValueError):
        yield bytes.fromhex(run.decode())
