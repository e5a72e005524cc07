"""What an MCP client has to check and the SDK leaves open: addresses, PKCE, the size of answers."""

import asyncio
import ipaddress
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth
from mcp.shared.auth import OAuthMetadata

from workshop.agent.http import is_loopback
from workshop.core.console import plain
from workshop.core.errors import WorkshopError

OAUTH_SECONDS = 15.0
_MAX_ANSWER = 256 * 1024
_STOPPED = "Nothing was sent there. If you did not expect this, do not trust the MCP server at this address"
# The body arrives decoded and whole.
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})


def check_address(url: str, server_url: str) -> None:
    """Raise WorkshopError unless `url` is https, or on this machine and so is the MCP server.

    A server on the internet must not send us to this machine or into the local network (MCP security
    best practices, server-side request forgery). A name that resolves there is stopped by TLS.
    """
    parts = urlsplit(url)
    local = is_loopback(url)
    if local and is_loopback(server_url) and parts.scheme in ("http", "https"):
        return
    if parts.scheme != "https" or not parts.hostname:
        raise _refused(url, "It is neither https nor on this machine")
    if local or _is_internal(parts.hostname):
        raise _refused(url, "It leads into a private network")


def _is_internal(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _refused(url: str, why: str) -> WorkshopError:
    return WorkshopError(f"The login would lead to {plain(url[:200])!r}", why=why, hint=_STOPPED)


def check_metadata(metadata: OAuthMetadata | None, server_url: str) -> OAuthMetadata:
    """Raise WorkshopError unless the authorization server is described, offers PKCE, and may be opened.

    MCP authorization, "Authorization Code Protection": a client stops where S256 is not advertised.
    """
    if metadata is None:
        raise WorkshopError(
            "The server asks for a login but no authorization server can be found",
            why="Neither RFC 8414 nor OpenID Connect metadata is there, or what is there is not valid",
            hint="Check `/.well-known/oauth-authorization-server` of the server with curl",
        )
    if "S256" not in (metadata.code_challenge_methods_supported or ()):
        raise WorkshopError(
            "The authorization server does not offer PKCE with S256",
            why=f"`code_challenge_methods_supported` of {metadata.issuer} lacks it; a stolen code would do",
        )
    check_address(str(metadata.authorization_endpoint), server_url)
    return metadata


def is_foreign(challenge: httpx2.Response, server_url: str) -> bool:
    """Whether a refusal speaks of another resource than the MCP server: some proxies pass the upstream's on.

    RFC 9728 section 3 puts a resource's metadata at the resource's own origin.
    """
    metadata = extract_resource_metadata_from_www_auth(challenge)
    if metadata is None:
        return False
    theirs, ours = urlsplit(metadata), urlsplit(server_url)
    return (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc)


async def send_bounded(http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """Send a request of the login; its answer is bounded in time and size, redirects are left to the caller.

    Raises WorkshopError for an answer over 256 KiB, TimeoutError for one that takes longer than 15 s.
    """
    request.extensions = {**request.extensions, "timeout": http.timeout.as_dict()}
    async with asyncio.timeout(OAUTH_SECONDS):
        response = await http.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _FRAMING]
    whole = httpx2.Response(response.status_code, headers=headers, content=body, request=response.request)
    whole.next_request = response.next_request
    return whole


async def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_ANSWER:
            raise WorkshopError(
                f"The answer of {response.url.host} is too large for a login",
                why=f"It is over {_MAX_ANSWER // 1024} KiB",
            )
    return bytes(body)


def oauth_error(response: httpx2.Response) -> str:
    """The `error` code of an OAuth error answer (RFC 6749 section 5.2), or an empty string."""
    try:
        data = response.json()
    except ValueError:
        return ""
    return plain(str(data["error"])[:80]) if isinstance(data, dict) and "error" in data else ""
