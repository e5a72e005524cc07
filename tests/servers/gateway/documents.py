"""Client metadata documents: a server that has them, and names and certificates under test control."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_INET, AddressFamily
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.servers.gateway.harness import CALLBACK
from workshop.auth.client_documents import Document, DocumentError
from workshop.core.ports import free_port

CLIENT = "https://client.example.com/mcp-client.json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def document(url: str = CLIENT, **changes: Any) -> dict[str, Any]:
    """A client's description of itself, as it should be; None leaves a field out."""
    described = {
        "client_id": url,
        "client_name": "A described client",
        "redirect_uris": [CALLBACK],
        **changes,
    }
    return {name: value for name, value in described.items() if value is not None}


@dataclass
class Library:
    """Documents without a network: what is fetched, how often, and a gate that keeps a fetch waiting."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    open: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, url: str) -> Document:
        self.fetched.append(url)
        self.asked.set()
        if self.open is not None:
            await self.open.wait()
        if url not in self.bodies:
            raise DocumentError("The document cannot be fetched")
        return Document(self.bodies[url], self.headers)


@dataclass
class Names(AbstractResolver):
    """A DNS that gives the answers of `answers` one after the other, the last one for ever."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to release; the session closes it after each fetch."""


@asynccontextmanager
async def documents_at(
    handler: Handler,
    address: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    port: int | None = None,
) -> AsyncIterator[int]:
    """A real server on one loopback address; gives its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, address, port, ssl_context=tls).start()
    try:
        yield port
    finally:
        await runner.cleanup()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server that is `name`, and of a client that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "tls.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=pem.decode())
    return server, client
