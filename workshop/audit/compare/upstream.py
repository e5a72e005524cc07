"""The credential for GitHub: found in the practice GitHub's record and in a system's files, and its rows.

The rows show how it is obtained, where it is stored, and whether it is the client's token.
"""

import base64
import contextlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from workshop.audit.compare.evidence import (
    Asked,
    Cell,
    Evidence,
    GitHubRecord,
    NotObservedError,
    Searched,
    Unobserved,
    bad,
    good,
    observed,
)
from workshop.core.text import one_line
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
    # The record has the fingerprint of a credential, and everything else as it came.
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
        # A link may lead out of the directory, or to a file that is searched anyway.
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
        # Padding may be missing; two signs are always enough, and more are ignored.
        yield base64.urlsafe_b64decode(run.rstrip(b"=").translate(_URL_SAFE) + b"==")
    with contextlib.suppress(ValueError):
        yield bytes.fromhex(run.decode())


_SHOWN = 120
_NOWHERE = "There is no GitHub behind this system."
_LEFT_OUT = "the secrets created beforehand were not searched"


def obtained(evidence: Evidence) -> Cell:
    """The source of the credential that GitHub received while the tools ran."""
    if evidence.github is None:
        return Cell("none", f"{_NOWHERE} The server's own tools answer.")
    github_record, asked = observed(evidence.github_record), _run(evidence)
    sent = calls_of_tools(github_record.first, asked)
    used = credentials(sent)
    if not used:
        return Cell("none", f"GitHub received {len(sent)} calls with a credential while the tools ran.")
    who = f"{len(sent)} calls as {', '.join(users(sent)) or 'an unknown user'}"
    header = _header(evidence, used)
    if header:
        sentence = f"GitHub received {who}, with the agent's value of `{header}`."
        return Cell(f"the user's, in {header}", sentence)
    exchanged, login = exchanges(github_record.first), asked.first("TokenReceived")
    if not exchanged:
        return Cell("the server's own", f"GitHub received {who}, with a credential that already existed.")
    if login is not None and moment(exchanged[0]) <= login:
        return Cell(
            "OAuth, within the login",
            f"GitHub exchanged a code before the client had its token; then it received {who}.",
        )
    elicited = asked.first("PageRequested") is not None
    how = "URL elicitation" if elicited else "OAuth, after the login"
    when = "after the client had its token"
    when += ", once a tool call had sent the person to a page" if elicited else ""
    return Cell(how, f"GitHub exchanged a code {when}; then it received {who}.")


def stored(evidence: Evidence) -> Cell:
    """Where the credential is stored, and whether the files contain it as plaintext."""
    if evidence.github is None:
        return Cell("nowhere", _NOWHERE)
    github_record, asked, searched = (
        observed(evidence.github_record),
        _run(evidence),
        observed(evidence.searched),
    )
    used = credentials(calls_of_tools(github_record.first, asked))
    if not used:
        return Cell("nowhere", "GitHub received no credential.")
    if searched.upstream:
        return bad(f"plaintext in {_names(searched.upstream)}", _plaintext(searched))
    if header := _header(evidence, used):
        return _brought(evidence, searched, header)
    return _restarted(evidence, github_record, searched, used)


def reaches(evidence: Evidence) -> Cell:
    """Whether GitHub received a token of the client (token passthrough)."""
    if evidence.github is None:
        return Cell("no upstream", _NOWHERE)
    github_record = observed(evidence.github_record)
    if github_record.carried:
        paths = ", ".join(dict.fromkeys(github_record.carried))
        return bad(
            "yes", f"{len(github_record.carried)} requests to GitHub contained the client's token: {paths}."
        )
    if not github_record.tokens:
        raise NotObservedError("the client has no token to search for")
    return good(
        "no",
        f"None of {github_record.total} requests to GitHub contained any of the client's "
        f"{github_record.tokens} tokens.",
    )


def _run(evidence: Evidence) -> Asked:
    """The agent's first run; if it failed, GitHub's record does not prove anything."""
    asked = observed(evidence.asked)
    if asked.failure:
        raise NotObservedError(f"the agent's run failed: {asked.failure}")
    return asked


def _header(evidence: Evidence, used: list[str]) -> str:
    return next((name for name, digest in evidence.sent.headers.items() if digest in used), "")


def _brought(evidence: Evidence, searched: Searched, header: str) -> Cell:
    bare = evidence.sent.bare
    if bare is None or isinstance(bare, Unobserved):
        why = bare.why if isinstance(bare, Unobserved) else "no run without it"
        return Cell("no plaintext", f"{_plaintext(searched)} Nothing more could be observed: {why}.")
    if not bare.lacks(evidence.facts):
        return Cell(
            "stored, no plaintext",
            f"{_plaintext(searched)} Without `{header}`, the question was answered too.",
        )
    return good(
        "not stored", f"{_plaintext(searched)} Without `{header}`, the next question failed: {_end(bare)}."
    )


def _restarted(evidence: Evidence, github_record: GitHubRecord, searched: Searched, used: list[str]) -> Cell:
    again = evidence.again
    if isinstance(again, Unobserved):
        return Cell("no plaintext", f"{_plaintext(searched)} Nothing more could be observed: {again.why}.")
    if again.lacks(evidence.facts):
        return Cell("in memory", f"{_plaintext(searched)} After a restart, it was lost: {_end(again)}.")
    if exchanges(github_record.after):
        return Cell(
            "obtained anew each time", f"{_plaintext(searched)} After a restart, another code was exchanged."
        )
    same = set(credentials(calls(github_record.after))) & set(used)
    if not same:
        return Cell(
            "no plaintext", f"{_plaintext(searched)} After a restart, GitHub received another credential."
        )
    sentence = "After a restart, GitHub received the same credential, and nobody was at a browser"
    return good("on disk, no plaintext", f"{_plaintext(searched)} {sentence}.")


def _plaintext(searched: Searched) -> str:
    """Which of the system's files contain a credential."""
    where = ", ".join(searched.upstream)
    found = f"Plaintext copy in {where}, of" if where else "No plaintext copy in any of the"
    client = f"; the client's token is in {', '.join(searched.client)}" if searched.client else ""
    return f"{found} {searched.files} files of the system{client} ({_LEFT_OUT})."


def _names(paths: Sequence[str]) -> str:
    """The files' names, stores before logs; a store's write-ahead log counts as the store."""
    names = list(dict.fromkeys(path.rpartition("/")[2].removesuffix("-wal") for path in paths))
    return " and ".join(sorted(names, key=lambda name: name.endswith(".txt")))


def _end(again: Asked) -> str:
    return again.failure or f"the answer was {one_line(again.answer, _SHOWN)!r}"
