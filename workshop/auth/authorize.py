"""The authorization endpoint: check the request, then ask the person (OAuth 2.1 section 4.1, RFC 8707)."""

import re

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.client_documents import ClientDocuments, DocumentError, TooManyFetchesError
from workshop.auth.clients import is_url
from workshop.auth.consent import consent_page
from workshop.auth.http import (
    PageError,
    Parameters,
    RedirectError,
    Remedy,
    early_error,
    query_parameters,
    scopes_in,
)
from workshop.auth.limits import DOCUMENT_CLIENTS
from workshop.auth.redirect_rules import redirect_uri_matches
from workshop.auth.server import AuthServer
from workshop.auth.store import AuthorizationRequest, Client, StoreFullError

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256, base64url (RFC 7636 section 4.2)
_LONGEST_STATE = 2048


async def authorize(server: AuthServer, request: Request) -> Response:
    """Show the consent page, for every client and every time; nothing is stored yet."""
    parameters = query_parameters(request)
    if parameters is None:
        raise PageError("This link cannot be used", "The request is too long, or it cannot be read.")
    # Client and redirect URI first: until both are known, an error is a page, and nobody is redirected.
    client = await _known_client(server, parameters.get("client_id") or "")
    redirect_uri = _registered_redirect(client, parameters)
    state = parameters.get("state")
    try:
        asked = _checked(server, client, parameters, redirect_uri)
    except RedirectError as error:
        return early_error(server.config.issuer, redirect_uri, state, error)
    return consent_page(server, client, asked)


_READ = Remedy("cimd: {enabled: true}", "It then reads such documents, for which it needs the internet.")
_READ_NOT = Remedy("cimd: {enabled: false}", "Applications then register themselves instead.")


async def _known_client(server: AuthServer, client_id: str) -> Client:
    if server.documents is not None and is_url(client_id):
        return await _described_client(server, server.documents, client_id)
    client = server.store.client(client_id, server.clock())
    if client is None:
        text = "This server may have lost its registration. Start the application's login again."
        if is_url(client_id):
            text = "Its client ID is the address of a document, and this server does not read such documents."
        remedy = _READ if is_url(client_id) else None
        raise PageError("This application is not registered here", text, remedy=remedy)
    return client


async def _described_client(server: AuthServer, documents: ClientDocuments, url: str) -> Client:
    try:
        client = await documents.client(url)
        # For the token endpoint, which fetches nothing.
        server.store.keep_client(client, now=server.clock(), limit=DOCUMENT_CLIENTS)
    except DocumentError as error:
        title = "This application's client ID document cannot be used"
        raise PageError(title, f"{error}.", remedy=_READ_NOT) from error
    except TooManyFetchesError as error:
        raise PageError(
            "Too many applications at once", "Please try again in a few seconds.", status=429
        ) from error
    except StoreFullError as error:
        text = "This server cannot store another application now. Please try again later."
        raise PageError("Too many applications", text, status=503) from error
    return client


def _registered_redirect(client: Client, parameters: Parameters) -> str:
    # One without a value is wrong rather than omitted: a code goes nowhere by accident.
    if "redirect_uri" not in set(parameters) and len(client.redirect_uris) == 1:
        return client.redirect_uris[0]
    requested = parameters.get("redirect_uri")
    if requested is None or not any(redirect_uri_matches(requested, known) for known in client.redirect_uris):
        raise PageError(
            "The application named a redirect URI that it has not registered",
            "Your browser is not redirected. If you did not start this yourself, close this window.",
        )
    return requested


def _checked(
    server: AuthServer, client: Client, parameters: Parameters, redirect_uri: str
) -> AuthorizationRequest:
    # First, because two resources are an invalid_target (RFC 8707 section 2), not an invalid_request.
    _check_resource(server, parameters)
    if parameters.repeated:
        raise RedirectError("invalid_request", "A parameter is repeated")
    _check_unsupported(parameters)
    if parameters.get("response_type") is None:
        raise RedirectError("invalid_request", "response_type is missing")
    if parameters.get("response_type") != "code":
        raise RedirectError("unsupported_response_type", "Only response_type code is supported")
    if parameters.get("code_challenge_method") != "S256":
        raise RedirectError("invalid_request", "code_challenge_method must be S256")
    challenge = parameters.get("code_challenge")
    if challenge is None or not _CHALLENGE.fullmatch(challenge):
        raise RedirectError("invalid_request", "code_challenge must be 43 base64url characters")
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        redirect_uri_given="redirect_uri" in parameters,
        state=_state(parameters),
        scopes=_scopes(client, parameters),
        resource=parameters.get("resource") or server.config.resource,
        code_challenge=challenge,
    )


def _check_resource(server: AuthServer, parameters: Parameters) -> None:
    # Optional, as in ToolHive; if present, it must be exactly an identifier of the one protected resource.
    if "resource" in parameters and parameters.get("resource") not in server.config.resources:
        raise RedirectError(
            "invalid_target", f"resource must be {server.config.resource}, given exactly once"
        )


def _check_unsupported(parameters: Parameters) -> None:
    if "request" in parameters:
        raise RedirectError("request_not_supported", "Request objects are not supported")
    # Never fetched: whoever made the link chose the address (server-side request forgery).
    if "request_uri" in parameters:
        raise RedirectError("request_uri_not_supported", "Request objects are not supported")
    # Another mode shows the code to more parties: `fragment`, for example, to all scripts of a page.
    if (parameters.get("response_mode") or "query") != "query":
        raise RedirectError("invalid_request", "Only response_mode query is supported")
    # The client asked for an error instead of a page (OpenID Connect Core section 3.1.2.1).
    if "none" in (parameters.get("prompt") or "").split():
        raise RedirectError("consent_required", "The person is always asked")


def _state(parameters: Parameters) -> str | None:
    state = parameters.get("state")
    if state and len(state) > _LONGEST_STATE:
        raise RedirectError("invalid_request", f"state is longer than {_LONGEST_STATE} characters")
    return state


def _scopes(client: Client, parameters: Parameters) -> tuple[str, ...]:
    scopes = scopes_in(parameters.get("scope") or "")
    if not scopes:
        # RFC 6749 section 3.3 leaves the default for an omitted scope to the server.
        return client.scopes
    if not set(scopes) <= set(client.scopes):
        raise RedirectError("invalid_scope", f"scope must be out of: {' '.join(client.scopes)}")
    return scopes
