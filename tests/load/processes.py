"""A gateway and a practice GitHub as processes of their own, as in class."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.servers.gateway.harness import (
    NO_TLS,
    PRACTICE_CLIENT,
    PRACTICE_SECRET,
    Clock,
    Site,
    configured,
    settings,
)
from workshop.core.ports import free_port

DEADLINE = 100.0
_READY = b"startup complete"


@dataclass(frozen=True)
class Running:
    """One server process; `log` is everything it wrote, complete once it has ended."""

    process: psutil.Process
    log: Path

    @property
    def memory(self) -> int:
        """Bytes of resident memory now."""
        return int(self.process.memory_info().rss)


@asynccontextmanager
async def server(module: str, config: Path) -> AsyncIterator[Running]:
    """`python -m module --config FILE` until the block ends; it is ready when it says so."""
    command = [sys.executable, "-m", module, "--config", str(config)]
    started = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    assert started.stderr is not None
    log = config.with_suffix(".log")
    draining: asyncio.Task[None] | None = None
    try:
        seen = b""
        while _READY not in seen:
            line = await asyncio.wait_for(started.stderr.readline(), DEADLINE)
            assert line, seen.decode()
            seen += line
        draining = asyncio.create_task(_drain(started.stderr, log, seen))
        yield Running(psutil.Process(started.pid), log)
    finally:
        if started.returncode is None:
            started.terminate()
        await asyncio.wait_for(started.wait(), DEADLINE)
        if draining:
            await asyncio.wait_for(draining, DEADLINE)


async def _drain(stream: asyncio.StreamReader, log: Path, seen: bytes) -> None:
    with log.open("wb") as file:
        file.write(seen)
        while chunk := await stream.read(64 * 1024):
            file.write(chunk)


@asynccontextmanager
async def classroom(folder: Path) -> AsyncIterator[tuple[Site, Running]]:
    """A practice GitHub and a gateway in front of it, each a process."""
    port, practice_port = free_port(), free_port()
    practice = folder / "practice.json"
    values = settings(folder, upstream=f"http://localhost:{practice_port}", port=port)
    practice.write_text(
        json.dumps(
            {
                "port": practice_port,
                "client_id": PRACTICE_CLIENT,
                "client_secret_file": str(folder / "client"),
                "callback_url": f"http://localhost:{port}/oauth/callback",
                "app_name": "MCP workshop",
            }
        )
    )
    assert (folder / "client").read_text() == PRACTICE_SECRET
    async with server("workshop.servers.practice", practice), gateway(folder, values) as running:
        yield running


@asynccontextmanager
async def gateway(folder: Path, values: dict[str, Any]) -> AsyncIterator[tuple[Site, Running]]:
    """A gateway process of this configuration, and a client and a browser for it."""
    config = configured(folder, values)
    url = f"http://localhost:{config.port}"
    async with (
        server("workshop.servers.gateway", folder / "gateway.json") as running,
        httpx2.AsyncClient(base_url=url, verify=NO_TLS, timeout=DEADLINE, trust_env=False) as http,
        httpx2.AsyncClient(verify=NO_TLS, timeout=DEADLINE, trust_env=False) as browser,
    ):
        yield Site(_elsewhere, config, Clock(), url, http, browser), running


async def _elsewhere(*_: object) -> None:
    raise AssertionError("the gateway is another process")
