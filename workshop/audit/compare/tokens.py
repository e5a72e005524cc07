"""A token read, and made out to somebody else by the very key that signed it: is `aud` looked at?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from workshop.core.encoding import jwt_claims

_ALGORITHM = "ES256"
_PEM = b"-----BEGIN"


def claims_of(token: str) -> Mapping[str, Any]:
    """The claims in a JWT, not verified; empty for an opaque token."""
    return jwt_claims(token) or {}


def signing_key(token: str, secrets: Path) -> ECKey | None:
    """The key below `secrets` that signed a token; None when there is none."""
    for path in sorted(secrets.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if not data.startswith(_PEM):
            continue
        try:
            key = ECKey.import_key(data)
            jwt.decode(token, key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError):
            continue
        return key
    return None


def signed_again(token: str, key: ECKey, **changed: object) -> str:
    """The same token, but for these claims, signed by its own issuer's key."""
    header = dict(jws.extract_compact(token.encode()).headers())
    return jwt.encode(header, {**claims_of(token), **changed}, key, algorithms=[_ALGORITHM])
