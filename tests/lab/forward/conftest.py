"""A service to forward to, and a stand-in for kubectl that really forwards, and can be told to fail."""

import asyncio
import http.server
import json
import stat
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from workshop.core.ports import free_port
from workshop.lab.forward import ForwardState, read_state

# Called as kubectl is. It writes down how it was called, and does what the file `mode` beside it says.
KUBECTL = """#!{python}
import json, os, socket, sys, threading
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([os.getpid(), os.environ.get("KUBECONFIG"), sys.argv[1:]]) + "\\n")
mode = (here / "mode").read_text()
if mode.startswith("error"):
    sys.exit(mode)
listener = socket.create_server(("127.0.0.1", 0))
print(f"Forwarding from 127.0.0.1:{{listener.getsockname()[1]}} -> {{sys.argv[-1][1:]}}", flush=True)

def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

while True:
    client, _ = listener.accept()
    print("Handling connection for", sys.argv[-1][1:], flush=True)
    try:
        server = socket.create_connection(("127.0.0.1", int((here / "service").read_text())))
    except OSError:
        sys.exit("error: lost connection to pod")
    for pair in ((client, server), (server, client)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


@dataclass
class Bench:
    """One forward to be: its configuration, the fake kubectl, and the service behind it."""

    folder: Path
    port: int
    service: "Service"

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def state(self) -> ForwardState:
        return read_state(self.folder / "forward.json") or ForwardState("connecting", 0)

    def write(self, **changes: Any) -> Path:
        """Write the configuration; None leaves a field out."""
        fields = {
            "port": self.port,
            "kubectl": str(self.folder / "kubectl"),
            "kubeconfig": str(self.folder / "kubeconfig"),
            "context": "kind-workshop",
            "namespace": "toolhive-system",
            "target": "service/mcp-github-remote-remote-proxy",
            "remote_port": 8080,
            "state_file": str(self.folder / "forward.json"),
            **changes,
        }
        self.config.write_text(json.dumps({key: value for key, value in fields.items() if value is not None}))
        return self.config

    def mode(self, text: str) -> None:
        """What kubectl does when it is started next: `forward`, or end with an error."""
        (self.folder / "mode").write_text(text)

    def calls(self) -> list[tuple[int, str, list[str]]]:
        """How kubectl was called so far: its pid, its KUBECONFIG, its arguments."""
        path = self.folder / "calls"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def kubectl(self) -> psutil.Process:
        """The kubectl that runs now."""
        return psutil.Process(self.calls()[-1][0])


class Service:
    """An HTTP server as a pod would have it: `/health` with a status of choice, `/echo`, `/big`."""

    def __init__(self) -> None:
        self.status = 200
        self.health = 0
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"x" * 5_000_000 if self.path == "/big" else self.headers["Host"].encode()
                service.health += self.path == "/health"
                self.send_response(service.status if self.path == "/health" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def bench(tmp_path: Path, service: Service) -> Iterator[Bench]:
    """Everything a forward needs; kubectls that are left at the end are ended, and fail the test."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(python=f"{sys.executable} -S"))
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "service").write_text(str(service.server.server_address[1]))
    bench = Bench(tmp_path, free_port(), service)
    bench.mode("forward")
    bench.write()
    yield bench
    left = [process for process in _processes(bench) if process.is_running()]
    for process in left:
        process.kill()
    assert not left, "kubectl outlived its supervisor"


def _processes(bench: Bench) -> Iterator[psutil.Process]:
    for pid, _, _ in bench.calls():
        try:
            process = psutil.Process(pid)
            if (
                process.status() != psutil.STATUS_ZOMBIE
                and str(bench.folder / "kubectl") in process.cmdline()
            ):
                yield process
        except psutil.Error:
            continue


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 60) -> None:
    """Wait until something holds; fails when it does not in time."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)
