"""The state of a gateway that runs, as `kubectl get mcpserverregistrations` shows that of Kuadrant's.

    workshop serve prefix-gateway --config FILE --status [--json]

The proof that an operator asks is the gateway's own signing key, which only its configuration leads to.
"""

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from registrations import GatewayConfig

from workshop.auth import InternalTokens, load_signing_key
from workshop.core.crash import run_program
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.core.http_client import open_local_client_sync
from workshop.servers.variation.service import load

STATUS_PATH = "/status"
_COLUMNS = ("name", "prefix", "target", "path", "ready", "tools", "credential", "age", "reason")
_SECONDS = 30.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


def show_status(words: list[str] | None = None) -> int:
    """Print a table, or with `--json` a document; returns the exit code."""
    parser = argparse.ArgumentParser(description="Show the registered servers of a running gateway.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--status", action="store_true", required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)

    def act() -> None:
        found = ask(load(GatewayConfig, options.config))
        print(json.dumps(found, indent=2) if options.json else _table(found["registrations"]))

    return run_program(act)


def ask(config: GatewayConfig) -> dict[str, Any]:
    """The status document of the gateway with this configuration; raises WorkshopError without one."""
    key = load_signing_key(config.signing_key, "signing_key_file")
    token = InternalTokens(config.url, key).issue("operator", config.url + STATUS_PATH)
    headers = {"Authorization": f"Bearer {token}", "Host": urlsplit(config.url).netloc}
    host = _EVERYWHERE.get(config.host, config.host)
    try:
        with open_local_client_sync(timeout=_SECONDS, headers=headers) as http:
            answer = http.get(f"http://{host}:{config.port}{STATUS_PATH}")
            found: dict[str, Any] = answer.raise_for_status().json()
    except httpx2.TransportError as error:
        raise DeadlineError(
            f"No gateway answers at {host}:{config.port}", hint="Start it: `workshop serve prefix-gateway`"
        ) from error
    except (httpx2.HTTPStatusError, ValueError) as error:
        why = "It has another signing key, or it is another program"
        raise WorkshopError(f"The server at {host}:{config.port} shows no status", why=why) from error
    return found


def _table(found: list[dict[str, Any]]) -> str:
    rows = [tuple(name.upper() for name in _COLUMNS)]
    rows += [tuple(_cell(name, one[name]) for name in _COLUMNS) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    if name == "age":
        unit, seconds = next(((unit, size) for unit, size in _UNITS if value >= size), ("s", 1))
        return f"{value // seconds}{unit}"
    return str(value)
