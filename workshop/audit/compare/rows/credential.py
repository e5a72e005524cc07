"""The credential for GitHub: how it is obtained, where it is stored, and whether it is the client's token."""

from collections.abc import Sequence

from workshop.audit.compare import upstream
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

_SHOWN = 120
_NOWHERE = "There is no GitHub behind this system."
_LEFT_OUT = "the secrets created beforehand were not searched"


def obtained(evidence: Evidence) -> Cell:
    """The source of the credential that GitHub received while the tools ran."""
    if evidence.github is None:
        return Cell("none", f"{_NOWHERE} The server's own tools answer.")
    github_record, asked = observed(evidence.github_record), _run(evidence)
    calls = upstream.calls_of_tools(github_record.first, asked)
    used = upstream.credentials(calls)
    if not used:
        return Cell("none", f"GitHub received {len(calls)} calls with a credential while the tools ran.")
    who = f"{len(calls)} calls as {', '.join(upstream.users(calls)) or 'an unknown user'}"
    header = _header(evidence, used)
    if header:
        sentence = f"GitHub received {who}, with the agent's value of `{header}`."
        return Cell(f"the user's, in {header}", sentence)
    exchanged, login = upstream.exchanges(github_record.first), asked.first("TokenReceived")
    if not exchanged:
        return Cell("the server's own", f"GitHub received {who}, with a credential that already existed.")
    if login is not None and upstream.moment(exchanged[0]) <= login:
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
    used = upstream.credentials(upstream.calls_of_tools(github_record.first, asked))
    if not used:
        return Cell("nowhere", "GitHub received no credential.")
    if searched.upstream:
        return bad(f"plaintext in {_names(searched.upstream)}", _files(searched))
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
        return Cell("no plaintext", f"{_files(searched)} Nothing more could be observed: {why}.")
    if not bare.lacks(evidence.facts):
        return Cell(
            "stored, no plaintext",
            f"{_files(searched)} Without `{header}`, the question was answered too.",
        )
    return good(
        "not stored", f"{_files(searched)} Without `{header}`, the next question failed: {_end(bare)}."
    )


def _restarted(evidence: Evidence, github_record: GitHubRecord, searched: Searched, used: list[str]) -> Cell:
    again = evidence.again
    if isinstance(again, Unobserved):
        return Cell("no plaintext", f"{_files(searched)} Nothing more could be observed: {again.why}.")
    if again.lacks(evidence.facts):
        return Cell("in memory", f"{_files(searched)} After a restart, it was lost: {_end(again)}.")
    if upstream.exchanges(github_record.after):
        return Cell(
            "obtained anew each time", f"{_files(searched)} After a restart, another code was exchanged."
        )
    same = set(upstream.credentials(upstream.calls(github_record.after))) & set(used)
    if not same:
        return Cell(
            "no plaintext", f"{_files(searched)} After a restart, GitHub received another credential."
        )
    sentence = "After a restart, GitHub received the same credential, and nobody was at a browser"
    return good("on disk, no plaintext", f"{_files(searched)} {sentence}.")


def _files(searched: Searched) -> str:
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
