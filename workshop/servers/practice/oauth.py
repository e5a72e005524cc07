"""The OAuth app's endpoints: the page where a person allows access, and the token endpoint.

They follow GitHub's rules: a redirect URI may be below the callback URL; the token endpoint answers errors
with 200 too, and with a form unless JSON is requested. Source: docs.github.com, "Authorizing OAuth apps",
"Troubleshooting authorization request errors", "Troubleshooting OAuth app access token request errors".
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote_plus, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from workshop.core.errors import UsageError
from workshop.servers.practice import web
from workshop.servers.practice.catalog import NotFoundError, User
from workshop.servers.practice.faults import REFUSAL
from workshop.servers.practice.recorder import USER
from workshop.servers.practice.state import PracticeState
from workshop.servers.practice.tokens import SCOPES, AuthorizationRequest, matches_challenge, parse_scopes
from workshop.servers.practice.web import read_form

BROWSER_COOKIE: Final = "practice_browser"
SESSION_COOKIE: Final = "practice_session"
_CHALLENGE_LENGTH = 43
_AUTHORIZATION_ERRORS = "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-authorization-request-errors"
_AUTHORIZATION_DESCRIPTIONS = {
    "access_denied": "The user has denied your application access.",
    "redirect_uri_mismatch": "The redirect_uri does not match the registered callback URL.",
    "application_suspended": "Your application has been suspended.",
}


@dataclass(frozen=True)
class AuthorizePage:
    """`/login/oauth/authorize`: GET shows the consent page, POST sends the person's choice."""

    state: PracticeState

    def routes(self) -> list[Route]:
        path = "/login/oauth/authorize"
        return [Route(path, self.show, methods=["GET"]), Route(path, self.decide, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """The consent page, an error for the app, or a code at once if the page may be skipped."""
        query = request.query_params
        if not _same(query.get("client_id", ""), self.state.config.client_id):
            return self._message(
                "Unknown app", "The practice GitHub has no app with this client_id.", status=404
            )
        browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
        # With a wrong redirect URI, it has the app's own: errors never go to a foreign address.
        asked = self._asked(request, browser)
        if code := request.scope.get(REFUSAL):
            return _redirect_error(asked, code, _AUTHORIZATION_DESCRIPTIONS[code])
        if problem := self._problem(request, asked):
            return _redirect_error(asked, *problem)
        login = self.state.authorizations.signed_in(request.cookies.get(SESSION_COOKIE, ""))
        if login and self._may_skip(login, asked, query.get("prompt")):
            return self._redirect_code(login, asked)
        choices = self._choices(query.get("login", ""))
        if len(choices) == 1:
            request.scope[USER] = choices[0].login
        response = self._page(request, asked, choices)
        _set_cookie(response, BROWSER_COOKIE, browser)
        return response

    async def decide(self, request: Request) -> Response:
        """Send the browser back to the app with a code, or with `access_denied`."""
        try:
            form = await read_form(request)
        except UsageError as error:
            return self._message("This form cannot be read", error.what, status=400)
        browser = request.cookies.get(BROWSER_COOKIE, "")
        asked = self.state.authorizations.asked(form.get("authenticity_token", ""), browser)
        if asked is None:
            why = "It was used already, is older than ten minutes, or belongs to another browser."
            return self._message("This form is no longer valid", why, status=403)
        if form.get("user") == "deny":
            return _redirect_error(asked, "access_denied", _AUTHORIZATION_DESCRIPTIONS["access_denied"])
        try:
            user = self.state.catalog.user(form.get("user", ""))
        except NotFoundError:
            user = None
        if user is None or user not in self.state.people:
            return self._message("Unknown practice user", "Choose one of the buttons.", status=400)
        # The request has no token, so the recorder cannot find out whom it concerns.
        login = request.scope[USER] = self.state.acting(request, user.login)
        response = self._redirect_code(login, asked)
        _set_cookie(response, SESSION_COOKIE, self.state.authorizations.sign_in(login))
        return response

    def _message(self, title: str, text: str, *, status: int) -> Response:
        return web.message(title, text, status=status, hop=self.state.config.hop)

    def _asked(self, request: Request, browser: str) -> AuthorizationRequest:
        query = request.query_params
        callback = self.state.config.callback_url
        redirect_uri = query.get("redirect_uri") or callback
        return AuthorizationRequest(
            client_id=self.state.config.client_id,
            redirect_uri=redirect_uri if accepts_redirect(callback, redirect_uri) else callback,
            scopes=parse_scopes(query.get("scope", "")),
            state=query.get("state"),
            code_challenge=query.get("code_challenge"),
            browser=browser,
        )

    def _problem(self, request: Request, asked: AuthorizationRequest) -> tuple[str, str] | None:
        query = request.query_params
        if (query.get("redirect_uri") or asked.redirect_uri) != asked.redirect_uri:
            return "redirect_uri_mismatch", _AUTHORIZATION_DESCRIPTIONS["redirect_uri_mismatch"]
        challenge, method = asked.code_challenge, query.get("code_challenge_method")
        # PKCE is optional at GitHub, but with S256 only.
        if (challenge or method) and (method != "S256" or len(challenge or "") != _CHALLENGE_LENGTH):
            return (
                "invalid_request",
                "PKCE needs code_challenge_method=S256 and a code_challenge of 43 characters.",
            )
        return None

    def _may_skip(self, login: str, asked: AuthorizationRequest, prompt: str | None) -> bool:
        # `prompt=select_account` shows the page in any case, as at GitHub.
        wanted = self.state.skip_consent and prompt is None
        return wanted and self.state.authorizations.has_approved(login, asked)

    def _redirect_code(self, login: str, asked: AuthorizationRequest) -> Response:
        code = self.state.authorizations.approve(login, asked)
        return _redirect(asked, {"code": code})

    def _choices(self, named: str) -> Sequence[User]:
        """The users with a button: with seats, only the seat's own if the app names it in `login`."""
        people = self.state.people
        own = [user for user in people if user.login == named] if self.state.config.seats else []
        return own or people

    def _page(self, request: Request, asked: AuthorizationRequest, choices: Sequence[User]) -> Response:
        return web.render(
            "authorize.html",
            app_name=self.state.config.app_name,
            users=choices,
            seats=self.state.config.seats,
            suggested=request.query_params.get("login", ""),
            scopes=[(scope, SCOPES[scope]) for scope in asked.scopes],
            redirect_uri=asked.redirect_uri,
            redirect_host=urlsplit(asked.redirect_uri).netloc,
            authenticity_token=self.state.authorizations.ask(asked),
            hop=self.state.config.hop,
        )


def _redirect(asked: AuthorizationRequest, parameters: dict[str, str]) -> Response:
    state = {} if asked.state is None else {"state": asked.state}
    response = RedirectResponse(with_parameters(asked.redirect_uri, {**parameters, **state}), 302)
    response.headers["Cache-Control"] = "no-store"
    return response


def _redirect_error(asked: AuthorizationRequest, error: str, description: str) -> Response:
    page = f"{_AUTHORIZATION_ERRORS}#{error.replace('_', '-')}"
    return _redirect(asked, {"error": error, "error_description": description, "error_uri": page})


def _set_cookie(response: Response, name: str, value: str) -> None:
    # Without Secure, because it is served over plain http on loopback.
    response.set_cookie(name, value, path="/login", httponly=True, samesite="lax")


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


_EXCHANGE_ERRORS = (
    "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/"
    "troubleshooting-oauth-app-access-token-request-errors"
)
_DESCRIPTIONS = {
    "incorrect_client_credentials": "The client_id or the client_secret is wrong.",
    "redirect_uri_mismatch": "The redirect_uri does not match the registered callback URL.",
    "bad_verification_code": "The code is wrong, was used already, or has expired.",
    "unverified_user_email": "The user must have a verified primary email.",
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
            # GitHub accepts the parameters in the query as well.
            form = dict(request.query_params) | await read_form(request)
        except UsageError as error:
            return JSONResponse(
                {"error": "invalid_request", "error_description": error.what}, status_code=400
            )
        # Before the code is redeemed: without the app's secret, nobody can use it up.
        if problem := self._refused(request, form):
            return _token_response(request, _token_error(problem))
        # Redeemed before it is checked: after a wrong verifier, the code cannot be tried again.
        grant = self.state.authorizations.redeem(form.get("code", ""))
        if grant is None or not matches_challenge(grant.request.code_challenge, form.get("code_verifier")):
            return _token_response(request, _token_error("bad_verification_code"))
        if form.get("redirect_uri") not in (None, "", grant.request.redirect_uri):
            return _token_response(request, _token_error("redirect_uri_mismatch"))
        login = request.scope[USER] = self.state.acting(request, grant.login)
        token = self.state.tokens.issue(login, grant.request.scopes)
        # GitHub separates granted scopes with commas, unlike RFC 6749 section 3.3.
        scope = ",".join(grant.request.scopes)
        return _token_response(request, {"access_token": token, "scope": scope, "token_type": "bearer"})

    def _refused(self, request: Request, form: dict[str, str]) -> str | None:
        if code := request.scope.get(REFUSAL):
            return str(code)
        client_id, client_secret = _client_credentials(request, form)
        config = self.state.config
        # Both are always compared: the time of the answer does not show which one is wrong.
        known = (_same(client_id, config.client_id), _same(client_secret, config.client_secret))
        if not all(known):
            return "incorrect_client_credentials"
        if form.get("grant_type", "authorization_code") != "authorization_code":
            return "unsupported_grant_type"
        redirect_uri = form.get("redirect_uri")
        if redirect_uri and not accepts_redirect(config.callback_url, redirect_uri):
            return "redirect_uri_mismatch"
        return None


def _client_credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        identity, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    # Both are form-encoded before they are joined (RFC 6749 section 2.3.1).
    return unquote_plus(identity), unquote_plus(secret)


def _token_error(code: str) -> dict[str, str]:
    page = f"{_EXCHANGE_ERRORS}#{code.replace('_', '-')}"
    return {"error": code, "error_description": _DESCRIPTIONS[code], "error_uri": page}


def _token_response(request: Request, body: dict[str, str]) -> Response:
    headers = {"Cache-Control": "no-store"}
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(body, headers=headers)
    return Response(urlencode(body), media_type="application/x-www-form-urlencoded", headers=headers)


_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def accepts_redirect(callback_url: str, redirect_uri: str) -> bool:
    """Same scheme and host (or a subdomain), same port unless loopback, same path or one below it."""
    try:
        wanted, asked = urlsplit(callback_url), urlsplit(redirect_uri)
        same_port = _port(wanted) == _port(asked)
    except ValueError:
        return False
    if asked.fragment or asked.username is not None or asked.scheme != wanted.scheme:
        return False
    return _same_host(wanted, asked, same_port=same_port) and _below(wanted.path, asked.path)


def with_parameters(uri: str, parameters: dict[str, str]) -> str:
    """The URI with `parameters` added to its query."""
    parts = urlsplit(uri)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))


def _same_host(wanted: SplitResult, asked: SplitResult, *, same_port: bool) -> bool:
    registered, given = (wanted.hostname or "").lower(), (asked.hostname or "").lower()
    if registered in _LOOPBACK:  # with any port: a native app listens on a free one (RFC 8252 section 7.3)
        return given == registered
    return same_port and (given == registered or given.endswith(f".{registered}"))


def _below(wanted: str, asked: str) -> bool:
    # A browser resolves dots, and reads a backslash as a slash (URL standard): the path could leave the root.
    if {".", ".."} & set(asked.split("/")) or "%" in asked or "\\" in asked:
        return False
    root = wanted.rstrip("/")
    return asked.rstrip("/") == root or asked.startswith(f"{root}/")


def _port(url: SplitResult) -> int:
    return url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
