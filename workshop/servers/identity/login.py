"""The sign-in page: who are you? It leads to our own callback and nowhere else.

It is shown only in the browser that approved the client, for the sign-in that waits for it: the state,
unguessable and tied to that browser's cookie, is what protects its form.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.config_auth import CALLBACK_PATH
from workshop.auth.oauth_errors import PageError
from workshop.auth.pages import form_page, template_in
from workshop.auth.parameters import Parameters, form, query
from workshop.auth.records import PendingSignIn
from workshop.auth.responses import redirect
from workshop.auth.same_browser import check_browser, refuse_other_sites
from workshop.auth.server import AuthServer
from workshop.servers.identity.people import PracticePeople

_TEMPLATE = template_in(Path(__file__).with_name("login.html"))


class LoginPage:
    """Asks, and takes the answer."""

    def __init__(self, people: PracticePeople) -> None:
        self._people = people

    async def __call__(self, server: AuthServer, request: Request) -> Response:
        if request.method == "POST":
            return await self._answer(server, request)
        state, _ = _waiting(server, request, query(request))
        users = [(user.login, user.name) for user in self._people.users.values()]
        return form_page(_TEMPLATE, state=state, users=users)

    async def _answer(self, server: AuthServer, request: Request) -> Response:
        fields = await form(request, seconds=server.patience.body)
        refuse_other_sites(request, server.config.issuer)
        state, pending = _waiting(server, request, fields)
        callback = server.url(CALLBACK_PATH)
        if fields.get("decision") == "deny":
            return redirect(callback, {"error": "access_denied", "state": state})
        user = self._people.users.get(fields.get("user") or "")
        if user is None:
            raise PageError("Nobody has that name here", "Go back, and choose one of the practice users.")
        return redirect(callback, {"code": self._people.code(user, pending.verifier), "state": state})


def _waiting(server: AuthServer, request: Request, sent: Parameters | None) -> tuple[str, PendingSignIn]:
    state = sent.get("state") if sent else None
    pending = server.store.pending(state, server.clock()) if state else None
    if state is None or pending is None:
        raise PageError(
            "No sign-in waits for this page", "It was completed already, or it took longer than ten minutes."
        )
    check_browser(server, request, pending)
    return state, pending
