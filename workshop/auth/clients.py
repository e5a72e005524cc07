"""Clients: their metadata, from a registration (RFC 7591) or a document (draft CIMD-02), and their secrets.

A secret is random, given out once, and stored as its digest. PKCE is required all the same: the secret proves
who redeems a code, the verifier proves who began the login.
"""

import base64
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote_plus

from starlette.requests import Request

from workshop.auth.config_reader import LOOPBACK_HOSTS, split_url
from workshop.auth.http import OAuthError, Parameters, visible
from workshop.auth.redirect_rules import DOT_SEGMENT, FORBIDDEN, MOST_REDIRECT_URIS, registration_problem
from workshop.auth.vault import digest, same_secret
from workshop.core.text import DNS_LABEL

GRANT_TYPES = ("authorization_code", "refresh_token")
_NAME_CHARACTERS = 256
_CLIENT_ID_CHARACTERS = 1024
_SHOWN_CHARACTERS = 100
_UNQUOTABLE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_HOST_CHARACTERS = 253  # RFC 1035 section 2.3.4


def read_document(body: bytes) -> dict[str, Any]:
    """The members of a JSON object in UTF-8 that have a value.

    Each member is there once: two parsers must not see two redirect URIs. `null` means that a member is
    absent (RFC 7592 section 2.2), and so do `""` and `[]`, which some clients send for what they do not have:
    for none of the members would RFC 7591 section 2 give an empty value a meaning.

    Raises OAuthError.
    """
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise refused("The metadata is not JSON, or has a key twice") from error
    if not isinstance(document, dict):
        raise refused("The metadata is not a JSON object")
    return {name: value for name, value in document.items() if value not in (None, "", [])}


def application_type(document: dict[str, Any]) -> str | None:
    """Raises OAuthError."""
    value = document.get("application_type")
    if value not in (None, "native", "web"):
        raise refused("application_type is native or web")
    return str(value) if value else None


def client_auth_method(document: dict[str, Any], supported: Sequence[str] = ("none",)) -> str:
    """How a client of the code flow will authenticate; `none` if it does not say, as in ToolHive.

    RFC 7591 section 2 has `client_secret_basic` for the default, from before public clients had PKCE.

    Raises OAuthError for another method than the `supported` ones, and for another flow.
    """
    method = document.get("token_endpoint_auth_method", "none")
    if method not in supported:
        raise refused(f"token_endpoint_auth_method must be one of: {' '.join(supported)}")
    if document.get("response_types", ["code"]) != ["code"]:
        raise refused("Only response_types code is supported")
    return str(method)


def redirect_uris(document: dict[str, Any]) -> tuple[str, ...]:
    """Raises OAuthError (`invalid_redirect_uri`)."""
    value, kind = document.get("redirect_uris"), application_type(document)
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_REDIRECT_URIS:
        raise OAuthError("invalid_redirect_uri", f"Register 1 to {MOST_REDIRECT_URIS} redirect URIs")
    for number, uri in enumerate(value):
        problem = registration_problem(uri, kind)
        if problem:
            raise OAuthError("invalid_redirect_uri", f"redirect_uris[{number}] {_quoted(uri)}: {problem}")
    return tuple(dict.fromkeys(value))


def client_name(document: dict[str, Any]) -> str:
    """The name without characters that deceive; empty when there is none.

    Raises OAuthError.
    """
    value = document.get("client_name")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _NAME_CHARACTERS:
        raise refused(f"client_name is a text of at most {_NAME_CHARACTERS} characters")
    return visible(value)


def _quoted(uri: object) -> str:
    """The start of a URI in the characters of an error description (RFC 6749 section 5.2)."""
    if not isinstance(uri, str):
        return "is not a text"
    return f"({_UNQUOTABLE.sub('?', uri[:_SHOWN_CHARACTERS])}{'...' if len(uri) > _SHOWN_CHARACTERS else ''})"


def refused(description: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# At least two labels, in lower case, the last one not a number: browsers and resolvers read `1.2.3`, `0x7f.1`
# and `2130706433` as IPv4 addresses (URL standard, "ends in a number").
_NAME = re.compile(rf"({DNS_LABEL}\.)+(?![0-9]+$|0x[0-9a-f]*$){DNS_LABEL}")


def is_url(client_id: str) -> bool:
    """Whether a client id is meant as an address; ids of registered clients have no scheme."""
    return _SCHEME.match(client_id) is not None


def client_id_problem(client_id: str, *, loopback: bool) -> str | None:
    """Why an address cannot be a client id, or None.

    One spelling a client: https, a host by name, a path; no user name, fragment or dot segment. With
    `loopback`, plain http to this computer too.
    """
    parts = (
        None
        if len(client_id) > _CLIENT_ID_CHARACTERS or FORBIDDEN.search(client_id)
        else split_url(client_id)
    )
    # `urlsplit` lower-cases the scheme, but client ids are compared as they are written.
    if parts is None or not client_id.startswith(f"{parts.scheme}://{parts.netloc}"):
        return "The address is not an absolute https URL without user name and fragment"
    return _path_problem(parts.path) or _host_problem(parts, loopback=loopback)


def _path_problem(path: str) -> str | None:
    if path in {"", "/"}:
        return "The address has no path"
    if DOT_SEGMENT.search(path) or "//" in path:
        return "The address has empty or dot segments in its path"
    return None


def _host_problem(parts: SplitResult, *, loopback: bool) -> str | None:
    host = parts.hostname or ""
    if loopback and host in LOOPBACK_HOSTS:
        return None
    if parts.scheme != "https":
        return "The address is not https"
    # `hostname` is always in lower case; `netloc` is as it was written.
    if len(host) > _HOST_CHARACTERS or not _NAME.fullmatch(host) or parts.netloc.partition(":")[0] != host:
        return "The address has no full domain name in lower case for a host"
    return None


def document_host(client_id: str) -> str | None:
    """Host and port of the address a client has for its id, for a person to read; None for other ids."""
    parts = split_url(client_id) if is_url(client_id) else None
    return parts.netloc if parts else None


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
    # An empty `client_secret` counts as none, because some public clients send one.
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
        # Without `validate`, Python skips characters that are not base64.
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
