"""The way out: by the environment's proxy (HTTPS_PROXY, NO_PROXY) for https upstreams, never on loopback.

Only for the upstreams of the configuration. A client's metadata document is fetched directly: the guard has
to see the address it connects to, and behind a proxy somebody else resolves the name.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from yarl import URL

from workshop.auth.config_reader import LOOPBACK_HOSTS
from workshop.core.errors import UsageError


def proxy_for(url: str) -> URL | None:
    """The proxy for an upstream, with its credentials if the environment has some, or None.

    Raises UsageError for a proxy address that is none.
    """
    parts = urlsplit(url)
    proxies = getproxies_environment()
    address = proxies.get("https") or proxies.get("all")
    # Plain http leads to loopback only (see the configuration), and nobody else's loopback is meant.
    if not address or parts.scheme != "https" or parts.hostname in LOOPBACK_HOSTS:
        return None
    if proxy_bypass(parts.netloc):
        return None
    return _proxy(address)


def _proxy(address: str) -> URL:
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
        usable = proxy.host is not None and proxy.port is not None and proxy.scheme in {"http", "https"}
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "HTTPS_PROXY is not the address of a proxy",
            why="It has no host, or is neither http nor https",
            hint="Write http://HOST:PORT",
        )
    return proxy
