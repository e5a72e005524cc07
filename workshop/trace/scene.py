"""What is known at a point of the story, and from it: what kind of hop the next one is, and to whom."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from workshop.trace.hop import Hop
from workshop.trace.masking import decoded, parameters

AGENT, BROWSER, GATEWAY, ISSUER, UPSTREAM = "agent", "browser", "gateway", "authorization-server", "upstream"
_CHALLENGES = (401, 403)


def origin(url: str) -> str:
    """Scheme, host and port of a URL; an empty string where it has none."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower() if parts.netloc else ""
    except ValueError:
        return ""


def bare(url: str) -> str:
    """A URL without query and fragment."""
    return url.partition("?")[0].partition("#")[0]


def query_of(hop: Hop) -> dict[str, str]:
    """The parameters in a hop's address."""
    return dict(parameters(hop.url.partition("?")[2].partition("#")[0]))


def form_of(hop: Hop) -> dict[str, str]:
    """The parameters in a hop's form; other bodies have none."""
    is_form = "x-www-form-urlencoded" in hop.sent("content-type")
    return dict(parameters(hop.request_body.decode("utf-8", "replace"))) if is_form else {}


def sent_object(hop: Hop) -> Mapping[str, Any]:
    """The JSON object that was sent, or an empty one."""
    return _object(hop.request_body)


def returned_object(hop: Hop) -> Mapping[str, Any]:
    """The JSON object that was answered, or an empty one."""
    return _object(decoded(hop))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def strings(value: object) -> list[str]:
    """A string or a list of them as a list; anything else is left out."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, str)]


@dataclass
class Scene:
    """What the hops so far have said."""

    server_url: str = ""
    upstream_url: str = ""
    resource: str = ""
    issuer: str = ""
    issuers: list[str] = field(default_factory=list)
    iss_promised: bool = False
    redirect_uris: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    returned: dict[str, str] = field(default_factory=dict)
    token: str = ""
    tokens_read: set[str] = field(default_factory=set)

    def receiver(self, hop: Hop) -> str:
        """Who is asked."""
        there = origin(hop.url)
        if self.asked and bare(hop.url) == self.asked.get("redirect_uri"):
            return AGENT
        if hop.seen_by == "listener":
            return AGENT
        if there == origin(self.server_url):
            return GATEWAY
        if there == origin(self.upstream_url) or hop.seen_by == "upstream":
            return UPSTREAM
        return ISSUER if there in {origin(self.issuer), *map(origin, self.issuers)} else there

    def kind(self, hop: Hop) -> str:
        """What kind of hop this is, by what it carries."""
        path = urlsplit(bare(hop.url)).path
        if "/.well-known/oauth-protected-resource" in path:
            return "resource-metadata"
        if "/.well-known/o" in path:
            return "server-metadata"
        if hop.sender == GATEWAY:
            return _upstream_kind(path)
        return self._browser_kind(hop) if hop.sender == BROWSER else _agent_kind(hop)

    def _browser_kind(self, hop: Hop) -> str:
        query, receiver = query_of(hop), self.receiver(hop)
        if receiver == AGENT:
            return "callback"
        upstream = receiver not in (GATEWAY, ISSUER)
        if "response_type" in query or (upstream and "client_id" in query):
            return "upstream-authorize" if upstream else "authorize"
        if "state" in query and ("code" in query or "error" in query):
            return "upstream-callback"
        if hop.method == "POST":
            return "upstream-consent" if upstream else "consent"
        return "page"


def _agent_kind(hop: Hop) -> str:
    if grant := form_of(hop).get("grant_type"):
        return "refresh" if grant == "refresh_token" else "token"
    if "redirect_uris" in sent_object(hop):
        return "register"
    if "response_type" in query_of(hop):
        return "ask-first"
    return "challenge" if hop.status in _CHALLENGES else "mcp"


def _upstream_kind(path: str) -> str:
    if path.startswith("/mcp"):
        return "upstream-mcp"
    if path.endswith("/access_token"):
        return "upstream-token"
    return "upstream-user" if path == "/user" else "upstream-call"
