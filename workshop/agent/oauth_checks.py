"""Checks that an MCP client must make and the SDK does not, and the errors of a failed login."""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth import OAuthFlowError, OAuthRegistrationError, OAuthTokenError
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth
from mcp.shared.auth import OAuthMetadata

from workshop.agent.http import status_line
from workshop.core.encoding import parse_json
from workshop.core.errors import CredentialsError, DeadlineError, WorkshopError
from workshop.core.outgoing import is_loopback
from workshop.core.text import one_line

OAUTH_SECONDS = 15.0
_MOST_SHOWN = 300
_MAX_ANSWER = 256 * 1024
_STOPPED = "Nothing was sent there. If you did not expect this, do not trust the MCP server at this address"
# The body of the copy is decoded and complete.
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})


def check_address(url: str, server_url: str) -> None:
    """Raise WorkshopError unless `url` is https, or both it and the MCP server are on this machine.

    A server on the internet must not send the agent to this machine or into the local network (MCP security
    best practices, server-side request forgery). TLS stops a name that resolves there.
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
        # Also a link-local address, such as 169.254.169.254, where a cloud gives out credentials.
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _refused(url: str, why: str) -> WorkshopError:
    return WorkshopError(f"The login would lead to {one_line(url, 200)!r}", why=why, hint=_STOPPED)


def check_metadata(metadata: OAuthMetadata | None, server_url: str) -> OAuthMetadata:
    """Raise WorkshopError unless the authorization server has metadata, supports PKCE, and may be opened.

    MCP authorization, "Authorization Code Protection": a client stops if S256 is not advertised.
    """
    # The SDK would guess `/authorize` and `/token` at the server's root, as MCP 2025-03-26 did.
    if metadata is None:
        raise WorkshopError(
            "The server asks for a login but no authorization server can be found",
            why="It has no valid metadata, neither of RFC 8414 nor of OpenID Connect",
            hint="Check `/.well-known/oauth-authorization-server` of the server with curl",
        )
    if "S256" not in (metadata.code_challenge_methods_supported or ()):
        raise WorkshopError(
            "The authorization server does not support PKCE with S256",
            why=f"`code_challenge_methods_supported` of {metadata.issuer} lacks it; a stolen code would work",
        )
    check_address(str(metadata.authorization_endpoint), server_url)
    return metadata


def is_foreign(challenge: httpx2.Response, server_url: str) -> bool:
    """Whether a refusal names another resource than the MCP server: some proxies pass on the upstream's.

    RFC 9728 section 3 puts a resource's metadata at the resource's own origin.
    """
    metadata = extract_resource_metadata_from_www_auth(challenge)
    if metadata is None:
        return False
    named, own = urlsplit(metadata), urlsplit(server_url)
    return (named.scheme, named.netloc) != (own.scheme, own.netloc)


async def send_bounded(http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """Send a request of the login; its answer is bounded in time and size, and redirects are not followed.

    Raises WorkshopError for an answer over 256 KiB, TimeoutError for one that takes longer than 15 s.
    """
    # The SDK builds its requests without this client, so they have no timeout yet.
    request.extensions = {**request.extensions, "timeout": http.timeout.as_dict()}
    async with asyncio.timeout(OAUTH_SECONDS):
        # A redirect would carry a code, a verifier or a token to an address that nobody has checked.
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
        data = parse_json(response.content)
    except ValueError:
        return ""
    return one_line(str(data["error"]), 80) if isinstance(data, dict) and "error" in data else ""


class ForgottenClientError(WorkshopError):
    """The authorization server no longer knows the stored client identifier."""

    def __init__(self) -> None:
        super().__init__("The authorization server has forgotten the agent")


@contextlib.contextmanager
def login_errors(last_error: Callable[[], str]) -> Iterator[None]:
    """Turn what the SDK and the network raise during a login into our errors.

    `last_error` returns the OAuth error code of the last answer; bodies are untrusted and not repeated.
    """
    try:
        yield
    except OAuthRegistrationError as error:
        raise WorkshopError(
            "The authorization server did not register the agent",
            why=_reason(last_error(), error),
            hint="It may limit how often a client registers: wait a few seconds and run this again",
        ) from error
    except OAuthTokenError as error:
        raise CredentialsError(
            "The authorization server did not issue a token",
            why=_reason(last_error(), error),
            hint="Run this again and approve once more; `workshop logs` shows what the server wrote",
        ) from error
    except OAuthFlowError as error:
        raise WorkshopError(
            "The login was stopped: the servers' descriptions disagree", why=one_line(str(error), _MOST_SHOWN)
        ) from error
    except (OverflowError, UnicodeDecodeError, RecursionError) as error:
        why = "It has a lifetime that is not a time" if isinstance(error, OverflowError) else "It is not JSON"
        raise WorkshopError("The authorization server's answer cannot be used", why=why) from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise DeadlineError(
            "The authorization server does not answer", hint="`workshop status` shows what runs"
        ) from error
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise WorkshopError(
            "The authorization server cannot be reached",
            why=one_line(str(error), _MOST_SHOWN),
            hint="`workshop status` shows what runs",
        ) from error


def _reason(code: str, error: Exception) -> str:
    return f"It answered `{code}`" if code else one_line(str(error).partition(":")[0], _MOST_SHOWN)


def refused_again(server_url: str, response: httpx2.Response) -> CredentialsError:
    """The server refuses the token of the login that has just succeeded."""
    return CredentialsError(
        f"{urlsplit(server_url).netloc} refuses the token of the login that was just approved",
        why=f"It still answers {status_line(response)}",
        hint="The upstream account may lack a permission, or the proxy does not swap tokens: see its log",
    )


def unknown_client(client_id: str) -> CredentialsError:
    """A client that was registered by hand is refused, and the agent must not register another."""
    return CredentialsError(
        f"The authorization server does not accept the client {one_line(client_id, _MOST_SHOWN)!r}",
        why="It refused its identifier, its secret, or its redirect URI",
        hint="Compare them with what is registered there",
    )


def not_answered(seconds: float, *, forgotten: bool) -> DeadlineError:
    """Nobody approved; `forgotten` if the stored client was dropped because the page may not know it."""
    hint = "Run this again, open the address it prints, and approve"
    if forgotten:
        hint += ". The stored registration was dropped in case the server had forgotten it"
    return DeadlineError(
        f"Nobody approved the login within {seconds:g} seconds",
        why="The browser did not return to this computer; over SSH or in a container it cannot",
        hint=hint,
    )


def unavailable(response: httpx2.Response) -> WorkshopError:
    """The token endpoint fails; the refresh token remains stored."""
    return WorkshopError(
        "The login cannot be refreshed now",
        why=f"The authorization server answered {status_line(response)}",
        hint="Run this again in a moment; the login remains stored",
    )
