"""The gateway's word for who is asking: a token for one upstream and half a minute."""

import time
import uuid

from joserfc import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workshop.auth.keys import SigningKey
from workshop.auth.limits import Clock

_SECONDS = 30


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
            "client_id": self._issuer,
        }
        return jwt.encode(header, claims, self._key.key, algorithms=[self._key.algorithm])

    async def keys(self, _: Request) -> Response:
        """The public key, for whoever receives such a token."""
        return JSONResponse({"keys": [self._key.public_jwk()]})
