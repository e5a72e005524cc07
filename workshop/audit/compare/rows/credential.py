"""The credential for GitHub: how it is got, where it is kept, and whether it is the client's token."""

from collections.abc import Sequence

from workshop.agent.loop import one_line
from workshop.audit.compare import upstream
from workshop.audit.compare.evidence import (
    Asked,
    Cell,
    Evidence,
    NotSeenError,
    Searched,
    Unseen,
    Witnessed,
    bad,
    good,
    seen,
)

_SHOWN = 120
_NOWHERE = "There is no GitHub behind it."
_LEFT_OUT = "the secrets that were there before were not searched"


def got(evidence: Evidence) -> Cell:
    """Where the credential comes from that GitHub saw while the tools ran."""
    if evidence.github is None:
        return Cell("none", f"{_NOWHERE} The tools answer from the server itself.")
    witnessed, asked = seen(evidence.witnessed), _run(evidence)
    calls = upstream.calls_of_tools(witnessed.first, asked)
    used = upstream.credentials(calls)
    if not used:
        return Cell("none", f"GitHub saw {len(calls)} calls with a credential while the tools ran.")
    who = f"{len(calls)} calls as {', '.join(upstream.users(calls)) or 'nobody it knows'}"
    header = _header(evidence, used)
    if header:
        return Cell(f"the user's, in {header}", f"GitHub saw {who}, with what the agent sends in `{header}`.")
    exchanged, login = upstream.exchanges(witnessed.first), asked.first("TokenReceived")
    if not exchanged:
        return Cell("the server's own", f"GitHub saw {who}, with a credential that was there before.")
    if login is not None and upstream.moment(exchanged[0]) <= login:
        return Cell(
            "OAuth, within the login",
            f"GitHub exchanged a code before the client had its token; then it saw {who}.",
        )
    visit = asked.first("VisitRequested") is not None
    how = "URL elicitation" if visit else "OAuth, after the login"
    told = ", once a tool call had sent the person to a page" if visit else ""
    return Cell(how, f"GitHub exchanged a code after the client had its token{told}; then it saw {who}.")


def kept(evidence: Evidence) -> Cell:
    """Where the credential is, and whether it can be read there: files searched, the server restarted."""
    if evidence.github is None:
        return Cell("nowhere", _NOWHERE)
    witnessed, asked, searched = seen(evidence.witnessed), _run(evidence), seen(evidence.searched)
    used = upstream.credentials(upstream.calls_of_tools(witnessed.first, asked))
    if not used:
        return Cell("nowhere", "GitHub saw no credential.")
    if searched.upstream:
        return bad(f"in clear, in {_names(searched.upstream)}", _told(searched))
    if header := _header(evidence, used):
        return _brought(evidence, searched, header)
    return _restarted(evidence, witnessed, searched, used)


def reaches(evidence: Evidence) -> Cell:
    """Whether a token of the client's was in anything that GitHub received (token passthrough)."""
    if evidence.github is None:
        return Cell("no upstream", _NOWHERE)
    witnessed = seen(evidence.witnessed)
    if witnessed.carried:
        paths = ", ".join(dict.fromkeys(witnessed.carried))
        return bad(
            "yes", f"{len(witnessed.carried)} requests to GitHub had the client's token in them: {paths}."
        )
    if not witnessed.tokens:
        raise NotSeenError("the client got no token that could be looked for")
    return good(
        "no",
        f"None of {witnessed.total} requests to GitHub had one of the client's {witnessed.tokens} tokens.",
    )


def _run(evidence: Evidence) -> Asked:
    """The agent's first run; where it failed, what GitHub did not see tells nothing."""
    asked = seen(evidence.asked)
    if asked.failure:
        raise NotSeenError(f"the agent did not get so far: {asked.failure}")
    return asked


def _header(evidence: Evidence, used: list[str]) -> str:
    return next((name for name, digest in evidence.sent.headers.items() if digest in used), "")


def _brought(evidence: Evidence, searched: Searched, header: str) -> Cell:
    bare = evidence.sent.bare
    if bare is None or isinstance(bare, Unseen):
        why = bare.why if isinstance(bare, Unseen) else "nobody tried without it"
        return Cell("not in clear", f"{_told(searched)} More cannot be told: {why}.")
    if not bare.lacks(evidence.facts):
        return Cell(
            "kept, not in clear", f"{_told(searched)} Without `{header}` the question was answered too."
        )
    return good("not kept", f"{_told(searched)} Without `{header}` the next question failed: {_end(bare)}.")


def _restarted(evidence: Evidence, witnessed: Witnessed, searched: Searched, used: list[str]) -> Cell:
    again = evidence.again
    if isinstance(again, Unseen):
        return Cell("not in clear", f"{_told(searched)} More cannot be told: {again.why}.")
    if again.lacks(evidence.facts):
        return Cell("in memory", f"{_told(searched)} After a restart it was lost: {_end(again)}.")
    if upstream.exchanges(witnessed.after):
        return Cell("got anew each time", f"{_told(searched)} After a restart another code was exchanged.")
    same = set(upstream.credentials(upstream.calls(witnessed.after))) & set(used)
    if not same:
        return Cell("not in clear", f"{_told(searched)} After a restart GitHub saw another credential.")
    told = "After a restart GitHub saw the same credential again, and nobody was at a browser"
    return good("on disk, not in clear", f"{_told(searched)} {told}.")


def _told(searched: Searched) -> str:
    where = ", ".join(searched.upstream)
    found = f"It stands in clear in {where}, of" if where else "It stands in clear in none of"
    client = f"; the client's token does in {', '.join(searched.client)}" if searched.client else ""
    return f"{found} {searched.files} files of the room{client} ({_LEFT_OUT})."


def _names(paths: Sequence[str]) -> str:
    """The files without their folders, stores before logs; a store's write-ahead log is the store."""
    names = list(dict.fromkeys(path.rpartition("/")[2].removesuffix("-wal") for path in paths))
    return " and ".join(sorted(names, key=lambda name: name.endswith(".txt")))


def _end(again: Asked) -> str:
    return again.failure or f"the answer was {one_line(again.answer, _SHOWN)!r}"
