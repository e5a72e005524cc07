"""Redirect URIs: which ones a client may register, which request matches one, and what a person is shown.

A code goes wherever a redirect URI leads, so this file is where a mistake is most expensive.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from workshop.auth.config_reader import LOOPBACK_HOSTS, split_url

MOST_REDIRECT_URIS = 10
_MOST_CHARACTERS = 2048
FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\U0010ffff\\#*<>\"`{}|^]")
# `%2e` too, because browsers resolve it like a dot (URL standard).
DOT_SEGMENT = re.compile(r"(?i)(^|/)(\.|%2e){1,2}(/|$)")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?((?:[/?].*)?)")
# RFC 8252 section 7.1 has one slash after the scheme; Cursor's URI has two.
_PRIVATE_USE = re.compile(r"([a-z][a-z0-9+.-]{1,63}):/{1,3}[^/?@][^@]*")
# The answer adds these (RFC 6749 section 4.1.2, RFC 9207); a client may read the first of two.
_RESERVED = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})

# The names of schemes, and why no application may claim them.
_UNSAFE_SCHEMES: Mapping[str, str] = {
    "a browser runs it, or shows it as a page": (
        "javascript vbscript livescript mocha data blob filesystem about urn tag view-source jar mhtml cid "
        "mid res resource wyciwyg feed"
    ),
    "it opens files": "file content smb nfs afp webdav webdavs dav davs",
    "it sends the code over a network": (
        "http ws wss ftp ftps sftp tftp gopher telnet ssh scp rlogin finger ldap ldaps dict rtsp rtmp git "
        "svn imap pop smtp vnc rdp redis"
    ),
    "the operating system, or an app store, gives it a meaning": (
        "intent android-app market itms itms-apps itms-services shell search search-ms hcp mk its jnlp help "
        "applescript prefs app-settings shortcuts tel sms mms callto facetime facetime-audio maps"
    ),
    "it belongs to the browser": "edge brave opera vivaldi extension devtools",
    # The schemes that a page may register for itself (HTML standard, `registerProtocolHandler`).
    "any website may register for it": (
        "bitcoin ethereum geo im irc ircs magnet mailto matrix news nntp openpgp4fpr sip sips smsto webcal "
        "wtai xmpp"
    ),
}
_UNSAFE_FAMILIES: Mapping[str, str] = {
    "ms-": "Windows gives it a meaning",
    "web+": "any website may register for it",
    "ext+": "any browser extension may register for it",
    "chrome": "it belongs to the browser",
    "moz-": "it belongs to the browser",
    "x-apple": "macOS gives it a meaning",
}


def registration_problem(uri: object, application_type: str | None) -> str | None:
    """Why a redirect URI cannot be registered, or None.

    Allowed are https, http on loopback (RFC 8252 section 7.3), and a scheme of the application's own (section
    7.1). The latter is for public clients: any program can claim the scheme, and without the verifier (PKCE,
    section 8.1) the code that it then gets is worthless. Section 8.4 would have a scheme contain a period;
    Cursor's and VS Code's do not, so this server, like ToolHive, does not ask for one.
    """
    if not isinstance(uri, str) or not uri or len(uri) > _MOST_CHARACTERS:
        return f"A redirect URI is a text of at most {_MOST_CHARACTERS} characters"
    if FORBIDDEN.search(uri):
        return "A redirect URI has no fragment, wildcard, whitespace or characters outside ASCII"
    parts = split_url(uri)
    problem = (
        _scheme_problem(uri, application_type)
        if parts is None
        else _web_problem(uri, parts, application_type)
    )
    return problem or _query_problem(uri)


def _web_problem(uri: str, parts: SplitResult, application_type: str | None) -> str | None:
    if DOT_SEGMENT.search(parts.path):
        return "A redirect URI's path has no dot segments"
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(uri):
        return "Plain http is for localhost, 127.0.0.1 and [::1] only"
    if application_type == "web" and (parts.scheme == "http" or parts.hostname in LOOPBACK_HOSTS):
        return "A web application's redirect URI is https and not on loopback"
    return None


def _scheme_problem(uri: str, application_type: str | None) -> str | None:
    """The problem of a URI that is neither http nor https, or that is one of these and cannot be read."""
    match = _PRIVATE_USE.fullmatch(uri)
    if match is None or match[1] == "https":
        return "A redirect URI is https, http on loopback, or has a scheme of its own; it has no user name"
    reason = unsafe_scheme(match[1])
    if reason:
        return f"The scheme {match[1]} is not accepted: {reason}"
    if application_type == "web":
        return "A web application's redirect URI is https and not on loopback"
    if DOT_SEGMENT.search(uri.partition("?")[0]):
        return "A redirect URI's path has no dot segments"
    return None


def unsafe_scheme(scheme: str) -> str | None:
    """Why a scheme is not an application's own, or None."""
    for reason, schemes in _UNSAFE_SCHEMES.items():
        if scheme in schemes.split():
            return reason
    return next((why for start, why in _UNSAFE_FAMILIES.items() if scheme.startswith(start)), None)


def _query_problem(uri: str) -> str | None:
    names = {name for name, _ in parse_qsl(urlsplit(uri).query, keep_blank_values=True)}
    reserved = sorted(names & _RESERVED)
    return f"A redirect URI's query has no {reserved[0]}: the answer adds it" if reserved else None


def redirect_uri_matches(requested: str, registered: str) -> bool:
    """Equal as strings; of two loopback URIs only the port may differ (RFC 8252 section 7.3).

    `localhost` and `127.0.0.1` are different hosts.
    """
    if requested == registered:
        return True
    one, other = _LOOPBACK.fullmatch(requested), _LOOPBACK.fullmatch(registered)
    # `split_url` refuses a port above 65535, which the pattern allows.
    if one is None or other is None or split_url(requested) is None:
        return False
    return one.groups() == other.groups()


@dataclass(frozen=True)
class Destination:
    """Where a redirect URI leads: a host and its port, or an address up to its path with `scheme`."""

    shown: str
    kind: Literal["website", "loopback", "scheme"]
    scheme: str = ""

    @classmethod
    def of(cls, uri: str) -> "Destination":
        parts = split_url(uri)
        if parts is None:
            split = urlsplit(uri)
            return cls(f"{split.scheme}://{split.netloc}" if split.netloc else uri, "scheme", split.scheme)
        return cls(parts.netloc, "loopback" if parts.hostname in LOOPBACK_HOSTS else "website")

    @property
    def is_local(self) -> bool:
        """Whether the code stays on this computer, where any program may take it."""
        return self.kind != "website"
