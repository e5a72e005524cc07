"""A real little program to run as a workload, and its end after every test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workshop.core.ports import free_port
from workshop.lab import process
from workshop.lab.process import Workload

PROGRAM = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.end_headers()
    def log_message(self, *args): pass
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

MakeWorkload = Callable[..., Workload]


@pytest.fixture
def make_workload(tmp_path: Path) -> Iterator[MakeWorkload]:
    """Describe a workload that answers /health with a status, or runs any Python text; ended afterwards."""
    directory = tmp_path / "workloads"

    def make(
        name: str = "web", program: str = PROGRAM, status: int = 200, fingerprint: str = "f"
    ) -> Workload:
        script = directory / f"{name}.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(program)
        port = free_port()
        argv = (sys.executable, str(script), str(port), str(status))
        return Workload(name, argv, port, f"http://localhost:{port}", fingerprint, {}, 10)

    yield make
    for state in process.read_states(directory).values():
        process.stop(state)
    for stray in process.strays(directory):
        process.end(stray)
