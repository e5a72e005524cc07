"""Which tools a request wants: by path and by header, as GitHub's remote MCP server reads them.

Source: github/github-mcp-server, docs/remote-server.md, "Optional Headers" and "URL Path Parameters".
"""

from collections.abc import Mapping
from dataclasses import dataclass

TOOLSETS = ("context", "repos", "issues", "users")
_FALSE = {"", "false", "f", "no", "n", "0", "off"}
_MODIFIERS = {"readonly", "insiders"}


@dataclass(frozen=True)
class Selection:
    """Toolsets to offer, and whether tools that write are left out."""

    toolsets: frozenset[str]
    read_only: bool

    def includes(self, toolset: str, *, writes: bool) -> bool:
        return toolset in self.toolsets and not (writes and self.read_only)


def select(rest: str, headers: Mapping[str, str]) -> Selection | None:
    """What the path after `/mcp` and the headers ask for; None when there is no such path.

    Unknown toolsets in the header are ignored; in the path they are an error.
    """
    segments = [segment for segment in rest.split("/") if segment]
    wanted = _from_header(headers.get("x-mcp-toolsets", ""))
    if segments[:1] == ["x"]:
        name = segments[1] if len(segments) > 1 else ""
        if name not in {*TOOLSETS, "all"}:
            return None
        wanted, segments = _expand({name}), segments[2:]
    if not _MODIFIERS.issuperset(segments):
        return None
    flagged = headers.get("x-mcp-readonly", "").strip().lower() not in _FALSE
    return Selection(wanted, read_only=flagged or "readonly" in segments)


def _from_header(text: str) -> frozenset[str]:
    names = {name.strip() for name in text.split(",")} - {""}
    return _expand(names or {"default"})


def _expand(names: set[str]) -> frozenset[str]:
    if names & {"all", "default"}:
        return frozenset(TOOLSETS)
    return frozenset(names & set(TOOLSETS))
