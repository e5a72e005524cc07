"""What the gateway benchmark measures, path against path in turn, so that ratios hold on a noisy machine."""

import statistics
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

from tests.benchmarks.gateway_load import (
    CLIENTS,
    LEGACY,
    MODERN,
    Target,
    at_once,
    connections,
    latencies,
    total,
)
from tests.benchmarks.gateway_login import Attendee, Handshake
from tests.benchmarks.gateway_paths import Field, Server

ERAS = (MODERN, LEGACY)
KINDS = tuple(product(CLIENTS, ERAS))
_WARM_UP = 0.05


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
    """Every path under every kind of load, round after round, another path first each time."""
    blocks: Blocks = {(*kind, target.name): [] for kind in KINDS for _, target in servers}
    for number in range(rounds):
        turn = number % len(servers)
        for client, era in KINDS:
            for server, target in servers[turn:] + servers[:turn]:
                block = await _block(server, target, client, era, seconds, many)
                blocks[client, era, target.name].append(block)
    return blocks


async def _block(server: Server, target: Target, client: str, era: str, seconds: float, many: int) -> Block:
    async with connections(client, target, era, 1) as (call,):
        await latencies(call, min(seconds, _WARM_UP))
        taken = await latencies(call, seconds)
    async with connections(client, target, era, many) as calls:
        await at_once(calls, min(seconds, _WARM_UP))
        before = server.cpu_seconds()
        count, elapsed = await at_once(calls, seconds)
        cpu = server.cpu_seconds() - before
    return Block(
        p50=statistics.median(taken),
        p99=statistics.quantiles(taken, n=100, method="inclusive")[98],
        one=len(taken) / sum(taken) * 1000,
        many=count / elapsed,
        cpu=cpu / count * 1000,
        wrong=sum(each.wrong for each in (call, *calls)),
    )


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


def starts(field: Field, count: int) -> dict[str, list[float]]:
    """Seconds from the start of each proxy's process to its first 200, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in field.names}
    for _ in range(count):
        for name in field.names:
            with field.proxy(name) as server:
                taken[name].append(server.seconds)
    return taken


@dataclass(frozen=True)
class Logins:
    """First logins (everything unknown) and second ones (metadata and registration known), by path."""

    first: dict[str, list[Handshake]]
    second: dict[str, list[Handshake]]


async def logins(field: Field, count: int) -> Logins:
    """Handshakes, in turn; `count` is small because ours lets only five clients register at once."""
    found = Logins({name: [] for name in field.names}, {name: [] for name in field.names})
    with ExitStack() as stack:
        servers = [stack.enter_context(field.proxy(name)) for name in field.names]
        for server in servers:  # templates, imports and connections
            await Attendee(server, field.folder / f"warm-up-{server.port}").log_in()
        for number in range(count):
            for server in servers:
                attendee = Attendee(server, field.folder / f"logins-{server.port}-{number}")
                found.first[server.name].append(await attendee.log_in())
                found.second[server.name].append(await attendee.log_in())
    return found


@dataclass(frozen=True)
class Report:
    """All the figures of a run."""

    names: tuple[str, ...]
    connections: int
    blocks: Blocks
    memory: Memory
    megabytes: dict[str, float]
    starts: dict[str, list[float]]
    logins: Logins

    def middle(self, client: str, era: str, name: str, figure: str) -> float:
        """The median over the rounds."""
        values: list[float] = [getattr(block, figure) for block in self.blocks[client, era, name]]
        return statistics.median(values)

    def wrong(self, client: str, era: str, name: str) -> int:
        """Wrong answers of all rounds."""
        return sum(block.wrong for block in self.blocks[client, era, name])

    def compared(
        self, client: str, era: str, ours: str, other: str, figure: str
    ) -> Iterable[tuple[float, float]]:
        """The figure of two paths, round by round."""
        one, two = self.blocks[client, era, ours], self.blocks[client, era, other]
        return [(getattr(a, figure), getattr(b, figure)) for a, b in zip(one, two, strict=True)]
