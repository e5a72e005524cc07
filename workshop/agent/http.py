"""HTTP clients of the agent: bounded in time, and loopback never goes through a proxy."""

import functools
import ipaddress
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

from workshop.trace.current import current

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0
"""Servers end idle connections after 5 seconds (uvicorn, Node); a request sent right then would be lost."""
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

ResponseHook = Callable[[Any], Coroutine[Any, Any, None]]


def open_client(
    timeout: float,
    *,
    auth: httpx2.Auth | None = None,
    on_response: Sequence[ResponseHook] = (),
    sender: str | None = "agent",
) -> httpx2.AsyncClient:
    """An HTTP client that waits at most `timeout` seconds for each read.

    A room behind a corporate proxy rarely excludes `localhost` from it, so loopback is always direct. A
    flight recorder, if there is one, hears it as from `sender`; None keeps it out.
    """
    hooks: dict[str, list[ResponseHook]] = {"request": [], "response": list(on_response)}
    if sender and (recorder := current()):
        requested, responded = recorder.hooks(sender)
        hooks = {"request": [requested], "response": [responded, *on_response]}
    direct: dict[str, httpx2.AsyncBaseTransport | None] = {f"all://{host}": None for host in _LOOPBACK_HOSTS}
    return httpx2.AsyncClient(
        auth=auth,
        verify=_tls(),
        timeout=httpx2.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
        limits=httpx2.Limits(max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS),
        mounts=direct,
        event_hooks=hooks,
    )


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the system's certificates takes 20 ms, and a login opens several clients.
    return httpx2.create_ssl_context()


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine: `localhost` or a loopback address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
