"""Redirect URIs: what may be registered, and when a requested one is the registered one."""

import re
from urllib.parse import SplitResult

from workshop.auth.config_reader import LOOPBACK_HOSTS, split_url

_LONGEST = 2048
FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\U0010ffff\\#*<>\"`{}|^]")
DOT_SEGMENT = re.compile(r"(?i)(^|/)(\.|%2e){1,2}(/|$)")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?((?:[/?].*)?)")


def registration_problem(uri: object, application_type: str | None) -> str | None:
    """Why a redirect URI cannot be registered, or None: https, or http on loopback (OAuth 2.1, RFC 8252)."""
    if not isinstance(uri, str) or not uri or len(uri) > _LONGEST:
        return f"A redirect URI is a text of at most {_LONGEST} characters"
    if FORBIDDEN.search(uri):
        return "A redirect URI has no fragment, wildcard, whitespace or characters outside ASCII"
    parts = split_url(uri)
    if parts is None:
        return "A redirect URI is an absolute https URL, or http on loopback, without user name"
    if DOT_SEGMENT.search(parts.path):
        return "A redirect URI's path has no dot segments"
    return _scheme_problem(uri, parts, application_type)


def _scheme_problem(uri: str, parts: SplitResult, application_type: str | None) -> str | None:
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(uri):
        return "Plain http is for localhost, 127.0.0.1 and [::1] only"
    if application_type == "web" and (parts.scheme == "http" or parts.hostname in LOOPBACK_HOSTS):
        return "A web application's redirect URI is https and not on loopback"
    return None


def matches(requested: str, registered: str) -> bool:
    """Equal as strings; of two loopback URIs only the port may differ (RFC 8252 section 7.3).

    `localhost` and `127.0.0.1` are different hosts.
    """
    if requested == registered:
        return True
    one, other = _LOOPBACK.fullmatch(requested), _LOOPBACK.fullmatch(registered)
    if one is None or other is None or split_url(requested) is None:
        return False
    return one.groups() == other.groups()


def shown_host(uri: str) -> tuple[str, bool]:
    """Host and port of a redirect URI for a person to read, and whether that is this computer."""
    parts = split_url(uri)
    if parts is None:
        return uri, False
    return parts.netloc, parts.hostname in LOOPBACK_HOSTS
