"""The token endpoint: code and refresh grants (OAuth 2.1 section 4, RFC 8707), and revocation (RFC 7009)."""

import logging
import re

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.clients import check_credentials, read_credentials, refused_client
from workshop.auth.http import OAuthError, Parameters, form_parameters, private_json, scopes_in
from workshop.auth.limits import REPEAT_SECONDS
from workshop.auth.server import AuthServer
from workshop.auth.store import Client, Grant, Rotation
from workshop.auth.upstream import UpstreamError
from workshop.auth.vault import random_token, same_secret
from workshop.core.encoding import s256

_LOG = logging.getLogger(__name__)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.1


async def token(server: AuthServer, request: Request) -> Response:
    fields = await form_parameters(request, seconds=server.patience.body)
    # Either identifier: some clients read the metadata anew after the redirect, and find the other one (MCP
    # Inspector). It is one resource (RFC 8707 section 2.2), and the token has the audience that was approved.
    if "resource" in fields and fields.get("resource") not in server.config.resources:
        raise OAuthError("invalid_target", f"resource must be {server.config.resource}, given exactly once")
    # Before the grant: a client that is not who it claims to be must not use up somebody's code.
    client = _authenticated(server, request, fields)
    grant_type = fields.get("grant_type")
    if grant_type is None:
        raise OAuthError("invalid_request", "grant_type is missing")
    if grant_type == "authorization_code":
        return _redeem_code(server, client, fields)
    if grant_type == "refresh_token":
        return await _refresh(server, client, fields)
    raise OAuthError("unsupported_grant_type", "Use authorization_code or refresh_token")


def _authenticated(server: AuthServer, request: Request, fields: Parameters) -> Client:
    """The registered client that sent a form; raises OAuthError for any other."""
    realm = server.config.issuer
    sent = read_credentials(request, fields, realm)
    client = server.store.client(sent.client_id, server.clock())
    if client is None:
        challenge = "authorization" in request.headers
        raise refused_client("This client is not registered here", realm, challenge=challenge)
    check_credentials(sent, client.auth_method, client.secret_digest, realm)
    return client


def _redeem_code(server: AuthServer, client: Client, fields: Parameters) -> Response:
    code, verifier = fields.get("code"), fields.get("code_verifier")
    if code is None or verifier is None:
        raise OAuthError("invalid_request", "code and code_verifier are needed")
    # Removed first: a code that comes with the wrong client, redirect URI or verifier has leaked.
    taken = server.store.take_code(code, server.clock())
    if taken is None:
        _LOG.warning("code refused: client %s, unknown, expired or used before", client.client_id)
        raise OAuthError("invalid_grant", "The code is unknown, expired or was used before")
    grant, bound = taken
    proven = _VERIFIER.fullmatch(verifier) is not None and same_secret(s256(verifier), bound.code_challenge)
    redirect_uri = fields.get("redirect_uri")
    if grant.client_id != client.client_id or redirect_uri != bound.redirect_uri or not proven:
        _LOG.warning(
            "code refused: client %s, bound to another client, redirect URI or verifier", client.client_id
        )
        server.store.revoke(grant.tsid)
        raise OAuthError(
            "invalid_grant", "The code was issued for another client, redirect_uri or code_verifier"
        )
    _LOG.info("token issued: client %s", client.client_id)
    refresh_token = random_token() if _may_refresh(client, grant) else None
    with server.store.together():
        if refresh_token:
            expires = server.clock() + server.config.refresh_seconds
            server.store.add_refresh(refresh_token, grant.tsid, expires=expires)
            server.store.extend_grant(grant.tsid, expires)
        return _answer(server, grant, grant.scopes, refresh_token)


async def _refresh(server: AuthServer, client: Client, fields: Parameters) -> Response:
    old = fields.get("refresh_token")
    if old is None:
        raise OAuthError("invalid_request", "refresh_token is missing")
    grant = server.store.refresh_grant(old, server.clock())
    if grant is None or grant.client_id != client.client_id:
        raise OAuthError("invalid_grant", "The refresh token is unknown, expired or of another client")
    if await _has_ended_upstream(server, grant):
        server.store.revoke(grant.tsid)
        _LOG.warning("grant revoked: client %s, its upstream token is lost", client.client_id)
        raise OAuthError("invalid_grant", "The upstream token is lost; sign in again")
    # Before the rotation, so that a wrong scope does not use the token up.
    scopes = _narrowed(grant, fields.get("scope"))
    # Derived, so that a repeated request gets the same successor without anyone storing it.
    successor = server.vault.mac("refresh token", old)
    now = server.clock()
    expires = now + server.config.refresh_seconds
    rotation = server.store.rotate(old, successor, now=now, expires=expires, grace=REPEAT_SECONDS)
    if rotation is Rotation.REUSED:
        _LOG.warning("family revoked: client %s used a refresh token again", client.client_id)
    if rotation in {Rotation.REUSED, Rotation.UNKNOWN}:
        raise OAuthError("invalid_grant", "The refresh token was used before")
    if rotation is Rotation.REPEATED:
        # The first time may have been before the HMAC secret was rotated.
        successor = server.store.known_refresh(server.vault.macs("refresh token", old)) or successor
    _LOG.info("token refreshed: client %s", client.client_id)
    return _answer(server, grant, scopes, successor)


async def _has_ended_upstream(server: AuthServer, grant: Grant) -> bool:
    """Whether the upstream token is known to be invalid; without this a client would refresh in a loop."""
    if grant.upstream is None or server.source is None:
        return grant.upstream is None
    try:
        return await server.source.current(grant) is None
    except UpstreamError:
        return False  # the upstream could not be asked, and may take it again


def _narrowed(grant: Grant, requested: str | None) -> tuple[str, ...]:
    scopes = scopes_in(requested or "")
    if not scopes:
        return grant.scopes
    if not set(scopes) <= set(grant.scopes):
        raise OAuthError("invalid_scope", "A refresh cannot widen the scope")
    return scopes


def _may_refresh(client: Client, grant: Grant) -> bool:
    return "offline_access" in grant.scopes and "refresh_token" in client.grant_types


def _answer(server: AuthServer, grant: Grant, scopes: tuple[str, ...], refresh_token: str | None) -> Response:
    answer: dict[str, object] = {
        "access_token": server.tokens.issue(grant, scopes),
        "token_type": "Bearer",
        "expires_in": server.config.access_seconds,
        "scope": " ".join(scopes),
    }
    if refresh_token:
        answer["refresh_token"] = refresh_token
    now = server.clock()
    with server.store.together():
        server.store.extend_grant(grant.tsid, now + server.config.access_seconds)
        server.store.use_client(grant.client_id, now)
    return private_json(answer)


async def revoke(server: AuthServer, request: Request) -> Response:
    """Answers 200 for a token it does not know, or of another client, too: nothing is learned from it."""
    fields = await form_parameters(request, seconds=server.patience.body)
    client = _authenticated(server, request, fields)
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
