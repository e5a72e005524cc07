"""The resource server's own modules, and an identity provider that behaves as Keycloak does."""

import base64
import functools
import hashlib
import importlib.util
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.servers.gateway.harness import DISCOVER, MCP_HEADERS
from workshop.core.paths import parts_dir

FOLDER = parts_dir() / "04_remote_oauth" / "variations" / "resource-server"
SERVER = FOLDER / "server.py"


def load(name: str) -> Any:
    """A module of the variation, as `server.py` finds it beside itself."""
    wanted = f"resource_server_variation_{name}"
    if wanted not in sys.modules:
        sys.path.insert(0, str(FOLDER))
        try:
            spec = importlib.util.spec_from_file_location(wanted, FOLDER / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[wanted] = module
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(FOLDER))
    return sys.modules[wanted]


async def ask(url: str, token: str | None = None, **headers: str) -> httpx2.Response:
    """One MCP request by hand; 200 when the token is good."""
    sent = {**MCP_HEADERS, **headers}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.post(url, json=DISCOVER, headers=sent)


@functools.cache
def rsa_key(realm: str, use: str, algorithm: str) -> RSAKey:
    """A key of a realm; `realm` only tells one from another."""
    del realm
    return RSAKey.generate_key(2048, {"use": use, "alg": algorithm}, auto_kid=True)


@dataclass
class Keycloak:
    """The realm `mcp` of a Keycloak without resource indicators: only a scope's mapper sets an audience.

    Access tokens are `typ: JWT` with RS256, name the client in `azp`, and say `typ: Bearer` in a claim; the
    key set has an encryption key beside the signing key, as Keycloak's has.
    """

    url: str = ""
    mapped: dict[str, str] = field(default_factory=dict)
    """Client scope -> the `Included Custom Audience` of its mapper."""
    asked: list[str] = field(default_factory=list)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    realm: str = "mcp"
    """Another realm has other keys."""
    down: bool = False

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/mcp"

    @property
    def key(self) -> RSAKey:
        return rsa_key(self.realm, "sig", "RS256")

    @property
    def encryption_key(self) -> RSAKey:
        return rsa_key(self.realm, "enc", "RSA-OAEP")

    def app(self) -> Starlette:
        protocol = "/realms/mcp/protocol/openid-connect"
        return Starlette(
            routes=[
                Route("/realms/mcp/.well-known/openid-configuration", self._metadata),
                Route("/.well-known/oauth-authorization-server/realms/mcp", self._metadata),
                Route(f"{protocol}/certs", self._certs),
                Route(f"{protocol}/auth", self._authorize),
                Route(f"{protocol}/token", self._token, methods=["POST"]),
                Route("/realms/mcp/clients-registrations/openid-connect", self._register, methods=["POST"]),
            ]
        )

    def token(
        self, *, header: dict[str, str] | None = None, key: RSAKey | None = None, **changes: Any
    ) -> str:
        """An access token of this realm; a claim that is None is left out."""
        now = int(time.time())
        claims = {
            "exp": now + 300,
            "iat": now,
            "jti": f"onrtac:{secrets.token_hex(8)}",
            "iss": self.issuer,
            "sub": "0ca5a8a2-3a5e-4f8b-a0a4-8a8f0c1a6f3e",
            "typ": "Bearer",
            "azp": "agent",
            "sid": secrets.token_hex(8),
            "acr": "1",
            "realm_access": {"roles": ["offline_access", "default-roles-mcp"]},
            "scope": "profile mcp:tools",
            "preferred_username": "learner",
            **changes,
        }
        named = {"alg": "RS256", "typ": "JWT", "kid": str(self.key.kid), **(header or {})}
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(named, given, key or self.key, algorithms=["RS256"])

    def issued_for(self, scope: str) -> str | list[str] | None:
        """The `aud` that the mappers of these scopes make: nothing, a text, or a list."""
        audiences = [self.mapped[name] for name in scope.split() if name in self.mapped]
        return audiences[0] if len(audiences) == 1 else audiences or None

    async def _metadata(self, _: Request) -> Response:
        protocol = f"{self.issuer}/protocol/openid-connect"
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{protocol}/auth",
                "token_endpoint": f"{protocol}/token",
                "introspection_endpoint": f"{protocol}/token/introspect",
                "userinfo_endpoint": f"{protocol}/userinfo",
                "end_session_endpoint": f"{protocol}/logout",
                "jwks_uri": f"{protocol}/certs",
                "revocation_endpoint": f"{protocol}/revoke",
                "registration_endpoint": f"{self.issuer}/clients-registrations/openid-connect",
                "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
                "response_types_supported": ["code", "none", "id_token", "code id_token"],
                "subject_types_supported": ["public", "pairwise"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "PS256"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
                "scopes_supported": ["openid", "profile", "email", "offline_access", *self.mapped],
                "code_challenge_methods_supported": ["plain", "S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _certs(self, _: Request) -> Response:
        self.asked.append("certs")
        if self.down:
            return Response(status_code=503)
        keys = (self.encryption_key, self.key)
        return JSONResponse({"keys": [key.as_dict(private=False) for key in keys]})

    async def _register(self, request: Request) -> Response:
        return JSONResponse({**await request.json(), "client_id": secrets.token_hex(8)}, status_code=201)

    async def _authorize(self, request: Request) -> Response:
        query = request.query_params
        self.asked.append(f"auth {query['scope']}")
        code = secrets.token_urlsafe(16)
        self.codes[code] = query["code_challenge"], query["scope"]
        answer = {"state": query["state"], "iss": self.issuer, "code": code}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", status_code=303)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        challenge, scope = self.codes.pop(str(form["code"]), ("", ""))
        hashed = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        if base64.urlsafe_b64encode(hashed).decode().rstrip("=") != challenge:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        token = self.token(aud=self.issued_for(scope), scope=scope, azp=str(form["client_id"]))
        body = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": scope}
        return JSONResponse(body)


def keycloak_config() -> dict[str, Any]:
    """The documented configuration for Keycloak."""
    config: dict[str, Any] = json.loads((FOLDER / "keycloak.json").read_text(encoding="utf-8"))
    return config
