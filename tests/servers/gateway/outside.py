"""An outside issuer for tests: its key, the tokens it signs, and the JWK set it serves."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.servers.gateway.harness import Clock

ISSUER = "https://issuer.example"
AUDIENCE = "http://localhost:8121/mcp"


@dataclass
class Issuer:
    """Signs whatever a test wants signed, and counts how often its keys are asked for."""

    clock: Clock = field(default_factory=Clock)
    key: ECKey | RSAKey | OctKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    algorithm: str = "ES256"
    kid: str = "first"
    asked: int = 0
    status: int = 200
    body: bytes | None = None

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.clock())
        claims = {
            "iss": ISSUER,
            "sub": "user-1",
            "aud": [AUDIENCE],
            "exp": now + 300,
            "iat": now,
            "client_id": "agent",
            "scope": "openid profile",
            "name": "Lea Lerner",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        named = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kid, **(header or {})}
        named = {name: value for name, value in named.items() if value is not None}
        return jwt.encode(named, self.claims(**changes), self.key, algorithms=[named["alg"]])

    def public_pem(self) -> str:
        assert not isinstance(self.key, OctKey)
        return self.key.as_pem(private=False).decode()

    def jwks(self) -> dict[str, Any]:
        entry = {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.algorithm}
        # A neighbour nobody here can use must not be in the way.
        return {"keys": [{"kty": "AKP", "kid": "post-quantum"}, entry]}

    async def serve(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = json.dumps(self.jwks()).encode() if self.body is None else self.body
        return web.Response(body=body, status=self.status)

    def rotate(self, kid: str) -> None:
        self.key, self.kid = ECKey.generate_key("P-256"), kid
