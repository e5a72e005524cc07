"""`python -m workshop.servers.gateway --config FILE`: serve one gateway until stopped or FILE is removed."""

import argparse
import sys
from pathlib import Path

from workshop.core.crash import run_program


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
    serve(create_app(config), port=config.port, while_exists=path, http=StrictProtocol)


if __name__ == "__main__":
    sys.exit(main())
