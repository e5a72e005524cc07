"""Exercise 4.2: from a 401 to the address that a browser opens."""

import base64
import hashlib
import re
import secrets
from urllib.parse import urlencode

import httpx2


def begin_login(http: httpx2.Client, mcp_url: str, client_id: str, redirect_uri: str) -> tuple[str, str]:
    """The authorize URL for a browser, and the verifier that the token request will need."""
    refused = http.post(mcp_url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', refused.headers["WWW-Authenticate"]))
    # ↓ The 401 names the metadata, the metadata the issuer, and the issuer's metadata the endpoint.
    metadata = http.get(challenge["resource_metadata"]).json()
    issuer = metadata["authorization_servers"][0]
    server = http.get(f"{issuer}/.well-known/oauth-authorization-server").json()
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": challenge["scope"],
        "state": secrets.token_urlsafe(16),
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": metadata["resource"],
    }
    return f"{server['authorization_endpoint']}?{urlencode(query)}", verifier
    # ↑
