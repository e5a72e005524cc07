"""Ending a login: revoke its tokens where they were issued (RFC 7009), then forget it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import httpx2
from mcp.shared.auth import OAuthClientInformationFull

from workshop.agent.http import open_client
from workshop.agent.oauth_checks import OAUTH_SECONDS, check_address, oauth_error, send_bounded
from workshop.agent.token_store import Login, TokenStore
from workshop.core.errors import WorkshopError
from workshop.core.text import one_line


@dataclass(frozen=True)
class SignedOut:
    """The outcome for one login; `ended` if no token of it works any more, `told` is a sentence about it."""

    issuer: str
    resource: str
    ended: bool
    forgotten: bool
    told: str


@dataclass(frozen=True)
class _Answer:
    """Whether a token no longer works at the server, and a sentence about how that is known, or why not."""

    dead: bool
    detail: str


async def sign_out(store: TokenStore, logins: Sequence[Login], *, forget: bool) -> list[SignedOut]:
    """End these logins, one after the other; `forget` also drops a login that could not be revoked.

    The store is locked meanwhile, so that no other run refreshes a token that is being revoked. Raises
    DeadlineError if the store remains locked by another run.
    """
    async with store.lock(), open_client(OAUTH_SECONDS) as http:
        return [await _sign_out(store, login, http, forget=forget) for login in logins]


async def _sign_out(store: TokenStore, listed: Login, http: httpx2.AsyncClient, *, forget: bool) -> SignedOut:
    login = store.get(listed.issuer, listed.resource)  # another run may have refreshed it since
    if login is None:
        return SignedOut(
            listed.issuer, listed.resource, ended=False, forgotten=True, told="It no longer existed"
        )
    answer = await _revoke(login, http)
    gone = answer.dead or forget
    if gone:
        store.remove(login)
    detail = answer.detail if answer.dead or not gone else f"{answer.detail}. Forgotten here anyway"
    return SignedOut(login.issuer, login.resource, ended=answer.dead, forgotten=gone, told=detail)


async def _revoke(login: Login, http: httpx2.AsyncClient) -> _Answer:
    """Revoke the refresh token first: while it works, it can be exchanged for new access tokens."""
    if login.tokens is None:
        return _Answer(dead=True, detail="No token was stored")
    refresh, access = login.tokens.refresh_token, login.tokens.access_token
    if refresh is None:
        return await _revoke_token(login, access, "access_token", http)
    answer = await _revoke_token(login, refresh, "refresh_token", http)
    if not answer.dead:
        return answer
    rest = await _revoke_token(login, access, "access_token", http)
    if rest.dead:
        return answer
    return _Answer(dead=True, detail="The refresh token is revoked; the access token works until it expires")


async def _revoke_token(login: Login, token: str, kind: str, http: httpx2.AsyncClient) -> _Answer:
    endpoint = login.authorization_server.revocation_endpoint
    if endpoint is None:
        return _Answer(dead=False, detail="The authorization server has no revocation endpoint")
    fields, headers = _credentials(login.client)
    fields |= {"token": token, "token_type_hint": kind}
    try:
        check_address(str(endpoint), login.resource)
        request = http.build_request("POST", str(endpoint), data=fields, headers=headers)
        response = await send_bounded(http, request)
    except WorkshopError as error:
        return _Answer(dead=False, detail=f"{error.what}: {error.why}")
    except (TimeoutError, httpx2.TimeoutException):
        return _Answer(dead=False, detail="The authorization server does not answer")
    except httpx2.HTTPError as error:
        return _Answer(
            dead=False, detail=f"The authorization server cannot be reached: {one_line(str(error), 200)}"
        )
    return _judge(response, public=not login.client.client_secret)


def _judge(response: httpx2.Response, *, public: bool) -> _Answer:
    """200 also means a token that was not valid any more (RFC 7009 section 2.2)."""
    if response.status_code == httpx2.codes.OK:
        return _Answer(dead=True, detail="Revoked")
    error = oauth_error(response)
    if error == "invalid_client" and public:
        # Not a wrong secret, there is none: the server has lost the client, and its tokens with it.
        return _Answer(dead=True, detail="The authorization server has forgotten this client and its tokens")
    said = f"{response.status_code} {error}".strip()
    return _Answer(dead=False, detail=f"The authorization server did not revoke it: {said}")


def _credentials(client: OAuthClientInformationFull) -> tuple[dict[str, str], dict[str, str]]:
    """Form fields and headers by which a client shows who it is (RFC 6749 section 2.3)."""
    identified = {"client_id": str(client.client_id)}
    method, secret = client.token_endpoint_auth_method, client.client_secret
    if not secret or method == "none":
        return identified, {}
    if method == "client_secret_basic":
        pair = f"{quote(identified['client_id'], safe='')}:{quote(secret, safe='')}"
        return {}, {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {**identified, "client_secret": secret}, {}
