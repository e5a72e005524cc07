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
from workshop.core.foreign import one_line


@dataclass(frozen=True)
class SignedOut:
    """What became of one login; `ended` when none of its tokens works any more."""

    issuer: str
    resource: str
    ended: bool
    forgotten: bool
    told: str


@dataclass(frozen=True)
class _Answer:
    """Whether a token is dead at the server, and how we know, or why not."""

    dead: bool
    told: str


async def sign_out(store: TokenStore, logins: Sequence[Login], *, forget: bool) -> list[SignedOut]:
    """End these logins, one after the other; `forget` drops one that could not be revoked, too.

    The store is locked meanwhile, so that no other run refreshes what is being revoked. Raises DeadlineError
    when it stays locked.
    """
    async with store.lock(), open_client(OAUTH_SECONDS) as http:
        return [await _sign_out(store, login, http, forget=forget) for login in logins]


async def _sign_out(store: TokenStore, listed: Login, http: httpx2.AsyncClient, *, forget: bool) -> SignedOut:
    login = store.get(listed.issuer, listed.resource)  # another run may have refreshed it since
    if login is None:
        return SignedOut(
            listed.issuer, listed.resource, ended=False, forgotten=True, told="It was gone already"
        )
    answer = await _revoke(login, http)
    gone = answer.dead or forget
    if gone:
        store.remove(login)
    told = answer.told if answer.dead or not gone else f"{answer.told}. Forgotten here all the same"
    return SignedOut(login.issuer, login.resource, ended=answer.dead, forgotten=gone, told=told)


async def _revoke(login: Login, http: httpx2.AsyncClient) -> _Answer:
    """The refresh token first: while it lives, the others can be replaced."""
    if login.tokens is None:
        return _Answer(dead=True, told="No token was stored")
    refresh, access = login.tokens.refresh_token, login.tokens.access_token
    if refresh is None:
        return await _revoke_token(login, access, "access_token", http)
    answer = await _revoke_token(login, refresh, "refresh_token", http)
    if not answer.dead:
        return answer
    rest = await _revoke_token(login, access, "access_token", http)
    if rest.dead:
        return answer
    return _Answer(dead=True, told="The refresh token is revoked; the access token works until it expires")


async def _revoke_token(login: Login, token: str, kind: str, http: httpx2.AsyncClient) -> _Answer:
    endpoint = login.authorization_server.revocation_endpoint
    if endpoint is None:
        return _Answer(dead=False, told="The authorization server has no revocation endpoint")
    fields, headers = _credentials(login.client)
    fields |= {"token": token, "token_type_hint": kind}
    try:
        check_address(str(endpoint), login.resource)
        request = http.build_request("POST", str(endpoint), data=fields, headers=headers)
        response = await send_bounded(http, request)
    except WorkshopError as error:
        return _Answer(dead=False, told=f"{error.what}: {error.why}")
    except (TimeoutError, httpx2.TimeoutException):
        return _Answer(dead=False, told="The authorization server does not answer")
    except httpx2.HTTPError as error:
        return _Answer(
            dead=False, told=f"The authorization server cannot be reached: {one_line(str(error), 200)}"
        )
    return _judge(response, public=not login.client.client_secret)


def _judge(response: httpx2.Response, *, public: bool) -> _Answer:
    """200 also means a token that was not valid any more (RFC 7009 section 2.2)."""
    if response.status_code == httpx2.codes.OK:
        return _Answer(dead=True, told="Revoked")
    error = oauth_error(response)
    if error == "invalid_client" and public:
        # Not a wrong secret, there is none: the server has lost the client, and its tokens with it.
        return _Answer(dead=True, told="The authorization server has forgotten this client and its tokens")
    said = f"{response.status_code} {error}".strip()
    return _Answer(dead=False, told=f"The authorization server did not revoke it: {said}")


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
