"""A command with `--json` that is interrupted leaves one document behind, too."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.environment import IsolatedInstance
from tests.fork_server import ForkedProcess

STUBBORN = """
import sys, time
from workshop.cli import main
from workshop.cli.app import build_tree

def stay(**_):
    while True:
        try:
            print("working", file=sys.stderr, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass

tree = build_tree()
tree.commands["status"].callback = stay
main.build_tree = lambda _: tree
sys.exit(main.main(["status", "--json"]))
"""


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        yield listening


def ended(child: ForkedProcess) -> dict[str, Any]:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    document: dict[str, Any] = json.loads(out)
    assert (document["status"], document["exit_code"]) == ("error", 130)
    assert document["error"]["code"] == "interrupted"
    return document


def test_after_ctrl_c(instance: IsolatedInstance, silent: socket.socket) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
    child = instance.begin("-m", "workshop", "probe", url, "--json")
    asked, _ = silent.accept()
    child.send_signal(signal.SIGINT)
    assert ended(child)["command"] == "probe"
    asked.close()


def test_after_sigterm(instance: IsolatedInstance, silent: socket.socket) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
    child = instance.begin("-m", "workshop", "probe", url, "--json")
    asked, _ = silent.accept()
    child.terminate()
    ended(child)
    asked.close()


def test_after_being_left_at_once(instance: IsolatedInstance, tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    child = instance.begin(str(script))
    assert child.stderr
    for _ in range(3):
        while "working" not in child.stderr.readline():
            pass
        child.send_signal(signal.SIGINT)
    assert ended(child)["command"] == "status"
