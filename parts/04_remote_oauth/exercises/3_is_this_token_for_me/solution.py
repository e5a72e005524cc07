"""Exercise 4.3: is this token for me?"""

import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet


def claims_of(token: str, keys: KeySet, *, issuer: str, audience: str) -> dict[str, Any]:
    """The claims of a token for this server; raises ValueError for every other token.

    `keys` are the issuer's public keys, as they are at its `jwks_uri`.
    """
    # ↓ First the signature: until it is verified, no claim means anything. The token names its own algorithm,
    # so the server decides which ones it accepts.
    claims = jwt.decode(token, keys, algorithms=["ES256"]).claims
    if claims.get("iss") != issuer:
        raise ValueError(f"It was issued by {claims.get('iss')}, not by {issuer}")
    named = claims.get("aud")
    if audience not in (named if isinstance(named, list) else [named]):
        raise ValueError(f"It is for {named}, not for {audience}")
    if claims.get("exp", 0) <= time.time():
        raise ValueError("It has expired")
    return claims
    # ↑
