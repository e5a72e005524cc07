"""The sign-in page, and the practice users behind it. It redirects only to our own callback.

It is shown only in the browser that approved the client, for the sign-in that waits for it: the state,
unguessable and tied to that browser's cookie, is what protects its form.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth import (
    PageError,
    Parameters,
    UpstreamError,
    Vault,
    form_page,
    form_parameters,
    query_parameters,
    redirect,
    refuse_other_sites,
    s256,
    same_secret,
)
from workshop.auth.browser import check_browser, template_in
from workshop.auth.config import CALLBACK_PATH
from workshop.auth.limits import Clock
from workshop.auth.server import AuthServer
from workshop.auth.store import Grant, Identity, PendingSignIn, UpstreamTokens
from workshop.auth.upstream import Trouble
from workshop.servers.practice.data import User

_CODE = "sign-in code"
_CODE_SECONDS = 60.0


class PracticePeople:
    """Replaces an upstream; a user's only "upstream token" is the login name."""

    name = "The practice identity provider"
    identity_source = "practice users"

    def __init__(self, users: Mapping[str, User], vault: Vault, clock: Clock) -> None:
        self.users = users
        self._vault = vault
        self._clock = clock

    def request(self, state: str, verifier: str) -> dict[str, str | None]:
        """The sign-in page needs to know which sign-in it is for, and nothing else."""
        del verifier
        return {"state": state}

    def code(self, user: User, verifier: str) -> str:
        """That `user` signed in, for the pending sign-in that has this verifier."""
        signed = {
            "user": user.login,
            "challenge": s256(verifier),
            "expires": self._clock() + _CODE_SECONDS,
        }
        return self._vault.seal(json.dumps(signed).encode(), _CODE).hex()

    async def exchange(self, code: str, verifier: str) -> UpstreamTokens:
        """Raises UpstreamError for a code of another sign-in, or one that is too old."""
        try:
            plain = self._vault.unseal(bytes.fromhex(code), _CODE)
        except ValueError:
            plain = None
        signed = json.loads(plain) if plain else {}
        if (
            not signed
            or not same_secret(signed["challenge"], s256(verifier))
            or signed["expires"] <= self._clock()
        ):
            raise UpstreamError(Trouble.REFUSED)
        return UpstreamTokens(signed["user"], None, None)

    async def identity(self, tokens: UpstreamTokens) -> Identity:
        """Raises UpstreamError for a user who no longer exists."""
        user = self.users.get(tokens.access_token)
        if user is None:
            raise UpstreamError(Trouble.REFUSED)
        return Identity(str(user.id), user.name, user.email)


def username_claim(grant: Grant) -> dict[str, Any]:
    """`preferred_username` (OpenID Connect Core section 5.1), by which a resource greets and logs people."""
    return {"preferred_username": grant.upstream.access_token} if grant.upstream else {}


_TEMPLATE = template_in(Path(__file__).with_name("login.html"))


class LoginPage:
    """Shows the page, and accepts the choice of a user."""

    def __init__(self, people: PracticePeople) -> None:
        self._people = people

    async def __call__(self, server: AuthServer, request: Request) -> Response:
        if request.method == "POST":
            return await self._answer(server, request)
        state, _ = _waiting(server, request, query_parameters(request))
        users = [(user.login, user.name) for user in self._people.users.values()]
        return form_page(_TEMPLATE, state=state, users=users, hop=server.sign_in_hop)

    async def _answer(self, server: AuthServer, request: Request) -> Response:
        fields = await form_parameters(request, seconds=server.patience.body)
        refuse_other_sites(request, server.config.issuer)
        state, pending = _waiting(server, request, fields)
        callback = server.url(CALLBACK_PATH)
        if fields.get("decision") == "deny":
            return redirect(callback, {"error": "access_denied", "state": state})
        user = self._people.users.get(fields.get("user") or "")
        if user is None:
            raise PageError("Unknown practice user", "Go back and choose one of the buttons.")
        return redirect(callback, {"code": self._people.code(user, pending.verifier), "state": state})


def _waiting(server: AuthServer, request: Request, sent: Parameters | None) -> tuple[str, PendingSignIn]:
    state = sent.get("state") if sent else None
    pending = server.store.pending(state, server.clock()) if state else None
    if state is None or pending is None:
        raise PageError(
            "No sign-in is waiting for this page",
            "It is already complete, or it took longer than ten minutes.",
        )
    check_browser(server, request, pending)
    return state, pending
