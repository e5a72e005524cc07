"""What the requests so far have shown, and from it: who receives the next one, and whether a call waits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from workshop.recorder.masking import decoded, parameters
from workshop.recorder.model import Request

AGENT, BROWSER, GATEWAY, ISSUER, UPSTREAM = "agent", "browser", "gateway", "authorization-server", "upstream"


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


def query_of(request: Request) -> dict[str, str]:
    """The parameters in a request's address."""
    return dict(parameters(request.url.partition("?")[2].partition("#")[0]))


def form_of(request: Request) -> dict[str, str]:
    """The parameters in a request's form; other bodies have none."""
    is_form = "x-www-form-urlencoded" in request.sent("content-type")
    return dict(parameters(request.request_body.decode("utf-8", "replace"))) if is_form else {}


def sent_object(request: Request) -> Mapping[str, Any]:
    """The JSON object that was sent, or an empty one."""
    return _object(request.request_body)


def returned_object(request: Request) -> Mapping[str, Any]:
    """The JSON object that was answered, or an empty one."""
    return _object(decoded(request))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # a server can nest JSON as deep as it likes
        return {}
    return found if isinstance(found, dict) else {}


def strings(value: object) -> list[str]:
    """A string or a list of them as a list; anything else is left out."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, str)]


@dataclass
class Context:
    """What the requests so far have shown; the reader of each request adds to it."""

    server_url: str = ""
    upstream_url: str = ""
    server_name: str = "proxy"
    resource: str = ""
    issuer: str = ""
    issuers: list[str] = field(default_factory=list)
    iss_promised: bool = False
    redirect_uris: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    returned: dict[str, str] = field(default_factory=dict)
    token: str = ""
    token_issuer: str = ""
    """The token's own `iss`: with a stored login, the metadata is not read again."""
    tokens_read: set[str] = field(default_factory=set)
    sent_along: dict[str, str] = field(default_factory=dict)
    """The credentials that the agent sends besides its token: the header of each, by fingerprint."""
    client: str = AGENT
    """The client of the present login: the agent, or the gateway for its own page."""
    own_redirect: str = ""
    """The gateway's redirect URI, as a client of the authorization server."""
    asker: str = AGENT
    """The sender of the last request that was not the gateway's own."""
    waiting_call: str = ""
    """The tool whose call first needs a person at a page."""
    waited_until: float = -1.0

    def waits(self, request: Request) -> bool:
        """Whether a call waits for the person while this request happens."""
        return request.at < self.waited_until

    @property
    def issued_elsewhere(self) -> bool:
        """Whether a server other than the MCP server issues the tokens."""
        return origin(self.issuer or self.token_issuer) not in ("", origin(self.server_url))

    def receiver(self, request: Request) -> str:
        """The party that receives the request."""
        there = origin(request.url)
        # RFC 8252 section 7.3: the agent's port is a new one at each login, so only the request names it.
        if self.asked and bare(request.url) == self.asked.get("redirect_uri"):
            return AGENT
        if request.seen_by == "listener":
            return AGENT
        if there == origin(self.server_url):
            return GATEWAY
        if there == origin(self.upstream_url) or request.seen_by == "upstream":
            return UPSTREAM
        issuers = (self.issuer, self.token_issuer, *self.issuers)
        return ISSUER if there in map(origin, issuers) else there
