"""The network: `localhost`, the variables of proxies and TLS, and with `--online` the image registry."""

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from workshop.core.instance import Instance
from workshop.core.outgoing import LOCALHOST_REMEDY, PROXIES, judged_variables, localhost_problem
from workshop.course.doctor.finding import Finding, Machine, Severity
from workshop.course.lessons import ways_to_register
from workshop.lab.pins import Pins

_CONNECT_SECONDS = 5.0
_HTTPS_PORT = 443


def localhost(_: Machine) -> Iterator[Finding]:
    """Whether `localhost`, which every URL of the lessons names, is this machine's loopback address."""
    if problem := localhost_problem():
        yield Finding("localhost", "fail", problem, LOCALHOST_REMEDY)
    else:
        yield Finding("localhost", "ok", "`localhost` is this machine's loopback address")


def variables(_: Machine) -> Iterator[Finding]:
    """Whether each variable of proxies and TLS that is set can be used; only loopback works without it."""
    for variable in judged_variables():
        found = f"{variable.name}: {variable.problem or 'its value can be used'}"
        severity: Severity = "warn" if variable.problem else "ok"
        yield Finding(
            variable.name.lower().replace("_", "-"),
            severity,
            found,
            variable.remedy if variable.problem else "",
        )


def proxy(machine: Machine) -> Iterator[Finding]:
    """Proxy variables, and whether localhost bypasses the proxy."""
    set_here = [name for name in PROXIES if os.environ.get(name, os.environ.get(name.lower()))]
    if not set_here:
        return
    direct = (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(",")
    if "localhost" not in [name.strip() for name in direct]:
        remedy = 'Run `export NO_PROXY="$NO_PROXY,localhost,127.0.0.1"`'
        yield Finding("proxy", "warn", f"{set_here[0]} is set, and NO_PROXY does not name localhost", remedy)
    else:
        yield Finding("proxy", "ok", f"{set_here[0]} is set, localhost bypasses it")
    if machine.cluster and Pins.load().proxy is None:
        remedy = "Configure the cluster too: `--override proxy=URL`, and `ca-file=FILE` if it intercepts TLS"
        yield Finding("proxy-cluster", "info", "Only kind passes the proxy on to the cluster's node", remedy)


def registry(machine: Machine) -> Iterator[Finding]:
    """Whether the registry of our images answers, and whether this machine trusts its certificate."""
    if not machine.online:
        return
    pins = Pins.load()
    host, port = _address(pins.registry_mirror or pins.operator.split("/", 1)[0])
    try:
        issuer = _issuer(host, port)
    except ssl.SSLCertVerificationError as error:
        remedy = "Something intercepts TLS: `--override ca-file=FILE` gives the cluster its certificate"
        yield Finding("registry-tls", "fail", f"{host}: {error.verify_message}", remedy)
    except OSError as error:
        remedy = "Bring `workshop bundle create FILE` along, or use `workshop up --backend embedded`"
        yield Finding("registry", machine.unless_wanted, f"{host}:{port} does not answer: {error}", remedy)
    else:
        yield Finding("registry", "ok", f"{host} answers; its certificate is from {issuer}")


def client_documents(_: Machine) -> Iterator[Finding]:
    """While proxies are up: whether their clients may name a document to fetch, or must register."""
    for sentence in ways_to_register() if Instance.load().record else ():
        yield Finding("client-documents", "info", f"{sentence}; `cimd` in the manifest decides")


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(text if "//" in text else f"//{text}")
    return parts.hostname or text, parts.port or _HTTPS_PORT


def _issuer(host: str, port: int) -> str:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        certificate: dict[str, Any] = dict(secured.getpeercert() or {})
    fields = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    return str(fields.get("organizationName") or fields.get("commonName") or "an unnamed issuer")
