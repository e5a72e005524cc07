"""Which addresses a server may send the person to."""

import re
from urllib.parse import urlsplit

from workshop.agent.oauth_checks import check_address
from workshop.core.errors import WorkshopError

LONGEST = 2000
# RFC 3986 section 2 and no more: other characters are where programs read one URL as two different ones.
_ALLOWED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def mistake_in(url: str, server_url: str) -> str:
    """Why the address is not shown to be opened; empty when it may be. It is never part of the text."""
    if len(url) > LONGEST:
        return f"it is longer than {LONGEST} characters, and nobody could read it"
    if not _ALLOWED.fullmatch(url):
        return "it has characters that no URL has (RFC 3986)"
    try:
        parts = urlsplit(url)
        _ = parts.port
        check_address(url, server_url)
    except ValueError:
        return "it is no URL"
    except WorkshopError as error:
        return f"{error.why[:1].lower()}{error.why[1:]}"
    if "@" in parts.netloc:
        return "it carries a user name or a password"
    return ""
