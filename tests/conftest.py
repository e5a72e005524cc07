"""Shared by every test: no choices from the shell, async tests on asyncio, one way to start a browser."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from httpx2._config import DEFAULT_TIMEOUT_CONFIG

from workshop.core.invocation import UV_RUN

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest_plugins = ("tests.tiers", "tests.environment")

CHROMIUM_OPTIONS = [
    "--no-sandbox",  # Chromium as root, as in CI
    "--disable-gpu",
    "--disable-gpu-compositing",  # with the next three, a page takes a quarter less processor time
    "--disable-software-rasterizer",
    "--disable-extensions",
    "--no-zygote",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What a person may set for the tests themselves; everything else named WORKSHOP_… is a choice for `up`.
FOR_TESTS = ("E2E_", "FUZZ", "TEST_", "THV_PROXYRUNNER", "TOOLHIVE_BUILD", "VMCP")

# Without bytecode each process compiles all that it imports, for a second or more, and a worker rewrites the
# assertions of all tests for ten: whatever the shell has set, they are written once, and read from then on.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What is imported and collected stays until the end: to look for garbage in it takes a fifth of the time.
gc.disable()

# A shell that starts the suite in its background lets every child ignore Ctrl-C; these tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    clear_choices(os.environ, config.getoption("markexpr"))
    # The hints depend on both: the suite has an activated environment, whatever started it.
    os.environ.pop(UV_RUN, None)
    # A request waits as long on a busy machine as its server needs; httpx2 gives up after five seconds.
    for phase in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, phase, 60.0)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def pytest_collection_finish() -> None:
    """From here on there is garbage, but not among the modules and the collected tests."""
    # The SDK's client takes a server that does not answer its first question in ten seconds for an old one.
    if session := sys.modules.get("mcp.client.session"):
        vars(session)["DISCOVER_TIMEOUT_SECONDS"] = 60.0
    gc.enable()
    gc.freeze()


def clear_choices(environment: MutableMapping[str, str], selected: str) -> None:
    """Remove what a shell has set for `up`; the tests on a real cluster, where `selected`, need it."""
    if selected == "kind":
        return
    kept = tuple(f"WORKSHOP_{name}" for name in FOR_TESTS)
    for name in [each for each in environment if each.startswith("WORKSHOP_")]:
        if not name.startswith(kept):
            del environment[name]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, headless; no longer than a module, for its event loop would stand in others' way."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield opened
        opened.close()
