"""Access tokens: JWTs (RFC 9068) signed with our key, accepted only exactly as we make them."""

import hashlib
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from workshop.auth.config import Auth
from workshop.auth.keys import SigningKey
from workshop.auth.limits import CLOCK_LEEWAY, Clock
from workshop.auth.store import Grant
from workshop.core.encoding import jwt_header

_TYPE = "at+jwt"
_LONGEST = 8 * 1024
_SHAPE = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_NEVER = 10**12
"""Seconds since the epoch that no token can mean: JSON has numbers that are not a time anywhere."""
# Verifying a signature takes longer than everything else that is checked of a token.
_CACHE_SECONDS = 60.0
_CACHE_SIZE = 10_000
ClaimsOf = Callable[[Grant], Mapping[str, Any]]


@dataclass(frozen=True)
class Claims:
    """The claims the gateway acts on."""

    tsid: str
    sub: str
    client_id: str
    scopes: tuple[str, ...]
    issued: float
    expires: float


class AccessTokens:
    """Signs with the first key and verifies with all of them; a verified token is remembered for a minute.

    Whether its grant still exists is not decided here: the caller asks the store each time.
    """

    def __init__(self, config: Auth, clock: Clock, more: ClaimsOf = lambda _: {}) -> None:
        """`more` gives claims that ToolHive's tokens do not have."""
        self._config = config
        self._more = more
        self._clock = clock
        self._audiences = [[resource] for resource in config.resources]
        self._keys = {key.kid: key for key in config.signing_keys}
        self._verified: OrderedDict[bytes, tuple[Claims, float]] = OrderedDict()

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.public_jwk() for key in self._config.signing_keys]}

    def issue(self, grant: Grant, scopes: tuple[str, ...]) -> str:
        """A token for `grant`; the claims are ToolHive's, with `scope` (RFC 9068) beside its `scp`."""
        now = int(self._clock())
        claims: dict[str, Any] = {
            **self._more(grant),
            "iss": self._config.issuer,
            "sub": grant.sub,
            "aud": [grant.resource],
            "exp": now + self._config.access_seconds,
            "iat": now,
            "jti": str(uuid.uuid4()),
            "client_id": grant.client_id,
            "tsid": grant.tsid,
            "scp": list(scopes),
            "scope": " ".join(scopes),
        }
        if grant.name and "profile" in scopes:
            claims["name"] = grant.name
        if grant.email and "email" in scopes:
            claims["email"] = grant.email
        key = self._config.signing_keys[0]
        header = {"alg": key.algorithm, "typ": _TYPE, "kid": key.kid}
        token = jwt.encode(header, claims, key.key, algorithms=[key.algorithm])
        if (known := self._claims(claims)) is not None:
            self._remember(_name(token), known, now)  # our own signature need not be verified next
        return token

    def verify(self, token: str) -> Claims | None:
        """The claims of one of our tokens if it is valid now, else None."""
        now = self._clock()
        # Before the hash, because a stranger chooses the length.
        if len(token) > _LONGEST:
            return None
        name = _name(token)
        claims, until = self._verified.get(name, (None, 0.0))
        if claims is None or until <= now:
            claims = self._checked(token) if _SHAPE.fullmatch(token) else None
            if claims is None:
                return None
            self._remember(name, claims, now)
        # Also for a remembered token: it may expire within its minute.
        in_time = claims.issued - CLOCK_LEEWAY <= now < claims.expires
        return claims if in_time else None

    def _remember(self, name: bytes, claims: Claims, now: float) -> None:
        self._verified[name] = (claims, now + _CACHE_SECONDS)
        self._verified.move_to_end(name)
        if len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)

    def _checked(self, token: str) -> Claims | None:
        key = self._key_for(token)
        if key is None:
            return None
        try:
            values = jwt.decode(token, key.key, algorithms=[key.algorithm]).claims
        except (JoseError, ValueError, RecursionError):
            return None
        return self._claims(values)

    def _key_for(self, token: str) -> SigningKey | None:
        # The header must be the one we write: no crit, jku, x5u or jwk is ever looked at.
        header = jwt_header(token)
        kid = header.get("kid") if header else None
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None or header != {"alg": key.algorithm, "typ": _TYPE, "kid": key.kid}:
            return None
        return key

    def _claims(self, values: dict[str, Any]) -> Claims | None:
        texts = [values.get(name) for name in ("iss", "sub", "client_id", "tsid", "jti")]
        times = [values.get(name) for name in ("iat", "exp")]
        if not all(isinstance(text, str) and text for text in texts):
            return None
        # `type`, because JSON's true would pass `isinstance(…, int)`.
        if not all(type(time) is int and 0 <= time < _NEVER for time in times):
            return None
        if values["iss"] != self._config.issuer or values.get("aud") not in self._audiences:
            return None
        scopes = values.get("scp")
        # We never write `nbf`: a token that has it was made by another program.
        if "nbf" in values or not isinstance(scopes, list) or not all(isinstance(s, str) for s in scopes):
            return None
        return Claims(
            *(values["tsid"], values["sub"], values["client_id"], tuple(scopes)),
            *(float(values["iat"]), float(values["exp"])),
        )


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
