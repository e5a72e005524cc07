"""The keys of an outside issuer: its JWK set (RFC 7517), fetched when first needed, or one public key.

For signatures only, of kinds that take two keys: whoever can verify a token must not be able to make one.
"""

import asyncio
import json
import logging
import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey
from yarl import URL

from workshop.auth.limits import JWKS_BYTES, Clock, TokenBucket
from workshop.auth.outbound import proxy_for, read_at_most
from workshop.core.errors import UsageError

_LOG = logging.getLogger(__name__)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
ALGORITHMS = _RSA | frozenset(_CURVES.values())
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_SMALLEST_RSA_BITS = 2048
_FETCH_SECONDS = 5.0
_FRESH_SECONDS, _STALE_SECONDS = 300.0, 3600.0
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
        self._running: asyncio.Task[None] | None = None

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
        if self._running is None:
            if not self._limit.take():
                return False
            self._running = asyncio.create_task(self._fetched())
            self._running.add_done_callback(self._finished)
        # Shielded: one client that goes away must not end the fetch for the others.
        await asyncio.shield(self._running)
        return True

    def _finished(self, done: "asyncio.Task[None]") -> None:
        self._running = None
        if not done.cancelled():
            done.exception()  # looked at, even if every client that waited has gone

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
