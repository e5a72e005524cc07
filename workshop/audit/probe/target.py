"""The server that is probed: one http(s) URL."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from workshop.core.errors import UsageError

_HINT = "Give the MCP server's whole URL, such as `http://localhost:8080/mcp`"


@dataclass(frozen=True)
class Target:
    """An http(s) URL without credentials, query or fragment."""

    url: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Raises UsageError for anything but an http(s) URL."""
        parts = split(url)
        if parts is None:
            shown = re.sub(r"[^/]*@", "***@", url[:200])  # it may hold a password
            raise UsageError(f"{shown!r} is not an http or https URL", hint=_HINT)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                "The URL has a user name, a query or a fragment",
                why="The probe sends no credentials and reports the plain address",
                hint=_HINT,
            )
        return cls(parts._replace(path=parts.path or "/").geturl())

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def origin(self) -> str:
        return f"{self.parts.scheme}://{self.parts.netloc}"

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)


def split(url: object) -> SplitResult | None:
    """The parts of an absolute http(s) URL; None for anything else."""
    if not isinstance(url, str) or any(ord(char) <= ord(" ") for char in url):
        return None
    try:
        url.encode()  # JSON can spell half a surrogate pair
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if whole else None


def host_of(url: object) -> str:
    """The host of an http(s) URL, else an empty string."""
    parts = split(url)
    return (parts.hostname or "") if parts else ""


def joined(base: str, reference: str) -> str:
    """A reference made absolute; empty when it cannot be read."""
    try:
        return urljoin(base, reference)
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_secure(url: object) -> bool:
    """Whether a URL is https, or leads to this machine (OAuth 2.1 section 1.5)."""
    parts = split(url)
    return parts is not None and (parts.scheme == "https" or is_loopback(parts.hostname or ""))
