"""Serve functions as MCP tools: over stdio, or over HTTP for those whom an identity provider knows.

    python server.py --ref module:function [--name NAME] [--http] [--host HOST] [--port PORT]
    python server.py --config FILE

FILE is JSON: name, refs, auth, host, port, and `"transport": "streamable-http"` for `--http`. Options win.
"""

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from references import mk_mcp_from_refs
from resource_server import HTTP, mk_auth_provider, serve_http

from workshop.auth import Section
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.serving import log_to_stderr, read_object

PART_1 = Path(__file__).resolve().parents[3] / "01_agent_loop"
SETTINGS = frozenset({"name", "refs", "auth", "host", "port", "transport"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the client leaves or SIGTERM comes; a mistake ends in a sentence and exit code 2."""
    parser = argparse.ArgumentParser(description="Serve functions as MCP tools, over stdio or HTTP.")
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="JSON: name, refs, auth, host, port, transport")
    add("--ref", action="append", dest="refs", default=[], metavar="MODULE:FUNCTION", help="repeatable")
    add("--name", help="what the server calls itself")
    add("--http", action="store_true", help="serve over HTTP; without it, over stdio")
    add("--host", help="loopback (the default), or with `auth` also 0.0.0.0")
    add("--port", type=int, help="8000 unless given")
    options = parser.parse_args(arguments)
    log_to_stderr()
    logging.getLogger("mcp").setLevel(logging.WARNING)
    try:
        _serve(options)
    except WorkshopError as error:
        told = ". ".join(filter(None, (error.what, error.why, error.hint)))
        if isinstance(error, UsageError):
            parser.error(told)
        parser.exit(error.exit_code, f"{parser.prog}: error: {told}\n")


def _serve(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in ("name", "host", "port")}
    given = {name: value for name, value in given.items() if value is not None}
    written = read_object(options.config) if options.config else {}
    config = Section.of({**written, **given}, "", known=SETTINGS)
    transport = HTTP if options.http else config.values.get("transport", "stdio")
    if transport not in ("stdio", HTTP):
        raise UsageError(f"`transport` is {transport!r}", hint=f"It is stdio or {HTTP}")
    sys.path.append(str(PART_1))  # where `tools:list_repositories` and its neighbours are
    refs = [*config.texts("refs"), *options.refs]
    name = config.text("name") if config.has("name") else "resource-server"
    if transport == HTTP:
        host = config.text("host") if config.has("host") else "127.0.0.1"
        port, watched = config.number("port", 8000, 1, 65535), options.config or Path(__file__)
        auth = config.values.get("auth")
        serve_http(refs, name=name, auth=auth, host=host, port=port, while_exists=watched)
        return
    mk_auth_provider(config.values.get("auth"))  # nobody needs it over stdio, but wrong is wrong
    with contextlib.redirect_stdout(sys.stderr):  # what a module prints is no MCP message
        server = mk_mcp_from_refs(refs, name=name)
    server.run("stdio")


if __name__ == "__main__":
    main()
