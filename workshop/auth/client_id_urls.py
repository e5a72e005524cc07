"""Client ids that are addresses: which ones name a metadata document (draft CIMD-02 section 3)."""

import re
from urllib.parse import SplitResult

from workshop.auth.config_reader import LOOPBACK_HOSTS, split_url
from workshop.auth.redirects import DOT_SEGMENT, FORBIDDEN

_LONGEST = 1024
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# At least two labels, in lower case, the last one not a number: browsers and resolvers read `1.2.3`, `0x7f.1`
# and `2130706433` as IPv4 addresses (URL standard, "ends in a number").
_NAME = re.compile(rf"({_LABEL}\.)+(?![0-9]+$|0x[0-9a-f]*$){_LABEL}")
_LONGEST_NAME = 253


def is_url(client_id: str) -> bool:
    """Whether a client id is meant as an address; ids of registered clients have no scheme."""
    return _SCHEME.match(client_id) is not None


def client_id_problem(client_id: str, *, loopback: bool) -> str | None:
    """Why an address cannot be a client id, or None.

    One spelling a client: https, a host by name, a path; no user name, fragment or dot segment. With
    `loopback`, plain http to this computer too.
    """
    parts = None if len(client_id) > _LONGEST or FORBIDDEN.search(client_id) else split_url(client_id)
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
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host) or parts.netloc.partition(":")[0] != host:
        return "The address has no full domain name in lower case for a host"
    return None


def document_host(client_id: str) -> str | None:
    """Host and port of the address a client has for its id, for a person to read; None for other ids."""
    parts = split_url(client_id) if is_url(client_id) else None
    return parts.netloc if parts else None
