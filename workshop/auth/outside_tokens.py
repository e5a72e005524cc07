"""Access tokens of an external issuer: JSON Web Tokens (RFC 9068) that it signs and we only verify.

What RFC 9068 asks of an issuer is asked where it protects us: `iss`, `aud` and `exp` always, the header's
type so far that no token made for something else passes. Keycloak has `typ: JWT`, and `azp` for `client_id`.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from workshop.auth.config_reader import LOOPBACK_HOSTS, SCOPE, split_url
from workshop.auth.issuer_keys import ALGORITHMS, FetchedKeys, IssuerKeys, KeysUnavailableError, OnePublicKey
from workshop.auth.limits import CLOCK_LEEWAY, Clock
from workshop.auth.upstream import first_text
from workshop.core.encoding import jwt_header
from workshop.core.errors import UsageError

__all__ = ["Caller", "KeysUnavailableError", "OutsideIssuer", "OutsideTokens"]

_LONGEST = 8 * 1024
_SHAPE = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_NEVER = 1e12
_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})


@dataclass(frozen=True)
class OutsideIssuer:
    """Whose tokens are taken, and for whom they must have been made: `audience` is never optional.

    Exactly one of `jwks_uri` and `public_key` (PEM) leads to the keys. `authorization_servers` is for the
    metadata of the protected resource; left out, it is the issuer. `other_audiences` are those that a token
    may name beside `audience`. `requested_scopes` are those that clients request, where the provider names
    scopes otherwise than its tokens do, as Entra does; left out, they are `required_scopes`.
    """

    issuer: str
    audience: str
    jwks_uri: str | None = None
    public_key: str | None = field(default=None, repr=False)
    required_scopes: tuple[str, ...] = ()
    authorization_servers: tuple[str, ...] = ()
    other_audiences: tuple[str, ...] = ()
    requested_scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises UsageError."""
        if not self.issuer or not self.audience:
            raise _wrong("`issuer` and `audience` must both be given", "Name the resource the tokens are for")
        if (self.jwks_uri is None) == (self.public_key is None):
            raise _wrong("Exactly one of `jwks_uri` and `public_key` must be given")
        if self.jwks_uri is not None and not _is_safe(self.jwks_uri):
            raise _wrong("`jwks_uri` must be an https URL, or http on loopback", "Keys must not be replaced")
        for name in ("required_scopes", "requested_scopes"):
            if not all(SCOPE.fullmatch(scope) for scope in getattr(self, name)):
                raise _wrong(f"A scope of `{name}` has spaces, quotes or backslashes")
        if not self.requested_scopes:
            object.__setattr__(self, "requested_scopes", self.required_scopes)
        if not self.authorization_servers:
            object.__setattr__(self, "authorization_servers", (self.issuer,))


@dataclass(frozen=True)
class Caller:
    """Who a verified token speaks for; `subject` means something together with its issuer only."""

    subject: str
    client_id: str | None
    scopes: tuple[str, ...]
    expires: float
    name: str | None
    claims: Mapping[str, Any] = field(repr=False)


class OutsideTokens:
    """Verifies the tokens of one issuer; nothing is fetched before the first one comes."""

    def __init__(self, issuer: OutsideIssuer, clock: Clock = time.time) -> None:
        """Raises UsageError for an unusable public key."""
        self.issuer = issuer
        self._clock = clock
        self._keys: IssuerKeys = (
            OnePublicKey(issuer.public_key)
            if issuer.public_key is not None
            else FetchedKeys(issuer.jwks_uri or "", clock)
        )

    async def verify(self, token: str) -> Caller | None:
        """The caller of a token, or None when the token is not valid.

        Raises KeysUnavailableError while there are no keys to judge it with.
        """
        header = _header(token)
        if header is None:
            return None
        algorithm = header["alg"]
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            return None
        try:
            claims = jwt.decode(token, key.key, algorithms=[algorithm]).claims
        except (JoseError, ValueError, RecursionError):
            return None
        return self._caller(claims)

    def _caller(self, claims: dict[str, Any]) -> Caller | None:
        subject, scopes, client = (
            claims.get("sub"),
            _scopes(claims),
            claims.get("client_id", claims.get("azp")),
        )
        if claims.get("iss") != self.issuer.issuer or not self._is_for_us(claims.get("aud")):
            return None
        # A token that is bound to a key (RFC 7800) is not a bearer token.
        if not self._is_in_time(claims) or "cnf" in claims:
            return None
        # Keycloak's claim `typ`: an ID token has an audience too, but is not an access token.
        if claims.get("typ", "Bearer") != "Bearer":
            return None
        if not isinstance(subject, str) or not subject or scopes is None:
            return None
        return Caller(
            subject=subject,
            client_id=client if isinstance(client, str) else None,
            scopes=scopes,
            expires=float(claims["exp"]),
            name=first_text(claims, ("name", "preferred_username")),
            claims=MappingProxyType(claims),
        )

    def _is_for_us(self, audience: object) -> bool:
        """Whether the token names us alone (RFC 7519 section 4.1.3), or beside what `other_audiences` allows.

        Each audience of a token can send it to the others: a server that has received it could use it here.
        """
        audiences = audience if isinstance(audience, list) else [audience]
        allowed = (self.issuer.audience, *self.issuer.other_audiences)
        return self.issuer.audience in audiences and all(each in allowed for each in audiences)

    def _is_in_time(self, claims: Mapping[str, Any]) -> bool:
        now = self._clock()
        begins = [claims[name] for name in ("nbf", "iat") if name in claims]
        if not all(_is_time(time) for time in [claims.get("exp"), *begins]):
            return False
        return bool(now < claims["exp"] and all(time <= now + CLOCK_LEEWAY for time in begins))


def _header(token: str) -> dict[str, Any] | None:
    """The header of what may be a token for us; no `crit`, and no `jku`, `jwk` or `x5c` is ever looked at."""
    if len(token) > _LONGEST or not _SHAPE.fullmatch(token):
        return None
    header = jwt_header(token)
    if header is None or "crit" in header:
        return None
    kind, kid = header.get("typ", "JWT"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        return None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return None
    return header if kid is None or isinstance(kid, str) else None


def _scopes(claims: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = claims.get("scope", claims.get("scp", ""))
    scopes = value.split() if isinstance(value, str) else value
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        return None
    return tuple(scopes)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _NEVER


def _is_safe(url: str) -> bool:
    parts = split_url(url)
    return parts is not None and (parts.scheme == "https" or parts.hostname in LOOPBACK_HOSTS)


def _wrong(why: str, hint: str = "") -> UsageError:
    return UsageError("The outside issuer's configuration is wrong", why=why, hint=hint)
