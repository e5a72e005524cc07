"""Encodings that several packages use: JSON Web Tokens (JWT), PKCE challenges, content-policy hashes."""

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_JWT_PARTS = 3
DEEPEST = 100
"""Levels of lists and objects in JSON from elsewhere; Python's own reader and writer end at about 1000."""


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON can be anything
    """JSON from elsewhere; raises ValueError for other text, and for more than `DEEPEST` levels."""
    try:
        return shallow(json.loads(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def shallow(value: T) -> T:
    """The same lists and objects; raises ValueError if they have more than `DEEPEST` levels."""
    level: Collection[object] = [value]
    for _ in range(DEEPEST + 1):
        # Each object once: a few YAML aliases can stand for billions of values.
        level = {id(inner): inner for outer in level for inner in _inside(outer)}.values()
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def unsendable(value: Mapping[str, Any]) -> str:
    """The reason why a value cannot be sent as JSON in UTF-8, for its author; empty if it can."""
    try:
        parse_json(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        return f"U+{ord(error.object[error.start]):04X} is one half of a surrogate pair, not a character"
    except (RecursionError, ValueError):
        return f"they are nested more than {DEEPEST} levels deep"
    return ""


def whole_characters(text: str) -> str:
    """The text with a replacement character for each half of a surrogate pair, which UTF-8 does not have."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def jwt_header(token: str) -> dict[str, Any] | None:
    """The header of a compact JWT (RFC 7519 section 3), not verified; None for any other text."""
    return _jwt_part(token, 0)


def jwt_claims(token: str) -> dict[str, Any] | None:
    """The claims of a compact JWT, not verified; None for any other text, such as an opaque token."""
    return _jwt_part(token, 1)


def unsigned_jwt(claims: Mapping[str, Any], algorithm: str = "none", signature: str = "") -> str:
    """A JWT of an access token's type (RFC 9068) without a valid signature: every server must refuse it."""
    header = {"alg": algorithm, "typ": "at+jwt"}
    return ".".join([*(base64url(json.dumps(part).encode()) for part in (header, claims)), signature])


def s256(verifier: str) -> str:
    """The PKCE S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return base64url(hashlib.sha256(verifier.encode()).digest())


def base64url(data: bytes) -> str:
    """Base64 in the alphabet of URLs, without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def csp_hash(text: str) -> str:
    """The source expression that allows exactly this inline style or script (CSP Level 3 section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _jwt_part(token: str, index: int) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    part = parts[index]
    try:
        # A JWT leaves the padding out (RFC 7515 section 2), and Python requires it.
        found = parse_json(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:  # also binascii.Error and UnicodeDecodeError, which are ValueErrors
        return None
    return found if isinstance(found, dict) else None
