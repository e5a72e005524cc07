"""Revocation (RFC 7009): any token of a sign-in ends the whole sign-in, upstream tokens included."""

import logging

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.oauth_errors import OAuthError
from workshop.auth.parameters import form
from workshop.auth.responses import private_json
from workshop.auth.server import AuthServer
from workshop.auth.token_endpoint import public_client

_LOG = logging.getLogger(__name__)


async def revoke(server: AuthServer, request: Request) -> Response:
    """Answers 200 for a token it does not know, or of another client, too: nothing is learned from it."""
    fields = await form(request, seconds=server.patience.body)
    client = public_client(server, request, fields)
    token = fields.get("token")
    if token is None:
        raise OAuthError("invalid_request", "token is missing")
    tsid = _grant_of(server, token, client.client_id)
    if tsid is not None:
        server.store.revoke(tsid)
        _LOG.info("grant revoked: client %s signed out", client.client_id)
    return private_json({})


def _grant_of(server: AuthServer, token: str, client_id: str) -> str | None:
    claims = server.tokens.verify(token)
    if claims is not None:
        return claims.tsid if claims.client_id == client_id else None
    grant = server.store.refresh_grant(token, server.clock())
    return grant.tsid if grant is not None and grant.client_id == client_id else None
