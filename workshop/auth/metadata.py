"""Discovery: protected-resource metadata (RFC 9728), server metadata (RFC 8414, OIDC discovery), keys.

Written as plain JSON: a URL type would add a slash to the issuer, and clients compare it byte for byte.
"""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workshop.auth.server import AuthServer

PROTECTED_RESOURCE_PATH = "/.well-known/oauth-protected-resource"
_PUBLIC = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}


async def protected_resource(server: AuthServer, request: Request) -> Response:
    del request
    config = server.config
    return resource_document(config.resource, [config.issuer], config.challenge_scopes)


def resource_document(resource: str, issuers: Sequence[str], scopes: Sequence[str]) -> Response:
    """Protected-resource metadata (RFC 9728 section 2); without scopes of its own a resource names none."""
    document = {
        "resource": resource,
        "authorization_servers": list(issuers),
        "bearer_methods_supported": ["header"],
    }
    return _public({**document, **({"scopes_supported": list(scopes)} if scopes else {})})


async def authorization_server(server: AuthServer, request: Request) -> Response:
    del request
    return _public(_server_metadata(server))


async def openid_configuration(server: AuthServer, request: Request) -> Response:
    """The same document with the fields OIDC discovery requires; no ID token is ever issued."""
    del request
    algorithms = sorted({key.algorithm for key in server.config.signing_keys})
    extra = {"subject_types_supported": ["public"], "id_token_signing_alg_values_supported": algorithms}
    return _public({**_server_metadata(server), **extra})


async def jwks(server: AuthServer, request: Request) -> Response:
    del request
    return _public(server.tokens.jwks())


def _server_metadata(server: AuthServer) -> dict[str, object]:
    return {
        "issuer": server.config.issuer,
        "authorization_endpoint": server.url("/oauth/authorize"),
        "token_endpoint": server.url("/oauth/token"),
        "registration_endpoint": server.url("/oauth/register"),
        "revocation_endpoint": server.url("/oauth/revoke"),
        "jwks_uri": server.url("/.well-known/jwks.json"),
        "scopes_supported": list(server.config.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": server.config.documents.enabled,
    }


def _public(document: Mapping[str, object]) -> Response:
    return JSONResponse(dict(document), 200, _PUBLIC)
