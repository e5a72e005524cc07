"""An instance to take pictures of, with the practice GitHub; all of it ends afterwards."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.environment import IsolatedInstance, instance_in

PICTURES = Path(__file__).resolve().parents[2] / ".pictures"
PORTS = {"github-remote": 8080, "practice-github": 8090, "workshop": 8081}  # those of the manifests


@contextmanager
def running_instance(ports: Mapping[str, int]) -> Iterator[IsolatedInstance]:
    """An instance where everything is up."""
    with tempfile.TemporaryDirectory() as where:
        instance = instance_in(Path(where), ports)
        try:
            instance.up()
            yield instance
        finally:
            instance.run("teardown")
