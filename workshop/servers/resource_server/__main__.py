"""Serve functions as MCP tools: over stdio, or over HTTP for callers with an identity provider's token.

    python -m workshop.servers.resource_server --ref module:function [--name NAME] [--http] [--host HOST]
    python -m workshop.servers.resource_server --config FILE

FILE is TOML or JSON. `transport = "streamable-http"` in it equals `--http`; options win over it.
"""

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from workshop.core.errors import UsageError, WorkshopError
from workshop.core.files import read_object, validated
from workshop.core.mistakes import VisibleText
from workshop.core.serving import log_to_stderr
from workshop.servers.resource_server.app import (
    HTTP,
    mk_auth_provider,
    mk_http_app,
    mk_mcp_from_refs,
    refuse_public,
)
from workshop.servers.variation.service import DESCRIBED, Listening, run


def _is_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must be a path such as /mcp")
    return value


class ServerConfig(Listening):
    """The server's file: the functions, whose tokens are accepted, and how it is served."""

    host: VisibleText = "127.0.0.1"
    name: VisibleText = "resource-server"
    instructions: str | None = None
    refs: tuple[str, ...] = ()
    auth: Any = None
    transport: Literal["stdio", "streamable-http"] = "stdio"
    path: Annotated[str, AfterValidator(_is_path)] = "/mcp"
    stateless_http: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the client closes stdin, or until SIGTERM; a mistake ends with exit code 2."""
    parser = argparse.ArgumentParser(description="Serve functions as MCP tools, over stdio or HTTP.")
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="TOML or JSON: name, refs, auth, host, port, transport …")
    add("--ref", action="append", dest="refs", default=[], metavar="MODULE:FUNCTION", help="repeatable")
    add("--name", help="the server's name")
    add("--http", action="store_true", help="serve over HTTP; without it, over stdio")
    add("--host", help="loopback (the default); others need `auth`")
    add("--port", type=int, help="8000 unless given")
    options = parser.parse_args(arguments)
    try:
        _serve(options)
    except WorkshopError as error:
        if isinstance(error, UsageError):
            # This exits with code 2, as py2mcp does for a wrong configuration.
            parser.error(error.in_full)
        parser.exit(error.exit_code, f"{parser.prog}: error: {error.in_full}\n")


def _serve(options: argparse.Namespace) -> None:
    config = _config(options)
    logging.getLogger("mcp").setLevel(logging.WARNING)
    provider = mk_auth_provider(config.auth)  # not needed over stdio, but a mistake in it is reported
    built: dict[str, Any] = {
        "name": config.name,
        "auth": provider,
        "instructions": config.instructions,
    }
    if config.transport == HTTP:
        refuse_public(config.host, provider)
        served = {**built, "path": config.path, "stateless_http": config.stateless_http}
        url = provider.base_url if provider else None
        watched = options.config or Path(__file__)
        run(lambda: mk_http_app(config.refs, **served), config, url=url, while_exists=watched)
        return
    log_to_stderr()
    with contextlib.redirect_stdout(sys.stderr):  # what a module prints is not an MCP message
        server = mk_mcp_from_refs(config.refs, **built)
    server.run("stdio")


def _config(options: argparse.Namespace) -> ServerConfig:
    """The file, overridden by the options; `refs` are those of both."""
    given = {name: getattr(options, name) for name in ("name", "host", "port")}
    written = read_object(options.config) if options.config else {}
    merged = {**written, **{name: value for name, value in given.items() if value is not None}}
    if options.http:
        merged["transport"] = HTTP
    config = validated(ServerConfig, merged, options.config or Path("the options"), DESCRIBED)
    return config.model_copy(update={"refs": (*config.refs, *options.refs)})


if __name__ == "__main__":
    main()
