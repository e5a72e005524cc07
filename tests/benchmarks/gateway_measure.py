"""What the gateway benchmark measures: every path in turn, so that the load of others affects all alike.

A round gives one figure a path, and the differences between two paths, round by round, show how much of a
difference is noise.
"""

import asyncio
import random
import statistics
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product

from tests.benchmarks.gateway_load import (
    CLIENTS,
    LEGACY,
    MODERN,
    Call,
    Target,
    at_once,
    connections,
    in_turn,
    total,
)
from tests.benchmarks.gateway_login import Attendee, Handshake
from tests.benchmarks.gateway_paths import Field, Server

ERAS = (MODERN, LEGACY)
KINDS = tuple(product(CLIENTS, ERAS))
_WARM_UP = 0.05
_QUIET = 1.0


@dataclass(frozen=True)
class Block:
    """One path under one kind of load, for one round."""

    p50: float
    p99: float
    one: float
    """Calls a second with one connection."""
    many: float
    """Calls a second with all of them."""
    cpu: float
    """Milliseconds of processor time that one call costs the process, all connections calling."""
    wrong: int
    """Answers that were not the right one."""


Blocks = dict[tuple[str, str, str], list[Block]]
"""By client, era and path; one entry a round."""


async def load(servers: list[tuple[Server, Target]], rounds: int, seconds: float, many: int) -> Blocks:
    """All paths at the same time under each kind of load, round after round."""
    blocks: Blocks = {}
    for client, era in KINDS:
        async with AsyncExitStack() as stack:
            paths = [
                await stack.enter_async_context(_path(server, target, client, era, many))
                for server, target in servers
            ]
            await _round(paths, min(seconds, _WARM_UP))
            measured = [await _round(paths, seconds) for _ in range(rounds)]
        for path in paths:
            blocks[client, era, path.name] = [blocks_of[path.name] for blocks_of in measured]
    return blocks


@dataclass(frozen=True)
class _Path:
    name: str
    server: Server
    one: Call
    many: list[Call]


@asynccontextmanager
async def _path(server: Server, target: Target, client: str, era: str, many: int) -> AsyncIterator[_Path]:
    async with (
        connections(client, target, era, 1) as (one,),
        connections(client, target, era, many) as crowd,
    ):
        yield _Path(target.name, server, one, crowd)


async def _round(paths: list[_Path], seconds: float) -> dict[str, Block]:
    """By path: call by call in turn on one connection each, then each path with all its connections."""
    taken = await in_turn({path.name: path.one for path in paths}, seconds)
    blocks = {}
    for path in random.sample(paths, len(paths)):
        before = path.server.cpu_seconds()
        count, elapsed = await at_once(path.many, seconds)
        cpu = path.server.cpu_seconds() - before
        alone = taken[path.name]
        blocks[path.name] = Block(
            p50=statistics.median(alone),
            p99=statistics.quantiles(alone, n=100, method="inclusive")[98],
            one=len(alone) / sum(alone) * 1000,
            many=count / elapsed,
            cpu=cpu / count * 1000,
            wrong=sum(each.wrong for each in (path.one, *path.many)),
        )
    return blocks


@dataclass(frozen=True)
class Memory:
    """Megabytes resident after a tenth of the calls and after all of them."""

    calls: int
    early: float
    late: float


async def memory(server: Server, target: Target, calls: int, many: int) -> Memory:
    """Call and call, and see whether the process grows."""
    async with connections("raw HTTP", target, MODERN, many) as callers:
        await total(callers, calls // 10)
        early = server.megabytes()
        await total(callers, calls - calls // 10)
    return Memory(calls, early, server.megabytes())


@dataclass(frozen=True)
class Start:
    """One start of a proxy's process, and the first login there a second later; `cpu` is processor time."""

    seconds: float
    cpu: float
    login: Handshake


async def starts(field: Field, count: int) -> dict[str, list[Start]]:
    """Starts and first logins by path, one path after another, in another order each time."""
    found: dict[str, list[Start]] = {name: [] for name in field.names}
    for _ in range(count):
        for name in random.sample(field.names, len(field.names)):
            with field.proxy(name) as server:
                await asyncio.sleep(_QUIET)  # nobody logs in sooner, and ours still loads its pages
                login = await Attendee(server, field.folder / f"start-{server.port}").log_in()
                found[name].append(Start(server.seconds, server.cpu, login))
    return found


@dataclass(frozen=True)
class Logins:
    """First logins (everything unknown) and second ones (metadata and registration known), by path."""

    first: dict[str, list[Handshake]]
    second: dict[str, list[Handshake]]


async def logins(field: Field, count: int) -> Logins:
    """Handshakes with proxies that have had one, one path after another, in another order each time."""
    found = Logins({name: [] for name in field.names}, {name: [] for name in field.names})
    with ExitStack() as stack:
        servers = [stack.enter_context(field.proxy(name)) for name in field.names]
        for server in servers:  # templates, imports and connections
            await Attendee(server, field.folder / f"warm-up-{server.port}").log_in()
        for number in range(count):
            attendees = [Attendee(each, field.folder / f"logins-{each.port}-{number}") for each in servers]
            for taken in (found.first, found.second):
                for attendee in random.sample(attendees, len(attendees)):
                    taken[attendee.server.name].append(await attendee.log_in())
    return found


@dataclass(frozen=True)
class Report:
    """All the figures of a run."""

    names: tuple[str, ...]
    connections: int
    blocks: Blocks
    memory: Memory
    megabytes: dict[str, float]
    starts: dict[str, list[Start]]
    logins: Logins

    def figures(self, client: str, era: str, name: str, figure: str) -> list[float]:
        """One for each round."""
        return [getattr(block, figure) for block in self.blocks[client, era, name]]

    def middle(self, client: str, era: str, name: str, figure: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.figures(client, era, name, figure))

    def wrong(self, client: str, era: str, name: str) -> int:
        """Wrong answers of all rounds; each block counts those before it too."""
        return self.blocks[client, era, name][-1].wrong

    def compared(
        self, client: str, era: str, ours: str, other: str, figure: str
    ) -> Iterable[tuple[float, float]]:
        """The figure of two paths, round by round."""
        one, two = (self.figures(client, era, name, figure) for name in (ours, other))
        return list(zip(one, two, strict=True))
