"""The metadata of a client, from its registration (RFC 7591) or its document (draft CIMD-02)."""

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult

from workshop.auth.config_reader import LOOPBACK_HOSTS, split_url
from workshop.auth.http import OAuthError, visible
from workshop.auth.redirect_rules import DOT_SEGMENT, FORBIDDEN, MOST_REDIRECT_URIS, registration_problem

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
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# At least two labels, in lower case, the last one not a number: browsers and resolvers read `1.2.3`, `0x7f.1`
# and `2130706433` as IPv4 addresses (URL standard, "ends in a number").
_NAME = re.compile(rf"({_LABEL}\.)+(?![0-9]+$|0x[0-9a-f]*$){_LABEL}")


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
    if len(host) > _HOST_CHARACTERS or not _NAME.fullmatch(host) or parts.netloc.partition(":")[0] != host:
        return "The address has no full domain name in lower case for a host"
    return None


def document_host(client_id: str) -> str | None:
    """Host and port of the address a client has for its id, for a person to read; None for other ids."""
    parts = split_url(client_id) if is_url(client_id) else None
    return parts.netloc if parts else None
