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
    # ↓ Your turn: follow the metadata, make verifier and code challenge, build the URL.
    verifier = "a secret"
    query = {"response_type": "code", "client_id": client_id, "scope": challenge["scope"]}
    return f"{mcp_url}/authorize?{urlencode(query)}", verifier
    # ↑
