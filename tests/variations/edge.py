"""Host names that are not localhost, with TLS in front, and a certificate authority of the test's own.

A client reaches them by the variables that every client knows: `HTTPS_PROXY` is where names are resolved, and
`SSL_CERT_FILE` is the authority.
"""

import asyncio
import datetime as dt
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from workshop.core.ports import bind_at, bind_loopback, free_port

_DAY = dt.timedelta(days=1)
_READY_SECONDS = 100


@dataclass
class Edge:
    """The test's internet: each host name leads to a port of this machine, behind TLS."""

    folder: Path
    port: int
    ports: dict[str, int] = field(default_factory=dict)
    """Host name -> the port that its requests go to, in plain HTTP."""
    asked: list[str] = field(default_factory=list)
    """The host names that clients wanted to reach, in order."""
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "The test's authority")])
        made = self._certificate(
            self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0)
        )
        (self.folder / "authority.pem").write_bytes(made.public_bytes(Encoding.PEM))

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client needs to reach these names, and to believe their certificates."""
        proxy = f"http://127.0.0.1:{self.port}"
        local = "localhost,127.0.0.1,::1"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": local,
            "no_proxy": local,
            "SSL_CERT_FILE": str(self.folder / "authority.pem"),
        }

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one CONNECT (RFC 9110 section 9.3.6), and be the host that it names."""
        with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            name = head.split(b" ")[1].decode().removesuffix(":443")
            self.asked.append(name)
            if name not in self.ports:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await writer.start_tls(self._context(name))
            inside, outside = await asyncio.open_connection("127.0.0.1", self.ports[name])
            async with asyncio.TaskGroup() as group:
                group.create_task(_pipe(reader, outside))
                group.create_task(_pipe(inside, writer))
        writer.close()

    def _context(self, name: str) -> ssl.SSLContext:
        if name not in self._contexts:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
            made = self._certificate(
                subject, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(name)])
            )
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            path = self.folder / f"{name}.pem"
            path.write_bytes(private + made.public_bytes(Encoding.PEM))
            self._contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._contexts[name].load_cert_chain(path)
        return self._contexts[name]

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        authority = self._key.public_key()
        return (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
            .sign(self._key, SHA256())
        )


async def _pipe(source: StreamReader, target: StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


@contextmanager
def edge(folder: Path, *, also: Sequence[str] = (), **hosts: int) -> Iterator[Edge]:
    """An edge in a thread of its own; `tools=8000` makes `tools.example.com` lead to port 8000.

    It listens on loopback, and on the addresses in `also`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = Edge(folder, free_port(), {f"{name}.example.com": port for name, port in hosts.items()})
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        sockets = [*bind_loopback(found.port), *(sock for each in also for sock in bind_at(each, found.port))]
        servers = [await asyncio.start_server(found.serve, sock=sock) for sock in sockets]
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(_READY_SECONDS)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_READY_SECONDS)
        loop.close()
