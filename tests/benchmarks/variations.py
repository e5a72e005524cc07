"""200 people who are logged in, each with calls of a tool: `python -m tests.benchmarks.variations`.

For the resource server and the prefix gateway, as `workshop serve` starts them: the 50th and the 99th
percentile of a call in milliseconds, calls a second, and the memory of the server in MiB.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.servers.gateway.harness import ec_pem, in_thread
from tests.variations.prefix_gateway import Upstream
from tests.variations.real import Served, served
from tests.variations.resource_servers import Keycloak
from workshop.core.ports import free_port

PEOPLE, CALLS, AT_ONCE = 200, 5, 20
HEADERS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-11-25",
    "x-github-pat": "a-token-of-ones-own",
}


@contextmanager
def serving(name: str, tool: str, keycloak: Keycloak, folder: Path) -> Iterator[tuple[Served, int]]:
    """The server on a port of loopback, and the port of its metrics."""
    port, metrics, upstream = free_port(), free_port(), free_port()
    issuer = {"issuer": keycloak.issuer, "jwks_uri": f"{keycloak.issuer}/protocol/openid-connect/certs"}
    values: dict[str, Any] = {"port": port, "metrics_port": metrics}
    if name == "resource-server":
        auth = {**issuer, "audience": f"http://localhost:{port}/mcp", "base_url": f"http://localhost:{port}"}
        values |= {"transport": "streamable-http", "stateless_http": True, "refs": [tool], "auth": auth}
    else:
        (folder / "key.pem").write_bytes(ec_pem())
        github = {
            "prefix": "github_",
            "url": f"http://localhost:{upstream}/mcp",
            "user_header": "x-github-pat",
        }
        values |= {"url": f"http://localhost:{port}", "signing_key_file": "key.pem", **issuer}
        values |= {"registrations": [github]}
    config = folder / f"{name}.json"
    config.write_text(json.dumps(values))
    with in_thread(Upstream(("get_me",)).app(), upstream), served(name, config, port) as server:
        yield server, metrics


async def measure(server: Served, tool: str, arguments: dict[str, str], keycloak: Keycloak) -> list[float]:
    """The milliseconds of every call of every person."""
    url = f"http://localhost:{server.port}/mcp"
    params = {"name": tool, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    turns = asyncio.Semaphore(AT_ONCE)

    async def person(http: httpx2.AsyncClient, number: int) -> list[float]:
        token = keycloak.token(sub=f"person-{number}", sid=f"session-{number}", aud=url)
        headers, taken = {**HEADERS, "authorization": f"Bearer {token}"}, []
        for _ in range(CALLS):
            async with turns:
                started = time.perf_counter()
                answer = await http.post(url, json=body, headers=headers)
                taken.append((time.perf_counter() - started) * 1000)
            assert answer.status_code == 200, answer.text
            assert '"isError":true' not in answer.text, answer.text
        return taken

    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        found = await asyncio.gather(*(person(http, number) for number in range(PEOPLE)))
    return [each for taken in found for each in taken]


def main() -> None:
    """Print one line for each server."""
    keycloak, realm = Keycloak(), free_port()
    keycloak.url = f"http://localhost:{realm}"
    servers = {
        "resource-server": ("os.path:basename", "basename", {"p": "/a/b"}),
        "prefix-gateway": ("", "github_get_me", {}),
    }
    for name, (ref, tool, arguments) in servers.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            in_thread(keycloak.app(), realm),
            serving(name, ref, keycloak, Path(folder)) as (server, metrics),
        ):
            started = time.perf_counter()
            taken = asyncio.run(measure(server, tool, arguments, keycloak))
            rate = len(taken) / (time.perf_counter() - started)
            found = server.metrics(metrics)
        low, high = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        memory = found["process_resident_memory_bytes"] / 2**20
        people = found['workshop_logins_total{outcome="allowed"}']
        times = f"p50 {low:.0f} ms, p99 {high:.0f} ms, {rate:.0f}/s"
        print(f"{name}: {people:.0f} people, {times}, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
