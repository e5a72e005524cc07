"""The practice users as the authorization server sees them: where another one would ask its upstream.

What the sign-in page hands to the callback is sealed and good for one minute, together with the secret of the
one pending sign-in it was made for, which is given out once: so it is good once.
"""

import json
from collections.abc import Mapping
from typing import Any

from workshop.auth.limits import Clock
from workshop.auth.records import Grant, Identity, UpstreamTokens
from workshop.auth.upstream import Trouble, UpstreamError
from workshop.auth.vault import Vault, s256, same
from workshop.servers.practice.data import User

_CODE = "sign-in code"
_CODE_SECONDS = 60.0


class PracticePeople:
    """Takes the place of an upstream; a user's only "upstream token" is the login name."""

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
        if not signed or not same(signed["challenge"], s256(verifier)) or signed["expires"] <= self._clock():
            raise UpstreamError(Trouble.REFUSED)
        return UpstreamTokens(signed["user"], None, None)

    async def identity(self, tokens: UpstreamTokens) -> Identity:
        """Raises UpstreamError for somebody who is no practice user any more."""
        user = self.users.get(tokens.access_token)
        if user is None:
            raise UpstreamError(Trouble.REFUSED)
        return Identity(str(user.id), user.name, user.email)


def username_claim(grant: Grant) -> dict[str, Any]:
    """`preferred_username` (OpenID Connect Core section 5.1), by which a resource greets and logs people."""
    return {"preferred_username": grant.upstream.access_token} if grant.upstream else {}
