"""ToolHive's own programs, where they can be had, and the places that the tests of a module share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.toolhive_real import places, programs
from tests.toolhive_real.places import Change, Place, unchanged

KINDS = ("gateway", "toolhive")
Open = Callable[[str, Change], Place]


@pytest.fixture(scope="session")
def proxyrunner(pytestconfig: pytest.Config) -> Path:
    return _program(pytestconfig, "thv-proxyrunner")


@pytest.fixture(scope="session")
def vmcp(pytestconfig: pytest.Config) -> Path:
    return _program(pytestconfig, "vmcp")


def _program(config: pytest.Config, name: str) -> Path:
    cache = config.cache
    assert cache
    try:
        return programs.find(name, cache.mkdir("toolhive"))
    except programs.MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """The place of a kind with a change to its manifests; started once, for all tests of the module."""
    known: dict[tuple[str, Change], Place] = {}
    with ExitStack() as stack:

        def found(kind: str, change: Change) -> Place:
            if (kind, change) not in known:
                folder = tmp_path_factory.mktemp(kind)
                start = (
                    places.gateway(folder, change)
                    if kind == "gateway"
                    else places.toolhive(folder, request.getfixturevalue("proxyrunner"), change)
                )
                known[kind, change] = stack.enter_context(start)
            return known[kind, change]

        yield found


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy: the gateway, then ToolHive's."""
    return str(request.param)


@pytest.fixture
def place(opened: Open, kind: str) -> Place:
    """Part 4 as it is."""
    return opened(kind, unchanged)
