"""What the probe pretends with: tokens that open nothing, and a web page that does not exist."""

import base64
import json
import time

EVIL_HOST = "evil.example"
EVIL_ORIGIN = f"https://{EVIL_HOST}"
EVIL_CALLBACK = f"http://{EVIL_HOST}/cb"
"""Plain http, off this machine: no authorization server may register it (OAuth 2.1, RFC 8252)."""
GARBAGE_TOKEN = "practice_probe_worthless"  # noqa: S105 - it opens nothing, which is its point
UNKNOWN_CLIENT = "workshop-probe-unregistered"
UNKNOWN_GRANT = "urn:workshop:probe"


def unsigned_token(issuer: str, audience: str) -> str:
    """A JWT with `alg: none` that says all the right things (RFC 8725 section 3.1)."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": "workshop-probe",
        "client_id": UNKNOWN_CLIENT,
        "iat": now,
        "exp": now + 60,
    }
    return f"{_part({'alg': 'none', 'typ': 'at+jwt'})}.{_part(claims)}."


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
