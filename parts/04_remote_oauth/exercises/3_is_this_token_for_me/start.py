"""Exercise 4.3: is this token for me?"""

import base64
import json
import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet


def claims_of(token: str, keys: KeySet, *, issuer: str, audience: str) -> dict[str, Any]:
    """The claims of a token for this server; raises ValueError for every other token.

    `keys` are the issuer's public keys, as they are at its `jwks_uri`.
    """
    # ↓ Your turn: signature, issuer, audience, expiry. This only reads what anyone can write.
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))
    # ↑
