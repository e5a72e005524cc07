"""`python -m workshop.servers.gateway --config FILE`: serve one gateway until stopped or FILE is removed."""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from workshop.core.crash import run_program

_COLLECT_AFTER = 10_000
"""Objects, once it serves; Python's own 700 are less than two calls make."""


def main() -> int:
    """The exit code is the error's own (2 for a wrong configuration); the error goes to stderr, the log."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.servers.gateway", description="Run one gateway."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="its JSON configuration")
    path = parser.parse_args().config
    # No model of ours has a plugin, and pydantic would look for one in every installed package's metadata.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    return run_program(lambda: _serve(path))


def _serve(path: Path) -> None:
    from workshop.core.serving import serve
    from workshop.servers.gateway.app import create_app
    from workshop.servers.gateway.config import load
    from workshop.servers.gateway.http_protocol import StrictProtocol

    config = load(path)
    app = create_app(config)
    # What lives as long as the process is never looked through again, and what a call leaves less often.
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    serve(
        app,
        port=config.port,
        while_exists=path,
        http=StrictProtocol,
        loop=_event_loop(),
        once_started=_prepare_login if config.auth else None,
    )


def _prepare_login() -> None:
    """Load what the first login would wait for, while the gateway answers already."""
    from workshop.auth.browser import prepare_pages

    prepare_pages()
    import_module("aiohttp")
    gc.freeze()


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
