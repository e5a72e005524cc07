"""The page where a person allows the app to act for them.

Source: docs.github.com, "Authorizing OAuth apps" and "Troubleshooting authorization request errors".
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from workshop.core.errors import UsageError
from workshop.servers.practice import pages, redirects, scopes
from workshop.servers.practice.authorizations import AuthorizationRequest
from workshop.servers.practice.bodies import read_form
from workshop.servers.practice.catalog import NotFoundError
from workshop.servers.practice.state import PracticeState

BROWSER_COOKIE: Final = "practice_browser"
SESSION_COOKIE: Final = "practice_session"
_CHALLENGE_LENGTH = 43
_ERROR_PAGES = "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-authorization-request-errors"


@dataclass(frozen=True)
class AuthorizePage:
    """`/login/oauth/authorize`: GET shows who may be continued as, POST carries the choice."""

    state: PracticeState

    def routes(self) -> list[Route]:
        path = "/login/oauth/authorize"
        return [Route(path, self.show, methods=["GET"]), Route(path, self.decide, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """The page, an error for the app, or at once a code when the page may be skipped."""
        query = request.query_params
        if not _same(query.get("client_id", ""), self.state.config.client_id):
            return pages.message(
                "There is no such app", "The practice GitHub does not know this client_id.", status=404
            )
        browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
        asked = self._asked(request, browser)
        if problem := self._problem(request, asked):
            return _redirect_error(asked, *problem)
        login = self.state.authorizations.signed_in(request.cookies.get(SESSION_COOKIE, ""))
        if login and self._may_skip(login, asked, query.get("prompt")):
            return self._redirect_code(login, asked)
        response = self._page(request, asked)
        _set_cookie(response, BROWSER_COOKIE, browser)
        return response

    async def decide(self, request: Request) -> Response:
        """Send the browser back to the app with a code, or with `access_denied`."""
        try:
            form = await read_form(request)
        except UsageError as error:
            return pages.message("This form cannot be read", error.what, status=400)
        browser = request.cookies.get(BROWSER_COOKIE, "")
        asked = self.state.authorizations.asked(form.get("authenticity_token", ""), browser)
        if asked is None:
            why = "It was used already, is older than ten minutes, or belongs to another browser."
            return pages.message("This form is no longer valid", why, status=403)
        if form.get("user") == "deny":
            return _redirect_error(asked, "access_denied", "The user has denied your application access.")
        try:
            login = self.state.acting(request, self.state.catalog.user(form.get("user", "")).login)
        except NotFoundError:
            return pages.message("There is no such practice user", "Choose one of the buttons.", status=400)
        response = self._redirect_code(login, asked)
        _set_cookie(response, SESSION_COOKIE, self.state.authorizations.sign_in(login))
        return response

    def _asked(self, request: Request, browser: str) -> AuthorizationRequest:
        query = request.query_params
        callback = self.state.config.callback_url
        redirect_uri = query.get("redirect_uri") or callback
        return AuthorizationRequest(
            client_id=self.state.config.client_id,
            redirect_uri=redirect_uri if redirects.accepts(callback, redirect_uri) else callback,
            scopes=scopes.parse(query.get("scope", "")),
            state=query.get("state"),
            code_challenge=query.get("code_challenge"),
            browser=browser,
        )

    def _problem(self, request: Request, asked: AuthorizationRequest) -> tuple[str, str] | None:
        query = request.query_params
        if (query.get("redirect_uri") or asked.redirect_uri) != asked.redirect_uri:
            return "redirect_uri_mismatch", "The redirect_uri does not match the registered callback URL."
        challenge, method = asked.code_challenge, query.get("code_challenge_method")
        if (challenge or method) and (method != "S256" or len(challenge or "") != _CHALLENGE_LENGTH):
            return (
                "invalid_request",
                "PKCE needs code_challenge_method=S256 and a code_challenge of 43 characters.",
            )
        return None

    def _may_skip(self, login: str, asked: AuthorizationRequest, prompt: str | None) -> bool:
        wanted = self.state.skip_consent and prompt is None
        return wanted and self.state.authorizations.has_approved(login, asked)

    def _redirect_code(self, login: str, asked: AuthorizationRequest) -> Response:
        code = self.state.authorizations.approve(login, asked)
        return _redirect(asked, {"code": code})

    def _page(self, request: Request, asked: AuthorizationRequest) -> Response:
        return pages.render(
            "authorize.html",
            app_name=self.state.config.app_name,
            users=self.state.catalog.users,
            suggested=request.query_params.get("login", ""),
            scopes=[(scope, scopes.KNOWN[scope]) for scope in asked.scopes],
            redirect_uri=asked.redirect_uri,
            redirect_host=urlsplit(asked.redirect_uri).netloc,
            authenticity_token=self.state.authorizations.ask(asked),
        )


def _redirect(asked: AuthorizationRequest, parameters: dict[str, str]) -> Response:
    state = {} if asked.state is None else {"state": asked.state}
    response = RedirectResponse(redirects.with_parameters(asked.redirect_uri, {**parameters, **state}), 302)
    response.headers["Cache-Control"] = "no-store"
    return response


def _redirect_error(asked: AuthorizationRequest, error: str, description: str) -> Response:
    page = f"{_ERROR_PAGES}#{error.replace('_', '-')}"
    return _redirect(asked, {"error": error, "error_description": description, "error_uri": page})


def _set_cookie(response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, path="/login", httponly=True, samesite="lax")


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
