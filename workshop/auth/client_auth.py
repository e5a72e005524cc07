"""How a client authenticates at the token endpoint (RFC 6749 section 2.3), and the secrets for it.

A secret is random, given out once, and stored as its digest. PKCE is required all the same: the secret proves
who redeems a code, the verifier proves who began the login.
"""

import base64
import secrets
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from starlette.requests import Request

from workshop.auth.http import OAuthError, Parameters
from workshop.auth.vault import digest, same_secret

SECRET_METHODS = ("client_secret_basic", "client_secret_post")
_BASIC, _POST = SECRET_METHODS


@dataclass(frozen=True)
class Credentials:
    """The client that a request names, and its secret: `method` is `none` without one."""

    client_id: str
    method: str
    secret: str = field(default="", repr=False)


def new_client_secret() -> tuple[str, str]:
    """A secret of 256 bits, and the digest that is stored in its place."""
    secret = secrets.token_urlsafe(32)
    return secret, digest(secret)


def read_credentials(request: Request, fields: Parameters, realm: str) -> Credentials:
    """The client and its secret, from the header or the body of a request to the token endpoint.

    Raises OAuthError for repeated parameters, and for more than one way of authentication (RFC 6749 section
    2.3). A Basic header and the same `client_id` in the body are allowed: an id is not a credential.
    """
    if fields.repeated:
        raise OAuthError("invalid_request", "A parameter is repeated")
    headers, in_body = request.headers.getlist("authorization"), fields.get("client_secret")
    client_id = fields.get("client_id")
    if "client_assertion" in fields:
        raise refused_client("Client assertions are not supported", realm)
    if len(headers) > 1 or (headers and in_body):
        raise OAuthError("invalid_request", "More than one way of client authentication")
    if headers:
        sent = _basic(headers[0], realm)
        if client_id not in (None, sent.client_id):
            raise refused_client("The header and the body name different clients", realm, challenge=True)
        return sent
    if client_id is None:
        raise OAuthError("invalid_request", "client_id is missing")
    return Credentials(client_id, _POST if in_body else "none", in_body or "")


def check_credentials(sent: Credentials, method: str, secret_digest: str | None, realm: str) -> None:
    """Raises OAuthError unless the client authenticates in the way it registered, with its own secret.

    A public client has no secret: one that sends a secret is not the one that registered.
    """
    proven = secret_digest is not None and same_secret(digest(sent.secret), secret_digest)
    if sent.method != method or (method != "none" and not proven):
        problem = "This client has no secret" if method == "none" else f"Authenticate with {method}"
        raise refused_client(problem, realm, challenge=sent.method == _BASIC)


def refused_client(description: str, realm: str, *, challenge: bool = False) -> OAuthError:
    """401; with the challenge that RFC 6749 section 5.2 requires in answer to an Authorization header."""
    headers = {"www-authenticate": f'Basic realm="{realm}"'} if challenge else {}
    return OAuthError("invalid_client", description, status=401, headers=headers)


def _basic(header: str, realm: str) -> Credentials:
    """Id and secret are form-encoded before they are joined (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = header.partition(" ")
    try:
        plain = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = plain.partition(":")
        known = Credentials(
            unquote_plus(client_id, errors="strict"), _BASIC, unquote_plus(secret, errors="strict")
        )
    except ValueError:
        colon, known = "", Credentials("", _BASIC)
    if scheme.lower() != "basic" or not colon:
        raise refused_client("The Authorization header has no client id and secret", realm, challenge=True)
    return known
