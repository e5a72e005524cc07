"""Encodings that several packages read or write: JSON Web Tokens (JWT) and Content-Security-Policy hashes."""

import base64
import hashlib
import json
from typing import Any

_JWT_PARTS = 3


def jwt_header(token: str) -> dict[str, Any] | None:
    """The header of a compact JWT (RFC 7519 section 3), not verified; None for any other text."""
    return _jwt_part(token, 0)


def jwt_claims(token: str) -> dict[str, Any] | None:
    """The claims of a compact JWT, not verified; None for any other text, such as an opaque token."""
    return _jwt_part(token, 1)


def csp_hash(text: str) -> str:
    """The source expression that allows exactly this inline style or script (CSP Level 3 section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _jwt_part(token: str, index: int) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    part = parts[index]
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):  # also binascii.Error and UnicodeDecodeError, which are ValueErrors
        return None
    return found if isinstance(found, dict) else None
