"""Find credentials for GitHub in the practice GitHub's record and in a system's files."""

import base64
import contextlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from workshop.audit.compare.evidence import Asked, Searched
from workshop.servers.practice.client import RecordedRequest, fingerprint

_OAUTH = "/login/"
_EXCHANGE = "/login/oauth/access_token"
_OK = 200
_MOST_BYTES = 32 * 1024 * 1024
# The shape of a practice token is needed because SQLite writes columns without a separator.
_SHAPE = re.compile(rb"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_RUN = re.compile(rb"[A-Za-z0-9._~+/=-]{16,4096}")


def moment(request: RecordedRequest) -> float:
    """The time of a request, in seconds since the epoch."""
    return datetime.fromisoformat(request.time).timestamp()


def exchanges(requests: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """The requests that exchanged a code for one of GitHub's tokens."""
    return [
        each for each in requests if each.path == _EXCHANGE and "code" in each.form and each.status == _OK
    ]


def calls(requests: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """The requests to GitHub's API or MCP server that had a credential and succeeded."""
    return [
        each
        for each in requests
        if not each.path.startswith(_OAUTH) and each.authorization and (each.status or 0) < 400  # noqa: PLR2004
    ]


def calls_of_tools(requests: Sequence[RecordedRequest], asked: Asked) -> list[RecordedRequest]:
    """The calls that arrived after the agent's first tool call; a server's own requests come before it."""
    began = asked.first("ToolCalled")
    # The record's times are cut to milliseconds.
    return [each for each in calls(requests) if began is not None and moment(each) >= began - 0.001]


def credentials(requests: Sequence[RecordedRequest]) -> list[str]:
    """The SHA-256 of each credential in these requests, without repetition."""
    found = (str((each.authorization or {}).get("sha256", "")) for each in requests)
    return list(dict.fromkeys(one for one in found if one))


def users(requests: Sequence[RecordedRequest]) -> list[str]:
    """The users to whom the credentials belong, without repetition."""
    found = ((each.authorization or {}).get("user") for each in requests)
    return list(dict.fromkeys(str(one) for one in found if one))


def carrying(requests: Sequence[RecordedRequest], tokens: Collection[str]) -> list[str]:
    """The paths of the requests with one of these tokens in a header, the query or the form."""
    marks = {mark for token in tokens for mark in (token, fingerprint(token))}
    return [each.path for each in requests if any(mark in json.dumps(asdict(each)) for mark in marks)]


def search(directory: Path, secrets: Path, upstream: Collection[str], client: Collection[str]) -> Searched:
    """Search all files below `directory` except `secrets`, which were created before the first login.

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
    """Everything that may be a credential, also if it is encoded in base64 or hexadecimal digits."""
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
