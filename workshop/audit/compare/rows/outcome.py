"""The other rows: tool names, clean-up, the probe's findings, and the agent's answer."""

from collections.abc import Iterable, Sequence

from workshop.audit.compare.client import is_let_in
from workshop.audit.compare.evidence import Cell, Cleaned, Evidence, Names, bad, good, observed
from workshop.audit.probe.model import Severity

_SHOWN = 4
_SEVERAL = 2
_OK = 200


def prefix(evidence: Evidence) -> Cell:
    """The prefix before the tools' names on the servers behind."""
    names = observed(evidence.names)
    listed = _some(names.listed)
    found = _prefixes(names)
    if found:
        sentence = ", ".join(f"`{name}` is {origin}" for name, origin in list(found.values())[:_SHOWN])
        others = [name for name in names.listed if not _origin(name, names)]
        shared = _shared(others)
        if shared:
            sentence += f"; the other {len(others)} begin with `{shared}`, and no server behind lists them"
        elif others:
            sentence += f"; {len(others)} others have no prefix"
        return Cell(", ".join([*sorted(found), *([shared] if shared else [])]), f"{sentence}.")
    if target := _shared(names.listed, "___"):
        return Cell(target, f"All {len(names.listed)} names begin with this prefix: {listed}.")
    if any(name in tools for tools in names.behind.values() for name in names.listed):
        return Cell("none", f"The names are the same as on the server behind: {listed}.")
    return Cell("none", f"No server behind has one of these names: {listed}.")


def cleanup(evidence: Evidence) -> Cell:
    """What remains on this machine and at GitHub after the system is removed."""
    found = observed(evidence.cleaned)
    left = _left(found)
    sentence = f"{_undone(found)} {_signed_out(found)} {_at_github(found)}".strip()
    if left:
        return bad("incomplete", f"Not removed: {', '.join(left)}. {sentence}")
    here = f"{len(found.steps)} steps undone" if found.steps else "complete"
    if found.credential_after == _OK:
        return Cell(f"{here}; GitHub's token is still valid", sentence)
    if found.approvals and not found.revoked:
        return Cell(f"{here}; GitHub's approval remains", sentence)
    return Cell(here, sentence)


def findings(evidence: Evidence) -> Cell:
    """What `workshop probe` finds, without a login."""
    report = observed(evidence.probe_result).report
    counts = [f"{number} {severity}" for severity in Severity if (number := report.count(severity))]
    if not counts:
        return good("none", f"{len(report.passed)} checks passed, {len(report.undecided)} undecided.")
    worst = "; ".join(f"{item.id} {item.title}: {item.seen}" for item in report.findings[:_SHOWN])
    cell = bad if report.failed else Cell
    return cell(", ".join(counts), f"{worst}.")


def answered(evidence: Evidence) -> Cell:
    """Whether the part's agent, unchanged, answered the part's question."""
    asked = observed(evidence.asked)
    if asked.failure:
        return bad("no", f"{asked.failure}.")
    if lacking := asked.lacks(evidence.facts):
        return bad("no", f"The answer does not name {', '.join(lacking)}: {asked.answer[:200]}")
    return good("yes", asked.answer)


def _prefixes(names: Names) -> dict[str, tuple[str, str]]:
    """Each prefix, with a tool that has it and where that tool is from."""
    found: dict[str, tuple[str, str]] = {}
    for name in names.listed:
        if (origin := _origin(name, names)) and origin[0]:
            found.setdefault(origin[0], (name, f"`{name.removeprefix(origin[0])}` of `{origin[1]}`"))
    return found


def _origin(name: str, names: Names) -> tuple[str, str] | None:
    """The prefix of a tool's name, and the server whose tool it is; the longest matching name wins."""
    fitting = [
        (len(tool), name.removesuffix(tool), server)
        for server, tools in names.behind.items()
        for tool in tools
        if name.endswith(tool)
    ]
    return max(fitting)[1:] if fitting else None


def _shared(names: Sequence[str], separator: str = "_") -> str:
    """The common beginning of at least two names, up to a separator; empty if there is none."""
    if len(names) < _SEVERAL:
        return ""
    first, last = min(names), max(names)  # every name between them shares their common beginning
    same = next(
        (n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )
    head, found, _ = first[:same].rpartition(separator)
    return head + found


def _some(names: Iterable[str]) -> str:
    listed = [f"`{name}`" for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _left(found: Cleaned) -> list[str]:
    left = [f"process {pid}" for pid in found.processes] + [f"port {port}" for port in found.ports]
    return [*left, *(["its directory"] if found.directory else [])]


def _undone(found: Cleaned) -> str:
    if not found.steps:
        return "Its processes, ports and files are removed."
    return f"It undid {len(found.steps)} steps itself; its processes, ports and files are removed."


def _signed_out(found: Cleaned) -> str:
    if found.token_after is None:
        return f"Sign-out: {found.signed_out}."
    still = "still works" if is_let_in(found.token_after) else f"is refused: {found.token_after.summary}"
    login = "; the agent still has its login" if found.login_left else ""
    return f"Sign-out: {found.signed_out}; the access token {still}{login}."


def _at_github(found: Cleaned) -> str:
    if found.approvals is None:
        return ""
    asked = (
        f"was asked to revoke at {', '.join(found.revoked)}"
        if found.revoked
        else "was not asked to revoke anything"
    )
    listed = f"{found.approvals or 'no'} approval{'' if found.approvals == 1 else 's'}"
    sentence = f"GitHub lists {listed} and {asked}."
    if found.credential_after is None:
        return sentence
    return f"{sentence} GitHub answers the credential itself with {found.credential_after}."
