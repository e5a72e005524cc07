"""Access tokens of an external issuer: JSON Web Tokens (RFC 9068) that it signs and we only verify.

What RFC 9068 asks of an issuer is asked where it protects us: `iss`, `aud` and `exp` always, the header's
type so far that no token made for something else passes. Keycloak has `typ: JWT`, and `azp` for `client_id`.

The issuer's keys are one public key, or a JWK set (RFC 7517) that is fetched when it is first needed. They
are for signatures only, of kinds that take two keys: whoever can verify a token must not be able to make one.
"""

import asyncio
import json
import logging
import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey
from yarl import URL

from workshop.auth.config_reader import LOOPBACK_HOSTS, SCOPE, split_url
from workshop.auth.limits import CLOCK_LEEWAY, JWKS_BYTES, Clock, TokenBucket
from workshop.auth.outbound import SingleFlight, proxy_for, read_at_most
from workshop.auth.upstream import first_text
from workshop.core.encoding import jwt_header
from workshop.core.errors import UsageError

_LOG = logging.getLogger(__name__)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
ALGORITHMS = _RSA | frozenset(_CURVES.values())
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_SMALLEST_RSA_BITS = 2048  # RFC 7518 section 3.3
_FETCH_SECONDS = 5.0
_FRESH_SECONDS, _STALE_SECONDS = 300.0, 3600.0
# Anybody can send a token with a new `kid`, and each would make us ask the issuer.
_FETCHES_A_SECOND, _FETCH_BURST = 0.2, 3
_HTTP_OK = 200


class KeysUnavailableError(Exception):
    """The issuer's keys are not available now, so no token can be verified; the caller answers 503."""


@dataclass(frozen=True)
class IssuerKey:
    """A public key, and the algorithms its issuer may use it with."""

    key: ECKey | RSAKey = field(repr=False)
    algorithms: frozenset[str]
    kid: str | None


class IssuerKeys(Protocol):
    """Where keys come from."""

    async def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """The one key for this `kid` and algorithm. Raises KeysUnavailableError."""


class OnePublicKey:
    """A key from the configuration; it verifies whatever `kid` a token names."""

    def __init__(self, pem: str) -> None:
        """Raises UsageError for anything but an RSA or EC public key in PEM form."""
        try:
            public = load_pem_public_key(pem.encode())
            kind = RSAKey if isinstance(public, rsa.RSAPublicKey) else ECKey
            self._key = _usable(kind.import_key(pem), None, None)
        except Exception as error:  # cryptography has errors of its own for exotic keys
            raise _no_public_key("It cannot be read") from error
        if self._key is None:
            raise _no_public_key("An RSA key has at least 2048 bits, an EC key is on P-256, P-384 or P-521")

    async def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        del kid
        return self._key if self._key and algorithm in self._key.algorithms else None


class FetchedKeys:
    """A JWK set at an address: good for five minutes, for an hour while the issuer does not answer.

    A `kid` it has not is a reason to look again, but a stranger's tokens must not make us ask all the time.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._limit = TokenBucket(_FETCHES_A_SECOND, _FETCH_BURST, clock)
        self._keys: list[IssuerKey] = []
        self._fetched_at = float("-inf")
        self._flights = SingleFlight[str, None]()

    async def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """Without a `kid` (it is optional, RFC 7515 section 4.1.4) the algorithm must leave one key only."""
        if self._age() >= _FRESH_SECONDS:
            await self._renew()
        found = self._one(kid, algorithm)
        if found is None and kid is not None and await self._fetch():
            found = self._one(kid, algorithm)
        return found

    def _one(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        named = [key for key in self._keys if kid in {None, key.kid} and algorithm in key.algorithms]
        return named[0] if len(named) == 1 else None

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    async def _renew(self) -> None:
        try:
            fetched = await self._fetch()
        except KeysUnavailableError:
            fetched = False
        if not fetched and self._age() >= _STALE_SECONDS:
            raise KeysUnavailableError

    async def _fetch(self) -> bool:
        """Fetch once for all who wait; False when that was done too often already."""
        if self._url not in self._flights and not self._limit.take():
            return False
        await self._flights.join(self._url, self._fetched)
        return True

    async def _fetched(self) -> None:
        import aiohttp

        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = _read(await _get(self._url))
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, UsageError) as error:
            _LOG.warning("issuer's keys not fetched: %s", type(error).__name__)
            raise KeysUnavailableError from error
        self._fetched_at = self._clock()
        _LOG.info("issuer's keys fetched: %d", len(self._keys))


async def _get(url: str) -> bytes:
    import aiohttp

    headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        ) as session,
        session.get(
            URL(url, encoded=True), headers=headers, allow_redirects=False, proxy=proxy_for(url)
        ) as response,
    ):
        if response.status != _HTTP_OK:
            raise ValueError
        body = await read_at_most(response.content, JWKS_BYTES)
        if body is None:
            raise ValueError
        return body


def _read(body: bytes) -> list[IssuerKey]:
    document = json.loads(body)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError  # noqa: TRY004 - one kind of error for whatever is no JWK set
    found = (_imported(entry) for entry in entries if isinstance(entry, dict))
    return [key for key in found if key is not None]


def _imported(entry: dict[str, Any]) -> IssuerKey | None:
    # An unusable key is skipped, not an error (RFC 7517 section 5).
    operations = entry.get("key_ops", ["verify"])
    if entry.get("kty") not in {"RSA", "EC"} or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public: dict[str, Any] = {name: entry[name] for name in _PUBLIC if name in entry}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of small keys, which are refused below
            key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError):
        return None
    return _usable(key, entry.get("kid"), entry.get("alg"))


def _usable(key: object, kid: object, algorithm: object) -> IssuerKey | None:
    if isinstance(key, RSAKey):
        algorithms = _RSA if key.raw_value.key_size >= _SMALLEST_RSA_BITS else frozenset[str]()
    elif isinstance(key, ECKey):
        algorithms = frozenset({_CURVES[key.curve_name]} if key.curve_name in _CURVES else ())
    else:
        return None
    if algorithm is not None:
        algorithms &= {algorithm}
    return IssuerKey(key, algorithms, kid if isinstance(kid, str) else None) if algorithms else None


def _no_public_key(why: str) -> UsageError:
    return UsageError(
        "The issuer's public key cannot be used", why=why, hint="Give an RSA or EC public key in PEM form"
    )


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
