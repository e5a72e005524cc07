"""What a client may say about itself, by registration (RFC 7591) or in its document (draft CIMD-02)."""

import json
from typing import Any

from workshop.auth.oauth_errors import OAuthError
from workshop.auth.redirects import registration_problem
from workshop.auth.text import visible

GRANT_TYPES = ("authorization_code", "refresh_token")
_MOST_REDIRECT_URIS = 10
_LONGEST_NAME = 256


def read_document(body: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 that says each thing once: two parsers must not see two redirect URIs.

    Raises OAuthError.
    """
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise refused("The metadata is not JSON, or has a key twice") from error
    if not isinstance(document, dict):
        raise refused("The metadata is not a JSON object")
    return document


def application_type(document: dict[str, Any]) -> str | None:
    """Raises OAuthError."""
    value = document.get("application_type")
    if value not in (None, "native", "web"):
        raise refused("application_type is native or web")
    return str(value) if value else None


def require_public_code_client(document: dict[str, Any]) -> None:
    """Raises OAuthError for a client with credentials, or without the code flow."""
    if document.get("token_endpoint_auth_method", "none") != "none":
        raise refused("Only token_endpoint_auth_method none is supported")
    if document.get("response_types", ["code"]) != ["code"]:
        raise refused("Only response_types code is supported")


def redirect_uris(document: dict[str, Any]) -> tuple[str, ...]:
    """Raises OAuthError (`invalid_redirect_uri`)."""
    value, kind = document.get("redirect_uris"), application_type(document)
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_REDIRECT_URIS:
        raise OAuthError("invalid_redirect_uri", f"Register 1 to {_MOST_REDIRECT_URIS} redirect URIs")
    for uri in value:
        problem = registration_problem(uri, kind)
        if problem:
            raise OAuthError("invalid_redirect_uri", problem)
    return tuple(dict.fromkeys(value))


def client_name(document: dict[str, Any]) -> str:
    """The name without characters that deceive; empty when there is none.

    Raises OAuthError.
    """
    value = document.get("client_name")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise refused(f"client_name is a text of at most {_LONGEST_NAME} characters")
    return visible(value)


def refused(description: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values
