"""Our gateway against no gateway, and against what people would use instead: ToolHive's proxy, and FastMCP's.

Run: uv run --group benchmark python -m tests.benchmarks.gateway

Real processes on loopback: the SDK's server behind the practice GitHub's sign-in, and each proxy in front of
it. Calls of the paths alternate in one run, and so do starts and logins: a busy machine slows all of them,
and the quartiles of the differences, round by round, show how much of a difference is noise. Prints each bar
and whether it was met; the exit code says only that it ran. Memory over 100,000 calls: `--calls 100000`.
Without the group `benchmark` the peer's columns are left out, and ToolHive's without
`WORKSHOP_THV_PROXYRUNNER`, the path to its `thv-proxyrunner` (tests/toolhive_real).

Of the bars, 90 % of direct throughput on one connection asks for more than the others: the calls come one
after another, so on a server that answers in 0.9 ms it leaves a gateway 0.1 ms, less than any HTTP hop in
Python takes.
"""

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import gateway_measure as measure
from tests.benchmarks.gateway_login import Attendee, direct_target
from tests.benchmarks.gateway_paths import Field, field, peer_is_installed
from tests.benchmarks.gateway_table import table


def main() -> None:
    options = _options()
    if not peer_is_installed():
        print("The peer is not installed: uv sync --group benchmark", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory() as folder,
        field(Path(folder), with_peer=not options.without_peer) as place,
    ):
        print(table(asyncio.run(_report(place, options))))


async def _report(place: Field, options: argparse.Namespace) -> measure.Report:
    _say("starts")
    starts = await measure.starts(place, options.starts)
    _say("logins")
    logins = await measure.logins(place, options.logins)
    with ExitStack() as stack:
        servers = [place.upstream, *(stack.enter_context(place.proxy(name)) for name in place.names)]
        direct = direct_target(place.upstream)
        targets = [
            direct,
            *[await Attendee(s, place.folder / f"load-{s.port}").target() for s in servers[1:]],
        ]
        _say("calls")
        blocks = await measure.load(
            list(zip(servers, targets, strict=True)), options.rounds, options.seconds, options.connections
        )
        _say("memory")
        flat = await measure.memory(servers[1], targets[1], options.calls, options.connections)
        megabytes = {server.name: server.megabytes() for server in servers[1:]}
    return measure.Report(place.names, options.connections, blocks, flat, megabytes, starts, logins)


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="of load, every path in turn (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each load (%(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="at once (%(default)s)")
    parser.add_argument("--calls", type=int, default=10_000, help="that memory is watched over (%(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="of each process (%(default)s)")
    parser.add_argument("--logins", type=int, default=12, help="first and second (%(default)s)")
    parser.add_argument("--without-peer", action="store_true", help="leave FastMCP out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
