"""A room to take pictures in: state of its own, the practice GitHub, and everything ended afterwards."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.environment import Room, room_in

PICTURES = Path(__file__).resolve().parents[2] / ".pictures"
PORTS = {"github-remote": 8080, "practice-github": 8090, "workshop": 8081}  # those of the manifests


@contextmanager
def open_room(ports: Mapping[str, int]) -> Iterator[Room]:
    """A room where everything is up."""
    with tempfile.TemporaryDirectory() as where:
        room = room_in(Path(where), ports)
        try:
            room.up()
            yield room
        finally:
            room.run("teardown")
