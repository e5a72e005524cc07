"""`python -m workshop.servers.gateway --config FILE`: serve one gateway until stopped or FILE is removed."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable
from pathlib import Path

from workshop.core.crash import run_program

_COLLECT_AFTER = 10_000
"""Objects; Python's own 700 are less than two calls make."""


def main() -> int:
    """The exit code is the error's own (2 for a wrong configuration); the error goes to stderr, the log."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.servers.gateway", description="Run one gateway."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="its JSON configuration")
    path = parser.parse_args().config
    return run_program(lambda: _serve(path))


def _serve(path: Path) -> None:
    from workshop.core.serving import serve
    from workshop.servers.gateway.app import create_app
    from workshop.servers.gateway.config import load
    from workshop.servers.gateway.http_protocol import StrictProtocol

    config = load(path)
    app = create_app(config)
    # What lives as long as the process is never looked through again, and what a call leaves less often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    serve(app, port=config.port, while_exists=path, http=StrictProtocol, loop=_event_loop())


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
