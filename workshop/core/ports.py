"""Loopback ports: bind them, check whether they are free, and find the process that uses one."""

import contextlib
import errno
import functools
import itertools
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping

from workshop.core.errors import PreflightError, UsageError, reason

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_EVERYWHERE = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
LOWEST, HIGHEST = 1024, 65535  # below 1024, most systems let only root listen
# Below every system's ephemeral range: an outgoing connection cannot take the port before its server does.
UNUSED = range(20_000, 32_000)


def bind_loopback(port: int) -> list[socket.socket]:
    """Bind `port` on 127.0.0.1 and, where IPv6 exists, on ::1: `localhost` may mean either.

    Raises PreflightError if one of them is taken, after closing the other.
    """
    return _bind_each(_LOOPBACK, port)


def bind_everywhere(port: int) -> list[socket.socket]:
    """Bind `port` on every address, as in a pod, where network policy decides who may connect.

    Raises PreflightError when it is taken.
    """
    return _bind_each(_EVERYWHERE, port)


def bind_at(host: str, port: int) -> list[socket.socket]:
    """Bind `port` on `host`: loopback, every address (0.0.0.0 or ::), or one address of this machine.

    Raises PreflightError when it is taken, UsageError for what is not an address of this machine.
    """
    if host in {"localhost", *(address for _, address in _LOOPBACK)}:
        return bind_loopback(port)
    if host in {address for _, address in _EVERYWHERE}:
        return bind_everywhere(port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return [_bind(family, host, port)]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PreflightError(f"Port {port} is already in use on {host}", why=owner(port)) from error
        raise UsageError(
            f"Cannot listen at {host}",
            why=reason(error),
            hint="It is localhost, 0.0.0.0 for all addresses, or one address of this machine",
        ) from error


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` on either loopback address."""
    # Bound but not listening: a child that another thread starts inherits our sockets for a moment.
    for family, host in _LOOPBACK:
        try:
            _bind(family, host, port, listen=False).close()
        except OSError:
            if family is not socket.AF_INET6 or _has_ipv6():
                return False
    return not _answers(port)


def free_port(besides: Collection[int] = ()) -> int:
    """A port that is free on both loopback addresses now, and is not in `besides`."""
    return next(port for port in _shuffled() if port not in besides and is_free(port))


@functools.cache
def _shuffled() -> Iterator[int]:
    # Each process uses a random order of its own, so it never returns a port twice in a row.
    import random

    return itertools.cycle(random.SystemRandom().sample(UNUSED, len(UNUSED)))


def refuse_shared(ports: Mapping[str, int]) -> None:
    """Raise UsageError when two of these workloads want the same port."""
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port in taken:
            raise UsageError(
                f"`{taken[port]}` and `{name}` both use port {port}",
                hint=f"Choose another port: `workshop up --port {name}=PORT`",
            )
        taken[port] = name


def owner(port: int) -> str:
    """A sentence that names the process listening on `port`, or states that the system hides it."""
    import psutil

    # On macOS this is for root only (psutil's documentation of `net_connections`).
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", 0) == port
            if listens and connection.pid:
                return f"It belongs to `{psutil.Process(connection.pid).name()}` (pid {connection.pid})"
    return "The system does not show which process uses it"


def _bind_each(addresses: Iterable[tuple[int, str]], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    for family, host in addresses:
        try:
            bound.append(_bind(family, host, port))
        except OSError as error:
            if family is socket.AF_INET6 and not _has_ipv6():
                continue
            for other in bound:
                other.close()
            raise PreflightError(f"Port {port} is already in use on {host}", why=owner(port)) from error
    return bound


def _bind(family: int, host: str, port: int, *, listen: bool = True) -> socket.socket:
    # asyncio turns off Nagle's algorithm (40 ms a call) only for sockets with IPPROTO_TCP
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has its own socket
        # A server that was restarted may bind while old connections are still in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if listen:
            sock.listen()  # two binds may both succeed; of two listeners one is refused
    except OSError:
        sock.close()
        raise
    return sock


def _answers(port: int) -> bool:
    # macOS lets a second program bind a specific address beside a wildcard listener.
    for family, host in _LOOPBACK:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(0.2)
            sock.connect((host, port))
            return True
    return False


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True
