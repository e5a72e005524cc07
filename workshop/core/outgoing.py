"""How this machine reaches servers: the variables of proxies and TLS, and the name `localhost`."""

import contextlib
import errno
import importlib.util
import ipaddress
import os
import socket
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from workshop.core.errors import PreflightError, UsageError, reason
from workshop.core.text import plain

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
TLS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_SOCKS = ("socks5", "socks5h")
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Variable:
    """An environment variable that is set; `problem` is "" if its value can be used.

    The value itself is not here, because the address of a proxy may hold a password.
    """

    name: str
    problem: str = ""
    remedy: str = ""


def judged_variables() -> Iterator[Variable]:
    """Each variable of proxies and TLS that is set, in either spelling for proxies, with what is wrong."""
    for name in (spelled for proxy in PROXIES for spelled in (proxy, proxy.lower())):
        if value := os.environ.get(name):
            remedy = f"Write http://HOST:PORT, or run `unset {name}`"
            yield Variable(name, _proxy_problem(value), remedy)
    for name, problem in zip(TLS, (_certificates_problem, _folder_problem, _key_log_problem), strict=True):
        if value := os.environ.get(name):
            yield Variable(name, problem(Path(value)), f"Run `unset {name}`, or correct its value")


def check_variables(names: Collection[str] = (*PROXIES, *TLS)) -> None:
    """Raise PreflightError that names the first of these variables whose value cannot be used."""
    for variable in judged_variables():
        if variable.problem and variable.name.upper() in names:
            raise PreflightError(
                f"The environment variable {variable.name} cannot be used",
                why=variable.problem,
                hint=variable.remedy,
            )


def _proxy_problem(value: str) -> str:
    # httpx2 reads an address without a scheme as http, too.
    address = urlsplit(value if "://" in value else f"http://{value}")
    try:
        port = address.port
    except ValueError:
        return f"Its port is not a number from 1 to {_HIGHEST_PORT}"
    if address.scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        return "It names a SOCKS proxy, which needs the package `socksio`, and that is not installed"
    if address.scheme not in {"http", "https", *_SOCKS}:
        return f"A proxy's address does not begin with `{address.scheme}://`"
    return "" if address.hostname and port != 0 else "It names no host"


def _certificates_problem(file: Path) -> str:
    if not file.is_file():
        return "It is not a file" if file.exists() else "There is no such file"
    try:
        # Not `create_default_context`: that reads SSLKEYLOGFILE too, which is judged by itself.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        return "The file holds no certificates in PEM format"
    except OSError as error:
        return f"The file cannot be read: {reason(error)}"
    return ""


def _folder_problem(folders: Path) -> str:
    missing = [folder for folder in str(folders).split(os.pathsep) if not Path(folder).is_dir()]
    return f"There is no folder `{missing[0]}`" if missing else ""


def _key_log_problem(file: Path) -> str:
    # Python opens it with the first TLS context, whether or not anything goes out.
    if file.is_dir():
        return "It is a folder"
    if not file.parent.is_dir():
        return "Its folder does not exist"
    return "" if os.access(file if file.exists() else file.parent, os.W_OK) else "It is not writable"


def web_url(text: str) -> SplitResult | None:
    """The parts of an absolute http or https URL; None for anything else."""
    # `urlsplit` drops tabs and line ends, so another URL would be checked than the one that is used.
    if any(char <= " " for char in text):
        return None
    try:
        parts = urlsplit(text)
        usable = parts.port != 0  # reading it raises ValueError for a port that cannot be one
    except ValueError:
        return None
    return parts if usable and parts.hostname and parts.scheme in {"http", "https"} else None


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine: `localhost` or a loopback address."""
    return is_loopback_host(urlsplit(url).hostname or "")


def is_loopback_host(host: str) -> bool:
    """Whether a host is `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        # The name is not looked up: whoever answers for it could call any server loopback.
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def no_token_for(url: str) -> UsageError:
    """The error for an address to which no token is sent."""
    why = "It needs https, or http on this machine, as a token is sent there"
    return UsageError(f"No login at {plain(url)!r}", why=why)


def localhost_problem() -> str:
    """What is wrong with the name `localhost` on this machine; "" if it leads to 127.0.0.1 or ::1."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo("localhost", None)}
    except OSError:
        return "`localhost` has no address on this machine"
    if found & {"127.0.0.1", "::1"}:
        return ""
    return f"`localhost` is {', '.join(sorted(found))} on this machine, and servers listen on 127.0.0.1"


LOCALHOST_REMEDY = "Add the line `127.0.0.1 localhost` to the hosts file of this machine (`/etc/hosts`)"
LOOPBACK_REMEDY = "Turn it on as root: `ip link set lo up`"
_NO_ROUTE = {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH}


def loopback_problem() -> str:
    """Why no program of this machine reaches another one at 127.0.0.1; "" if it does."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", 9))  # only looks up the route: nothing is sent
    except OSError as error:
        if error.errno in _NO_ROUTE:
            return f"This machine's loopback interface is down: 127.0.0.1: {reason(error)}"
    return ""


def check_loopback() -> None:
    """Raise PreflightError where a server that is started here could not be reached."""
    if problem := loopback_problem():
        what, _, why = problem.partition(": ")
        raise PreflightError(what, why=why, hint=LOOPBACK_REMEDY)


@contextlib.contextmanager
def explaining_localhost(host: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn one of these errors of a connection to `host` into PreflightError if this machine is the cause."""
    try:
        yield
    except errors as error:
        if host in ("localhost", "127.0.0.1"):
            check_loopback()
        if host == "localhost" and (problem := localhost_problem()):
            raise PreflightError(problem, hint=LOCALHOST_REMEDY) from error
        raise
