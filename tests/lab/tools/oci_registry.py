"""A registry over TLS with one chart: as at ghcr.io, anyone may pull, and a stale login may not."""

import contextlib
import hashlib
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_TOKEN = "for-anyone"


@dataclass
class Registry:
    """Where the registry is, whose certificate it has, and the logins that were sent to it."""

    host: str
    ca_file: Path
    logins: list[str] = field(default_factory=list)

    @property
    def chart(self) -> str:
        return f"oci://{self.host}/charts/demo"


def chart_archive(path: Path, template: str = "", version: str = "0.1.0") -> Path:
    """A chart called `demo` with one template."""
    texts = {
        "demo/Chart.yaml": f"apiVersion: v2\nname: demo\nversion: {version}\n",
        "demo/values.yaml": "word: default\n",
        "demo/templates/all.yaml": template,
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """Serve the chart `demo` 0.1.0 on a free port."""
    ca_file, key_file = _certificate(folder)
    found = Registry("", ca_file)
    manifest, blobs = _contents(folder)
    handler = type("Handler", (_Handler,), {"found": found, "manifest": manifest, "blobs": blobs})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def _contents(folder: Path) -> tuple[bytes, dict[str, bytes]]:
    """The chart's manifest, and its two blobs by digest."""
    config = b'{"name":"demo","version":"0.1.0","apiVersion":"v2"}'
    layer = chart_archive(folder / "demo.tgz").read_bytes()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER, "digest": _digest(layer), "size": len(layer)}],
    }
    return json.dumps(manifest).encode(), {_digest(config): config, _digest(layer): layer}


class _Handler(BaseHTTPRequestHandler):
    found: Registry
    manifest: bytes
    blobs: dict[str, bytes]

    def do_GET(self) -> None:
        login = self.headers.get("Authorization", "")
        if login not in {"", f"Bearer {_TOKEN}"}:
            self.found.logins.append(login)
        self._answer(*self._chosen(login))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _chosen(self, login: str) -> tuple[int, bytes, str]:
        if self.path.startswith("/token"):
            return 403 if login else 200, json.dumps({"token": _TOKEN}).encode(), "application/json"
        if login != f"Bearer {_TOKEN}":
            return 401, b"{}", "application/json"
        if "/manifests/" in self.path:
            return 200, self.manifest, _MANIFEST
        blob = self.blobs.get(self.path.rpartition("/")[2], b"")
        return 200 if blob else 404, blob, "application/octet-stream"

    def _answer(self, status: int, data: bytes, media_type: str) -> None:
        self.send_response(status)
        if status == 401:
            realm = f"https://{self.found.host}/token"
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="test"')
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", _digest(data))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name for it
        pass


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workshop tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ca_file, key_file
