"""The resource server of `workshop.servers.resource_server`, with the tools of part 1 within its reach."""

import sys
from collections.abc import Sequence
from pathlib import Path

from workshop.servers.resource_server import __main__ as program

PART_1 = Path(__file__).resolve().parents[3] / "01_agent_loop"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the client leaves or SIGTERM comes; `tools:calculate` is a function of part 1."""
    sys.path.append(str(PART_1))
    program.main(arguments)


if __name__ == "__main__":
    main()
