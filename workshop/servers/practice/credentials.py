"""How a credential is written down: what kind it is and its SHA-256, never the value."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from workshop.core.encoding import jwt_header
from workshop.servers.practice.tokens import Caller

Verify = Callable[[str], Caller | None]

_SECRET_PARAMETERS = {
    "access_token",
    "authenticity_token",
    "client_secret",
    "code",
    "code_verifier",
    "id_token",
    "password",
    "refresh_token",
    "state",
    "token",
}
_SECRET_HEADERS = {"cookie", "proxy-authorization", "x-api-key", "x-github-pat"}


def fingerprint(value: str) -> str:
    """The SHA-256 of a credential in hexadecimal digits: enough to tell whether two are the same."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def describe_headers(headers: Iterable[tuple[str, str]], verify: Verify) -> dict[str, Any]:
    """Headers by lower-case name; credentials are replaced by their description."""
    described: dict[str, Any] = {}
    for name, value in headers:
        if name == "authorization":
            described[name] = describe_authorization(value, verify)
        elif name in _SECRET_HEADERS:
            described[name] = {"kind": name, "sha256": fingerprint(value)}
        else:
            described[name] = f"{described[name]}, {value}" if name in described else value
    return described


def describe_authorization(value: str, verify: Verify) -> dict[str, Any]:
    """Scheme, kind, user and SHA-256 of what follows the scheme."""
    scheme, _, credential = value.partition(" ")
    credential = credential.strip() or value
    caller = verify(credential)
    return {
        "scheme": scheme if value != credential else "",
        "kind": _kind(credential),
        "user": caller.login if caller else None,
        "sha256": fingerprint(credential),
    }


def describe_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Query or form parameters; secret ones are replaced by their description."""
    return {
        name: {"kind": name, "sha256": fingerprint(value)} if name in _SECRET_PARAMETERS else value
        for name, value in pairs
    }


def _kind(credential: str) -> str:
    if credential.startswith("practice_"):
        return "practice token"
    return "jwt" if "alg" in (jwt_header(credential) or {}) else "other"
