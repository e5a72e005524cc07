"""The `cimd` block: clients known by a document at their address (`MCPExternalAuthConfig`, `cimd`)."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from workshop.auth.config_reader import LOOPBACK_HOSTS, Section, bad
from workshop.auth.freshness import LONGEST_SECONDS, SHORTEST_SECONDS

_KNOWN = frozenset({"enabled", "cache_seconds", "cache_size", "allow_loopback"})
_MOST_KEPT = 10_000


@dataclass(frozen=True)
class DocumentRules:
    """Whether documents are fetched, and how many are kept how long (seconds) when their server is silent.

    `allow_loopback` is for tests and practice: documents of this computer, also by plain http (draft CIMD-02
    section 8.6 permits it to a server that is on loopback itself).
    """

    enabled: bool = True
    cache_seconds: int = 300
    cache_size: int = 256
    allow_loopback: bool = False


def load_document_rules(auth: Section, issuer: str) -> DocumentRules:
    """Read the block; without one documents are fetched, with ToolHive's cache bounds.

    Raises UsageError.
    """
    if not auth.has("cimd"):
        return DocumentRules()
    block = Section.of(auth.values["cimd"], auth.path("cimd"), known=_KNOWN)
    allow_loopback = block.flag("allow_loopback", default=False)
    if allow_loopback and urlsplit(issuer).hostname not in LOOPBACK_HOSTS:
        raise bad(block.path("allow_loopback"), "Only a gateway that is on loopback itself may fetch from it")
    return DocumentRules(
        enabled=block.flag("enabled", default=True),
        cache_seconds=block.number("cache_seconds", 300, int(SHORTEST_SECONDS), int(LONGEST_SECONDS)),
        cache_size=block.number("cache_size", 256, 1, _MOST_KEPT),
        allow_loopback=allow_loopback,
    )
