"""Serve an ASGI application until told to stop: on both loopback addresses, or in a pod on all."""

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from starlette.types import ASGIApp

from workshop.core.errors import UsageError, WorkshopError
from workshop.core.gathering import GatheringProtocol
from workshop.core.ports import bind_everywhere, bind_loopback

CreateApp = Callable[[Mapping[str, Any]], ASGIApp]
_LOOK_SECONDS = 2.0


def main(create_app: CreateApp, arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve what `create_app` makes of the JSON file after `--config`, on its `port`; ends the process.

    Exit codes are those of our errors (see `workshop.core.errors`).
    """
    parser = argparse.ArgumentParser(description="Serve on this machine until SIGTERM.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, with a `port`")
    path: Path = parser.parse_args(arguments).config
    try:
        config = read_config(path)
        log_to_stderr()  # before the MCP SDK's server does, which would leave our lines out
        serve(create_app(config), port=config["port"], while_exists=path)
    except WorkshopError as error:
        told = [
            f"Error: {error.what}",
            error.why and f"  {error.why}",
            error.hint and f"  Hint: {error.hint}",
        ]
        sys.stderr.write("".join(f"{line}\n" for line in told if line))
        sys.exit(error.exit_code)
    sys.exit(0)


def log_to_stderr() -> None:
    """Write a line for each thing worth knowing, with its time; a second call changes nothing."""
    # What no line shows need not be looked up for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in a server's configuration file; raises UsageError when it is none, or has no port."""
    config = read_object(path)
    if type(config.get("port")) is not int:
        raise UsageError(f"The configuration `{path}` has no `port`")
    return config


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a configuration file; raises UsageError when it is none."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The configuration `{path}` cannot be read", why=str(error)) from error
    if not isinstance(config, dict):
        raise UsageError(f"The configuration `{path}` is no JSON object")
    return config


def serve(
    app: ASGIApp,
    *,
    port: int,
    while_exists: Path,
    everywhere: bool = False,
    http: type[asyncio.Protocol] = GatheringProtocol,
) -> None:
    """Serve `app` on `port` of loopback, or of all addresses, until SIGTERM or the end of `while_exists`.

    A workload whose state directory was removed by hand thereby ends itself.
    """
    log_to_stderr()
    config = uvicorn.Config(
        app,
        log_config=None,
        http=http,
        ws="none",
        proxy_headers=False,  # nothing stands before us whose word counts for where a request came from
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = uvicorn.Server(config)
    sockets = bind_everywhere(port) if everywhere else bind_loopback(port)
    asyncio.run(_serve(server, sockets, while_exists))


async def _serve(server: uvicorn.Server, sockets: list[socket.socket], path: Path) -> None:
    watch = asyncio.create_task(_stop_when_gone(server, path))
    try:
        await server.serve(sockets=sockets)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _stop_when_gone(server: uvicorn.Server, path: Path) -> None:
    while path.exists():  # noqa: ASYNC110, ASYNC240 - one stat now and then; no event tells of an unlink
        await asyncio.sleep(_LOOK_SECONDS)
    server.should_exit = True
