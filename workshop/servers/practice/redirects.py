"""Which redirect URIs the practice GitHub accepts: GitHub's rule, laxer than an exact match.

Source: docs.github.com, "Authorizing OAuth apps", sections "Redirect URLs" and "Loopback redirect urls".
"""

from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def accepts(callback_url: str, redirect_uri: str) -> bool:
    """Same scheme and host (or a subdomain), same port unless loopback, same path or one below it."""
    try:
        wanted, asked = urlsplit(callback_url), urlsplit(redirect_uri)
        same_port = _port(wanted) == _port(asked)
    except ValueError:
        return False
    if asked.fragment or asked.username is not None or asked.scheme != wanted.scheme:
        return False
    return _same_host(wanted, asked, same_port=same_port) and _below(wanted.path, asked.path)


def with_parameters(uri: str, parameters: dict[str, str]) -> str:
    """The URI with `parameters` added to its query."""
    parts = urlsplit(uri)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))


def _same_host(wanted: SplitResult, asked: SplitResult, *, same_port: bool) -> bool:
    ours, theirs = (wanted.hostname or "").lower(), (asked.hostname or "").lower()
    if ours in _LOOPBACK:
        return theirs == ours
    return same_port and (theirs == ours or theirs.endswith(f".{ours}"))


def _below(wanted: str, asked: str) -> bool:
    if {".", ".."} & set(asked.split("/")) or "%" in asked or "\\" in asked:
        return False
    root = wanted.rstrip("/")
    return asked.rstrip("/") == root or asked.startswith(f"{root}/")


def _port(url: SplitResult) -> int:
    return url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
