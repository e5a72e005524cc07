"""One gateway a module: a property is looked at many times, and a start each time would be all it does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from schemathesis.pytest import plugin

from tests.fuzz.bench import Bench, bench
from tests.servers.gateway.fixtures import practice_server
from tests.servers.gateway.harness import settings

__all__ = ["practice_server"]


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin that pyproject.toml keeps from every other run, because it takes a second to import."""
    config.pluginmanager.register(plugin)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, practice_server: str) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with bench(folder, lambda _: settings(folder, upstream=practice_server)) as running:
        yield running
