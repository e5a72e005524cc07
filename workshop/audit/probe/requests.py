"""The probe's requests in their order: the MCP endpoint, its metadata, then the authorization server."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from workshop.audit.probe.exchange import Exchange
from workshop.audit.probe.model import (
    EVIL_CALLBACK,
    EVIL_HOST,
    EVIL_ORIGIN,
    FORBIDDEN,
    UNAUTHORIZED,
    Answer,
    Evidence,
    McpAnswers,
    ResourceAnswers,
    ServerAnswers,
    SignedAnswers,
    Target,
    host_of,
    is_loopback,
    is_secure,
    joined,
    split,
)
from workshop.core.encoding import jwt_claims, unsigned_jwt
from workshop.core.errors import WorkshopError

if TYPE_CHECKING:
    from workshop.audit.sign_in import SignedIn

GARBAGE_TOKEN = "practice_probe_worthless"  # noqa: S105 - not valid anywhere, on purpose
UNKNOWN_CLIENT = "workshop-probe-unregistered"
UNKNOWN_GRANT = "urn:workshop:probe"


def unsigned_token(issuer: str, audience: str) -> str:
    """A JWT with `alg: none` and otherwise correct claims (RFC 8725 section 3.1)."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": "workshop-probe",
        "client_id": UNKNOWN_CLIENT,
        "iat": now,
        "exp": now + 60,
    }
    return unsigned_jwt(claims)  # the signature alone is wrong


_CREATED = (200, 201)
# The challenge of RFC 7636 appendix B: well formed, and no code is ever redeemed with it.
_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


async def ask_server(issuer: str, resource: str, exchange: Exchange) -> ServerAnswers:
    """Request the issuer's metadata, then the endpoints that it names on allowed hosts."""
    metadata = await _metadata(issuer, exchange)
    if metadata is None:
        return ServerAnswers()
    endpoints = metadata.document
    token = endpoints.get("token_endpoint")
    registration = await _register(endpoints.get("registration_endpoint"), exchange)
    asked = {"grant_type": UNKNOWN_GRANT, "client_id": UNKNOWN_CLIENT}
    return ServerAnswers(
        metadata=metadata,
        registration=registration,
        unregistration=await _unregister(registration, exchange) if registration else None,
        token_form=await exchange.send("POST", str(token), data=asked),
        token_json=await exchange.send("POST", str(token), json=asked),
        authorize=await _authorize(endpoints.get("authorization_endpoint"), resource, exchange),
    )


async def _metadata(issuer: str, exchange: Exchange) -> Answer | None:
    """Try the metadata URLs in the order of MCP clients: RFC 8414, then both of OpenID Connect discovery."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    urls = [f"{origin}/.well-known/oauth-authorization-server{path}"]
    urls.append(f"{origin}/.well-known/openid-configuration{path}")
    # OpenID Connect Discovery appends its path to the issuer, RFC 8414 inserts it.
    if path:
        urls.append(f"{origin}{path}/.well-known/openid-configuration")
    for url in urls:
        answer = await exchange.send("GET", url, headers={"accept": "application/json"})
        if answer is not None and answer.status == 200 and answer.document:  # noqa: PLR2004 - OK
            return answer
    return None


async def _register(endpoint: object, exchange: Exchange) -> Answer | None:
    """Send one registration that must be refused."""
    if split(endpoint) is None:
        return None
    wanted = {
        "client_name": "workshop probe (to be refused)",
        "redirect_uris": [EVIL_CALLBACK],
        "token_endpoint_auth_method": "none",
    }
    return await exchange.send("POST", str(endpoint), json=wanted)


async def _unregister(registration: Answer, exchange: Exchange) -> Answer | None:
    """Delete the client that the server should have refused, if it allows that (RFC 7592 section 2.3)."""
    client = registration.document if registration.status in _CREATED else {}
    url, token = client.get("registration_client_uri"), client.get("registration_access_token")
    # The token becomes a header: a line end in it would begin another one.
    if split(url) is None or not isinstance(token, str) or not (token.isascii() and token.isprintable()):
        return None
    return await exchange.send("DELETE", str(url), headers={"authorization": f"Bearer {token}"})


async def _authorize(endpoint: object, resource: str, exchange: Exchange) -> Answer | None:
    if split(endpoint) is None:
        return None
    query = {
        "response_type": "code",
        "client_id": UNKNOWN_CLIENT,
        "redirect_uri": EVIL_CALLBACK,
        "state": "probe",
        "code_challenge": _CHALLENGE,
        "code_challenge_method": "S256",
        "resource": resource,
    }
    joint = "&" if urlsplit(str(endpoint)).query else "?"
    url = f"{endpoint}{joint}{urlencode(query, quote_via=quote)}"
    return await exchange.send("GET", url, headers={"accept": "text/html"})


_PRM = "/.well-known/oauth-protected-resource"
_REFUSED = {UNAUTHORIZED, FORBIDDEN}
_MODERN, _HANDSHAKE = "2026-07-28", "2025-11-25"
_CLIENT = {"name": "workshop-probe", "version": "1"}
_STREAMS = "application/json, text/event-stream"
_META = {
    "io.modelcontextprotocol/protocolVersion": _MODERN,
    "io.modelcontextprotocol/clientInfo": _CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_DISCOVER: Mapping[str, Any] = {
    "headers": {
        "accept": _STREAMS,
        "mcp-protocol-version": _MODERN,
        "mcp-method": "server/discover",
    },
    "json": {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}},
}


_PING: Mapping[str, Any] = {
    "headers": {"accept": _STREAMS},
    "json": {"jsonrpc": "2.0", "id": 2, "method": "ping"},
}


def initialize(client: Mapping[str, str] = _CLIENT) -> Mapping[str, Any]:
    """The request that begins a session of 2025-11-25, as httpx2's `headers` and `json`."""
    params = {"protocolVersion": _HANDSHAKE, "capabilities": {}, "clientInfo": client}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    return {"headers": {"accept": _STREAMS}, "json": message}


