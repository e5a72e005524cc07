"""Signing keys: PEM files in, JWK set and `kid` (RFC 7638 thumbprint) out."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workshop.auth.config_reader import wrong_setting
from workshop.auth.limits import Clock
from workshop.core.errors import UsageError

_EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_SMALLEST_RSA_BITS = 2048  # RFC 7518 section 3.3
_MAKE_ONE = "Make one with: openssl ecparam -name prime256v1 -genkey -noout"


@dataclass(frozen=True)
class SigningKey:
    """A private key with the one algorithm it is used for."""

    key: ECKey | RSAKey = field(repr=False)
    algorithm: str
    kid: str

    def public_jwk(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=False), "use": "sig", "alg": self.algorithm, "kid": self.kid}


def load_signing_key(pem: bytes, where: str) -> SigningKey:
    """Read an EC (P-256, P-384, P-521) or RSA private key, SEC1, PKCS#1 or PKCS#8.

    Raises UsageError for anything else; Ed25519 too, which ToolHive loads but cannot verify.
    """
    try:
        loaded = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise wrong_setting(where, "It is not an unencrypted private key in PEM form", _MAKE_ONE) from error
    except Exception as error:  # cryptography raises its own UnsupportedAlgorithm for exotic curves
        raise wrong_setting(where, "The kind of key is not supported", _MAKE_ONE) from error
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name in _EC_ALGORITHMS:
        key: ECKey | RSAKey = ECKey.import_key(pem)
        return SigningKey(key, _EC_ALGORITHMS[loaded.curve.name], key.thumbprint())
    if isinstance(loaded, rsa.RSAPrivateKey):
        if loaded.key_size < _SMALLEST_RSA_BITS:
            raise wrong_setting(where, f"An RSA key needs at least {_SMALLEST_RSA_BITS} bits", _MAKE_ONE)
        key = RSAKey.import_key(pem)
        return SigningKey(key, "RS256", key.thumbprint())
    raise _unsupported(type(loaded).__name__, where)


def _unsupported(kind: str, where: str) -> UsageError:
    name = kind.removesuffix("PrivateKey").lstrip("_") or "this kind of"
    return wrong_setting(
        where, f"Access tokens are signed with EC P-256 or RSA; this is a {name} key", _MAKE_ONE
    )


_SECONDS = 30  # one call: a token that leaks is worth nothing afterwards


class InternalTokens:
    """Issues access tokens (RFC 9068) in place of the client's own, which is for the gateway alone."""

    def __init__(self, issuer: str, key: SigningKey, clock: Clock = time.time) -> None:
        self._issuer, self._key, self._clock = issuer, key, clock

    def issue(self, subject: str, audience: str) -> str:
        now = int(self._clock())
        header = {"alg": self._key.algorithm, "typ": "at+jwt", "kid": self._key.kid}
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": [audience],
            "exp": now + _SECONDS,
            "iat": now,
            "jti": str(uuid.uuid4()),
            # RFC 9068 section 2.2 requires it; here the gateway itself is the client.
            "client_id": self._issuer,
        }
        return jwt.encode(header, claims, self._key.key, algorithms=[self._key.algorithm])

    def is_valid(self, header: str, audience: str) -> bool:
        """Whether an Authorization header has such a token, for this audience."""
        try:
            claims = jwt.decode(
                header.removeprefix("Bearer "), self._key.key, algorithms=[self._key.algorithm]
            ).claims
        except (JoseError, ValueError):
            return False
        named = claims.get("iss"), claims.get("aud")
        return bool(claims.get("exp", 0) > self._clock()) and named == (self._issuer, [audience])

    async def keys(self, _: Request) -> Response:
        """The public key, for whoever receives such a token."""
        return JSONResponse({"keys": [self._key.public_jwk()]})
