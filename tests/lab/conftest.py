"""For each test: small real programs to run as processes, and a Kubernetes API in memory."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.kube.fake_cluster import FakeCluster, running_cluster
from workshop.core.ports import free_port
from workshop.lab import process
from workshop.lab.base import Program

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

MakeProgram = Callable[..., Program]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with running_cluster(tmp_path) as running:
        yield running


@pytest.fixture
def make_program(tmp_path: Path) -> Iterator[MakeProgram]:
    """Describe a program that answers /health with a status, or runs any Python text; ended afterwards."""
    directory = tmp_path / "workloads"

    def make(name: str = "web", program: str = PROGRAM, status: int = 200) -> Program:
        script = directory / f"{name}.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(program)
        port = free_port()
        argv = (sys.executable, str(script), str(port), str(status))
        return Program(name, argv, port, ready_seconds=60)

    yield make
    for state in process.read_states(directory).values():
        process.stop(state)
    for stray in process.strays(directory):
        process.end(stray)
