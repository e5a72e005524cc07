"""HTTP clients: to loopback directly, elsewhere as the variables of proxies and TLS say; bodies are bounded.

A proxy or a trust store of the environment is made when a request first needs it: a mistake in a variable
must not stop what talks to this machine only, and where it matters the error names the variable.
"""

import functools
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import httpx2

from workshop.core.bounded import CODING, bounded_answers, bounded_answers_sync
from workshop.core.errors import PreflightError
from workshop.core.outgoing import check_variables, explaining_localhost, is_loopback

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def open_client(
    *,
    limits: httpx2.Limits | None = None,
    streams: bool = False,
    recording: Sequence[Callable[..., Any]] = (),
    **options: Any,  # noqa: ANN401 - httpx2's
) -> httpx2.AsyncClient:
    """A client for any address; `options` are those of `httpx2.AsyncClient`.

    `streams` allows event streams without an end (see `bounded_answers`). The response hooks in `recording`
    get the body as it was sent, before it is unpacked.

    A request to elsewhere raises PreflightError if a variable of proxies or TLS cannot be used.
    """
    bounded = _bounded(bounded_answers(streams=streams), options, recording)
    return httpx2.AsyncClient(transport=_Routes(limits or httpx2.Limits()), **bounded)


def open_local_client(*, streams: bool = False, **options: Any) -> httpx2.AsyncClient:  # noqa: ANN401 - as above
    """A client for this machine only: it reads no environment variable."""
    bounded = _bounded(bounded_answers(streams=streams), options)
    return httpx2.AsyncClient(transport=_Loopback(), trust_env=False, **bounded)


def open_local_client_sync(**options: Any) -> httpx2.Client:  # noqa: ANN401 - as above
    """The same client for code that is not asynchronous."""
    bounded = _bounded(bounded_answers_sync(), options)
    return httpx2.Client(verify=_no_certificates(), trust_env=False, **bounded)


def _bounded(
    bound: Callable[..., Any], options: dict[str, Any], recording: Sequence[Callable[..., Any]] = ()
) -> dict[str, Any]:
    """The options with a response hook that comes before those that might read the body."""
    hooks = options.get("event_hooks", {})
    return {
        **options,
        "headers": {"accept-encoding": CODING, **options.get("headers", {})},
        "event_hooks": {**hooks, "response": [*recording, bound, *hooks.get("response", ())]},
    }


class _Loopback(httpx2.AsyncHTTPTransport):
    """Connects directly, and trusts no certificate: for plain HTTP on this machine."""

    def __init__(self, limits: httpx2.Limits | None = None) -> None:
        super().__init__(verify=_no_certificates(), trust_env=False, limits=limits or httpx2.Limits())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        with explaining_localhost(request.url.host, httpx2.ConnectError):
            return await super().handle_async_request(request)


class _Routes(httpx2.AsyncBaseTransport):
    """Chooses for each request: directly to this machine, or out through `httpx2`'s own choice of proxies."""

    def __init__(self, limits: httpx2.Limits) -> None:
        self._limits = limits
        self._loopback = _Loopback(limits)
        self._outside: httpx2.AsyncClient | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.scheme == "http" and is_loopback(str(request.url)):
            return await self._loopback.handle_async_request(request)
        if self._outside is None:
            self._outside = _outside_client(self._limits)
        return await self._outside.send(request, stream=True)

    async def aclose(self) -> None:
        await self._loopback.aclose()
        if self._outside is not None:
            await self._outside.aclose()


def _outside_client(limits: httpx2.Limits) -> httpx2.AsyncClient:
    check_variables()
    # NO_PROXY rarely names `localhost`, so loopback over TLS is direct too.
    direct: dict[str, httpx2.AsyncBaseTransport | None] = {f"all://{host}": None for host in _LOOPBACK_HOSTS}
    try:
        return httpx2.AsyncClient(verify=_system_certificates(), limits=limits, mounts=direct)
    except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
        raise PreflightError(
            "The environment's variables of proxies and TLS cannot be used",
            why=str(error),
            hint="`workshop doctor --all` shows each of them",
        ) from error


@functools.cache
def _system_certificates() -> ssl.SSLContext:
    # Reading them takes 20 ms, and a login opens several clients.
    return httpx2.create_ssl_context()


@functools.cache
def _no_certificates() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
