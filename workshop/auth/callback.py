"""The callback: the upstream sends the browser back, and the client gets its code."""

import logging
import uuid

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.flow_cookie import clear_flow_cookie
from workshop.auth.limits import QUERY_BYTES
from workshop.auth.oauth_errors import PageError, RedirectError
from workshop.auth.parameters import Parameters, query
from workshop.auth.records import AuthorizationRequest, Code, Grant, Identity, PendingSignIn, UpstreamTokens
from workshop.auth.responses import error_redirect, redirect
from workshop.auth.same_browser import check_browser
from workshop.auth.server import AuthServer
from workshop.auth.upstream import Trouble, UpstreamError
from workshop.auth.vault import random_token

_LOG = logging.getLogger(__name__)


async def callback(server: AuthServer, request: Request) -> Response:
    """Exchange the upstream's code, open a grant, and hand the client a code of our own."""
    parameters = _parameters(request)
    pending = _take(server, request, parameters.get("state") or "")
    asked = pending.request
    try:
        grant, code = await _sign_in(server, parameters, pending)
    except RedirectError as error:
        _LOG.info("sign-in failed: client %s, %s", asked.client_id, error.error)
        response = error_redirect(server.config.issuer, asked.redirect_uri, asked.state, error)
    else:
        _LOG.info("code issued: client %s, user %s", asked.client_id, grant.sub)
        answer = {"code": code, "state": asked.state, "iss": server.config.issuer}
        response = redirect(asked.redirect_uri, answer)
    clear_flow_cookie(server, response, pending.flow)
    return response


def _parameters(request: Request) -> Parameters:
    parameters = query(request)
    if parameters is None or parameters.repeated or not parameters.get("state"):
        raise PageError(
            "This is not the end of a sign-in", f"The state is missing, or not within {QUERY_BYTES} bytes."
        )
    if not parameters.get("code") and not parameters.get("error"):
        raise PageError("This is not the end of a sign-in", "Neither a code nor an error came with it.")
    return parameters


def _take(server: AuthServer, request: Request, state: str) -> PendingSignIn:
    # Taken before the cookie is looked at: a state that reached a wrong browser is not worth keeping.
    pending = server.store.take_pending(state, server.clock())
    if pending is None:
        raise PageError(
            "This sign-in is not known", "It was completed already, or it took longer than ten minutes."
        )
    check_browser(server, request, pending)
    return pending


async def _sign_in(server: AuthServer, parameters: Parameters, pending: PendingSignIn) -> tuple[Grant, str]:
    code = parameters.get("code")
    if code is None or "error" in parameters:
        raise RedirectError("access_denied", f"{server.upstream.name} did not grant access")
    try:
        tokens = await server.upstream.exchange(code, pending.verifier)
        identity = await server.upstream.identity(tokens)
    except UpstreamError as error:
        _LOG.warning("upstream %s: %s", server.upstream.name, error.trouble.value)
        slow = error.trouble is Trouble.SLOW
        name = "temporarily_unavailable" if slow else "server_error"
        raise RedirectError(
            name, f"Signing in at {server.upstream.name} failed: {error.trouble.value}"
        ) from error
    return _open_grant(server, pending.request, identity, tokens)


def _open_grant(
    server: AuthServer, asked: AuthorizationRequest, identity: Identity, tokens: UpstreamTokens
) -> tuple[Grant, str]:
    now = server.clock()
    expires = now + server.config.code_seconds
    grant = Grant(
        tsid=str(uuid.uuid4()),
        client_id=asked.client_id,
        sub=server.store.subject(server.upstream.identity_source, identity.subject),
        scopes=asked.scopes,
        resource=asked.resource,
        expires=expires,
        name=identity.name,
        email=identity.email,
        upstream=tokens,
    )
    code = random_token()
    bound = Code(asked.redirect_uri if asked.redirect_uri_given else None, asked.code_challenge, expires)
    server.store.open_grant(grant, code, bound)
    return grant, code
