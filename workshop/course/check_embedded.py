"""Run manifests for a check: local processes on free ports, which end with the check."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workshop.core.console import Console
from workshop.core.ports import free_port
from workshop.course.lessons import Lesson
from workshop.lab.base import Choices, Deployment
from workshop.lab.embedded import EmbeddedBackend
from workshop.toolhive import lint
from workshop.toolhive.manifests import Resource, Resources

_PART_OF_CHECK = 0
_PROXIES = ("MCPServer", "MCPRemoteProxy")


@dataclass(frozen=True)
class Embedded:
    """What runs for a check: the URL of each proxy and of each server behind one, by name."""

    proxies: dict[str, str]
    servers: dict[str, str]


@contextlib.asynccontextmanager
async def embedded(directory: Path, scratch: Path, changed: Sequence[Resource]) -> AsyncIterator[Embedded]:
    """Run a part's manifests with `changed` in them; raises UsageError when they violate a rule."""
    deployment = _with(Lesson(_PART_OF_CHECK, directory).deployment(), changed)
    lint.check(deployment.resources)
    backend = EmbeddedBackend(scratch / "instance")
    ports: dict[str, int] = {}
    for kind in _PROXIES:
        for resource in deployment.resources.of(kind):
            ports[resource.name] = free_port(besides=ports.values())
    with Console(io.StringIO(), io.StringIO()).progress() as quiet:
        try:
            await asyncio.to_thread(backend.apply, [deployment], Choices("practice", ports=ports), quiet)
            running = {status.name: status.url for status in backend.status()}
            yield Embedded(
                {name: url for name, url in running.items() if name in ports},
                {name.removesuffix("-0"): url for name, url in running.items() if name not in ports},
            )
        finally:
            await asyncio.to_thread(backend.teardown, quiet)


def _with(deployment: Deployment | None, changed: Sequence[Resource]) -> Deployment:
    if deployment is None:
        raise TypeError("this part deploys nothing")
    titles = {resource.title for resource in changed}
    unchanged = [found for found in deployment.resources.all if found.title not in titles]
    return replace(deployment, resources=Resources((*unchanged, *changed)))