async def collect(target: Target, exchange: Exchange, *, follow: bool) -> Evidence:
    """Send all requests; `follow` includes an authorization server on another host.

    Raises WorkshopError if no MCP server answers.
    """
    target, mcp = await _greet(target, exchange)
    resource = await _resource(target, mcp, exchange)
    first = Evidence(target, mcp, resource, "", None)
    issuer, skipped = _issuer(first, exchange, follow=follow)
    audience = str(first.prm.document.get("resource", "")) if first.prm else target.url
    if first.guarded:
        mcp = await _pretend(target, mcp, unsigned_token(issuer or target.origin, audience), exchange)
    mcp = await _as_web_page(target, mcp, exchange)
    server = await ask_server(issuer, target.url, exchange) if issuer and not skipped else None
    return Evidence(target, mcp, resource, issuer, server, (skipped,) if skipped else ())


async def _greet(target: Target, exchange: Exchange) -> tuple[Target, McpAnswers]:
    discover = await exchange.first("POST", target.url, **_DISCOVER)
    # Many frameworks redirect `/mcp` to `/mcp/`.
    if discover.header("location"):
        target = _moved(target, joined(target.url, discover.header("location")))
        discover = await exchange.first("POST", target.url, **_DISCOVER)
    # Whatever the first answer was: many servers know the handshake of 2025-11-25 only.
    initialized = await exchange.send("POST", target.url, **initialize())
    answers = [answer for answer in (discover, initialized) if answer is not None]
    if not any(answer.speaks_mcp or answer.status in _REFUSED for answer in answers):
        answered = discover.gist[2] or discover.gist[1] or discover.media_type or "nothing"
        raise WorkshopError(
            f"No MCP server answers at {target.url}",
            why=f"It answered {discover.status}: {answered[:200]}",
            hint="Include the path, usually `/mcp`, and write the host name as the server does",
        )
    return target, McpAnswers(discover, initialized)


def _moved(target: Target, location: str) -> Target:
    if host_of(location) != target.host or not is_secure(location):
        raise WorkshopError(
            f"{target.url} redirects to another address",
            why=f"To {location[:200]!r}; the probe sends requests only to the host that you named",
            hint="Probe that address if it is your server",
        )
    return Target.parse(location)


async def _resource(target: Target, mcp: McpAnswers, exchange: Exchange) -> ResourceAnswers:
    path = target.parts.path
    at_path = target.origin + _PRM + path if path != "/" else None
    at_root = target.origin + _PRM
    announced = next(
        (
            answer.challenge["resource_metadata"]
            for answer in (mcp.discover, mcp.initialize)
            if answer and answer.challenge and answer.challenge.get("resource_metadata")
        ),
        None,
    )
    # The announced URL is often one of the other two: each is requested once.
    found: dict[str, Answer | None] = {}
    for url in (announced, at_path, at_root):
        if url is not None and url not in found:
            found[url] = await exchange.send("GET", url, headers={"accept": "application/json"})
    return ResourceAnswers(found.get(announced or ""), found.get(at_path or ""), found.get(at_root))


