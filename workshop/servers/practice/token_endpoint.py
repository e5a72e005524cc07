"""The token endpoint: HTTP 200 even for errors, a form unless JSON is asked for, scopes with commas.

Source: docs.github.com, "Authorizing OAuth apps" and "Troubleshooting OAuth app access token request errors".
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workshop.core.errors import UsageError
from workshop.servers.practice import redirects
from workshop.servers.practice.authorizations import AuthorizationRequest, matches_challenge
from workshop.servers.practice.bodies import read_form
from workshop.servers.practice.state import PracticeState

_ERROR_PAGES = (
    "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/"
    "troubleshooting-oauth-app-access-token-request-errors"
)
_DESCRIPTIONS = {
    "incorrect_client_credentials": "The client_id or the client_secret is wrong.",
    "redirect_uri_mismatch": "The redirect_uri does not match the registered callback URL.",
    "bad_verification_code": "The code is wrong, was used already, or has expired.",
    "unsupported_grant_type": "Only authorization_code is supported: an OAuth app has no refresh tokens.",
}


@dataclass(frozen=True)
class TokenEndpoint:
    """`POST /login/oauth/access_token`."""

    state: PracticeState

    def routes(self) -> list[Route]:
        return [Route("/login/oauth/access_token", self.exchange, methods=["POST"])]

    async def exchange(self, request: Request) -> Response:
        """Turn a code into an access token that never expires and has no refresh token."""
        try:
            form = dict(request.query_params) | await read_form(request)
        except UsageError as error:
            return JSONResponse(
                {"error": "invalid_request", "error_description": error.what}, status_code=400
            )
        if problem := self._refused(request, form):
            return _answer(request, _error(problem))
        grant = self.state.authorizations.redeem(form.get("code", ""))
        if grant is None or not matches_challenge(grant.request.code_challenge, form.get("code_verifier")):
            return _answer(request, _error("bad_verification_code"))
        if not self._same_redirect(grant.request, form.get("redirect_uri")):
            return _answer(request, _error("redirect_uri_mismatch"))
        login = self.state.acting(request, grant.login)
        token = self.state.tokens.issue(login, grant.request.scopes)
        scope = ",".join(grant.request.scopes)
        return _answer(request, {"access_token": token, "scope": scope, "token_type": "bearer"})

    def _refused(self, request: Request, form: dict[str, str]) -> str | None:
        client_id, client_secret = _client_credentials(request, form)
        config = self.state.config
        known = (_same(client_id, config.client_id), _same(client_secret, config.client_secret))
        if not all(known):
            return "incorrect_client_credentials"
        if form.get("grant_type", "authorization_code") != "authorization_code":
            return "unsupported_grant_type"
        redirect_uri = form.get("redirect_uri")
        if redirect_uri and not redirects.accepts(config.callback_url, redirect_uri):
            return "redirect_uri_mismatch"
        return None

    @staticmethod
    def _same_redirect(asked: AuthorizationRequest, redirect_uri: str | None) -> bool:
        return not redirect_uri or redirect_uri == asked.redirect_uri


def _client_credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        identity, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(identity), unquote_plus(secret)


def _error(code: str) -> dict[str, str]:
    page = f"{_ERROR_PAGES}#{code.replace('_', '-')}"
    return {"error": code, "error_description": _DESCRIPTIONS[code], "error_uri": page}


def _answer(request: Request, body: dict[str, str]) -> Response:
    headers = {"Cache-Control": "no-store"}
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(body, headers=headers)
    return Response(urlencode(body), media_type="application/x-www-form-urlencoded", headers=headers)


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