def _issuer(evidence: Evidence, exchange: Exchange, *, follow: bool) -> tuple[str, str]:
    """The metadata's first authorization server, or the origin, as old clients assume; why it is skipped."""
    if evidence.prm is None:
        # MCP 2025-03-26: without metadata, the server's own origin is the authorization server.
        return evidence.target.origin if evidence.guarded else "", ""
    servers = evidence.prm.document.get("authorization_servers")
    url = servers[0] if isinstance(servers, list) and servers else None
    if split(url) is None:
        return "", ""
    if exchange.may_ask(url):
        return str(url), ""
    host = host_of(url)
    if not follow:
        return str(url), f"The authorization server {url}: on another host (`--follow` includes it)"
    # A server elsewhere must not direct requests at programs on this machine (SSRF).
    if not is_secure(url) or (is_loopback(host) and not evidence.target.loopback):
        return str(url), f"The authorization server {url}: not https, or on this machine"
    exchange.allow(host)
    return str(url), ""


async def _ask(target: Target, mcp: McpAnswers, exchange: Exchange, **extra: str) -> Answer | None:
    call = _repeated(mcp)
    return await exchange.send("POST", target.url, json=call["json"], headers={**call["headers"], **extra})


def _repeated(mcp: McpAnswers) -> Mapping[str, Any]:
    """The request to repeat: one that requires a token, otherwise one that the server understands."""
    first, second = mcp.discover, mcp.initialize
    if second is None or first.status in _REFUSED:
        return _DISCOVER
    return initialize() if second.status in _REFUSED or not first.result else _DISCOVER


async def _pretend(target: Target, mcp: McpAnswers, unsigned: str, exchange: Exchange) -> McpAnswers:
    """Send invalid tokens, in the header and in the query."""
    in_query = f"{target.url}?access_token={unsigned}&token={unsigned}"
    return replace(
        mcp,
        garbage=await _ask(target, mcp, exchange, authorization=f"Bearer {GARBAGE_TOKEN}"),
        unsigned=await _ask(target, mcp, exchange, authorization=f"Bearer {unsigned}"),
        query=await exchange.send("POST", in_query, **_repeated(mcp)),
    )


async def _as_web_page(target: Target, mcp: McpAnswers, exchange: Exchange) -> McpAnswers:
    """Send the requests of a foreign web page: its Origin, its Host after DNS rebinding, a CORS preflight."""
    preflight = {
        "origin": EVIL_ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    asked = replace(
        mcp,
        get=await exchange.send("GET", target.url, headers={"accept": "text/event-stream"}),
        origin=await _ask(target, mcp, exchange, origin=EVIL_ORIGIN),
        host=await _ask(target, mcp, exchange, host=EVIL_HOST),
        preflight=await exchange.send("OPTIONS", target.url, headers=preflight),
    )
    for answer in (asked.initialize, asked.origin, asked.host):
        await _leave(target, answer, exchange)
    return asked


async def _leave(target: Target, answer: Answer | None, exchange: Exchange, **credential: str) -> None:
    """End a session that the probe opened (MCP transports, session management)."""
    session = answer.header("mcp-session-id") if answer else ""
    if session:
        headers = {"mcp-session-id": session, "mcp-protocol-version": _HANDSHAKE, **credential}
        await exchange.send("DELETE", target.url, headers=headers)


async def collect_signed(target: Target, signed: "SignedIn", exchange: Exchange) -> SignedAnswers:
    """Send requests with the agent's own token, all of them to the target's URL itself."""

    async def ask(call: Mapping[str, Any], token: str = signed.token, **extra: str) -> Answer | None:
        headers = {**call["headers"], **({"authorization": f"Bearer {token}"} if token else {}), **extra}
        return await exchange.send("POST", target.url, json=call["json"], headers=headers)

    discover, initialized = await ask(_DISCOVER), await ask(initialize())
    call = _DISCOVER if discover and discover.result else initialize()
    session = initialized.header("mcp-session-id") if initialized else ""
    in_session = {"mcp-session-id": session, "mcp-protocol-version": _HANDSHAKE}
    answers = SignedAnswers(
        discover,
        initialized,
        origin=await ask(call, origin=EVIL_ORIGIN),
        host=await ask(call, host=EVIL_HOST),
        changed=await ask(call, changed(signed.token)),
        session=await ask(_PING, "", **in_session) if session else None,
        claims=jwt_claims(signed.token) or {},
        seconds=signed.login.tokens.expires_in if signed.login.tokens else None,
        tools=signed.tools,
    )
    # A server that wrongly carries a request out has opened a session for it too.
    for answer in (initialized, answers.origin, answers.host, answers.changed):
        await _leave(target, answer, exchange, authorization=f"Bearer {signed.token}")
    return answers


def changed(token: str) -> str:
    """The token with one other character, in the signature if it is a JWT."""
    # Not the last character: in base64 its lowest bits may be padding, and a change of those is none.
    at = len(token) - min(10, (len(token) + 1) // 2)
    return f"{token[:at]}{'A' if token[at] != 'A' else 'B'}{token[at + 1 :]}"
