"""200 people who are logged in at each variation's server, each with calls of a tool.

Run: uv run python -m tests.benchmarks.variations [NAME ...] [--people 200] [--calls 5]

Each server runs as `workshop serve` starts it; 20 calls are on their way at a time. Printed are the 50th and
the 99th percentile of a call in milliseconds, calls a second, and of the server, the processor time that a
call takes and the memory. GitHub is the practice GitHub, a process of its own. The worker's people log in
there; the others have tokens of an identity provider, and the elicitation gateway has a GitHub account of
each in its vault.
"""

import argparse
import asyncio
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.servers.gateway.harness import ec_pem, in_thread
from tests.variations.elicitation import PROFILE
from tests.variations.prefix_gateway import META, MODERN
from tests.variations.real import Served, practice_github, served
from tests.variations.real_elicitation import FOLDER
from tests.variations.resource_servers import Keycloak
from tests.variations.test_worker import attacker_module
from workshop.auth import Asked, Grants, SealedRecords, Vault
from workshop.auth.store import UpstreamTokens
from workshop.core.ports import free_port
from workshop.servers.practice.client import access_token

AT_ONCE = 20
SECRET = "the-secret-of-the-app"
_PROCESSOR = "process_cpu_seconds_total"


@dataclass(frozen=True)
class Bench:
    """Where a server runs, and who issues its callers' tokens; `people` is how many of them there are."""

    folder: Path
    keycloak: Keycloak
    people: int
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def issuer(self) -> dict[str, str]:
        issuer = self.keycloak.issuer
        return {"issuer": issuer, "jwks_uri": f"{issuer}/protocol/openid-connect/certs"}

    @contextmanager
    def running(self, name: str, **values: Any) -> Iterator[Served]:
        config = self.folder / f"{name}.json"
        ports = {"port": self.port, "metrics_port": self.metrics_port}
        config.write_text(json.dumps({**ports, **values}))
        with served(name, config, self.port) as server:
            yield server

    def secret(self, name: str, value: bytes = b"") -> str:
        """The path of a file with a secret."""
        (self.folder / name).write_bytes(value or secrets.token_hex(32).encode())
        return name

    def tokens(self) -> list[str]:
        """One token of the identity provider for each person."""
        aud, token = f"{self.url}/mcp", self.keycloak.token
        return [token(aud=aud, sub=f"person-{n}", sid=f"session-{n}") for n in range(self.people)]


@dataclass(frozen=True)
class Load:
    """What each person calls, and with which token and headers."""

    server: Served
    tokens: Sequence[str]
    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def resource_server(bench: Bench) -> Iterator[Load]:
    auth = {**bench.issuer, "audience": f"{bench.url}/mcp", "base_url": bench.url}
    http = {"transport": "streamable-http", "stateless_http": True}
    with bench.running("resource-server", **http, refs=["os.path:basename"], auth=auth) as server:
        yield Load(server, bench.tokens(), "basename", {"p": "/a/b"})


@contextmanager
def prefix_gateway(bench: Bench) -> Iterator[Load]:
    port = free_port()
    github = {"prefix": "github_", "url": f"http://localhost:{port}/mcp", "user_header": "x-github-pat"}
    key = bench.secret("key.pem", ec_pem())
    values = {"url": bench.url, **bench.issuer, "signing_key_file": key, "registrations": [github]}
    own = {"x-github-pat": access_token(SECRET, "learner", ("repo", "user"))}
    with (
        practice_github(bench.folder, port, f"{bench.url}/callback", SECRET),
        bench.running("prefix-gateway", **values) as server,
    ):
        yield Load(server, bench.tokens(), "github_get_me", headers=own)


@contextmanager
def worker(bench: Bench) -> Iterator[Load]:
    github = free_port()
    values = {
        "url": bench.url,
        "github": f"http://localhost:{github}",
        "client_id": "your-oauth-app",
        "client_secret_file": "app-secret",
        "cookie_encryption_key_file": bench.secret("cookies"),
        "allowed_usernames": ["learner"],
        "store": "worker.sqlite",
    }
    with (
        practice_github(bench.folder, github, f"{bench.url}/callback", SECRET),
        bench.running("worker", **values) as server,
    ):
        yield Load(server, asyncio.run(_logins(bench)), "get_github_repos", {"limit": 10})


async def _logins(bench: Bench) -> list[str]:
    """The tokens of as many logins as there are people, each in a browser of its own."""
    async with attacker_module.attacking(f"{bench.url}/mcp", bench.folder) as client:
        client_id = (await client.register(attacker_module.HERE))["client_id"]

        async def log_in() -> str:
            async with attacker_module.a_browser() as browser:
                end = await client.travel(browser, client.request(client_id=client_id))
            code = str(httpx2.URL(end).params["code"])
            login = attacker_module.Login(client_id, attacker_module.HERE, "v" * 43, code)
            return str((await client.redeem(login)).json()["access_token"])

        return await _in_turns([log_in] * bench.people)


@contextmanager
def elicitation(bench: Bench) -> Iterator[Load]:
    github, accounts = free_port(), "http://localhost:{}"
    app = {"kind": "github", "url": accounts.format(github), "client_id": "your-oauth-app"}
    target = {"description": str(FOLDER / "github.openapi.json"), "server": app["url"], "provider": "github"}
    values = {
        "url": bench.url,
        **bench.issuer,
        "authorization_endpoint": f"{bench.keycloak.issuer}/auth",
        "token_endpoint": f"{bench.keycloak.issuer}/token",
        "client_id": "gateway",
        "vault_key_file": bench.secret("vault"),
        "control_file": bench.secret("control"),
        "store": "gateway.sqlite",
        "providers": {"github": {**app, "client_secret_file": "app-secret"}},
        "targets": {"GitHubTarget": {**target, "scopes": ["repo", "user"]}},
    }
    callback = f"{bench.url}/oauth/callback"
    with practice_github(bench.folder, github, callback, SECRET):
        _connect_accounts(bench, f"{app['url']} {app['url']}/login/oauth/access_token {app['client_id']}")
        with bench.running("elicitation", **values) as server:
            script = [str(FOLDER / "construct.py"), "--config", str(bench.folder / "elicitation.json")]
            subprocess.run([sys.executable, *script], check=True, stdout=subprocess.DEVNULL)
            yield Load(server, bench.tokens(), PROFILE)


def _connect_accounts(bench: Bench, home: str) -> None:
    """Put a grant for each person into the vault, as `/oauth/callback` does at the end of a login."""
    vault = Vault((bench.folder / "vault").read_bytes(), bound_to=bench.url)
    records = SealedRecords(str(bench.folder / "gateway.sqlite"), vault)
    for number in range(bench.people):
        token = access_token(SECRET, "learner", ("repo", "user"))
        asked = Asked(f"person-{number}", "", "GitHubTarget")
        Grants(records).put(asked, home, UpstreamTokens(token, None, None))
    records.close()


async def _in_turns(works: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(work: Callable[[], Awaitable[Any]]) -> Any:
        async with turns:
            return await work()

    return await asyncio.gather(*map(in_turn, works))


async def measure(load: Load, calls: int) -> list[float]:
    """The milliseconds of every call of every person."""
    params = {"name": load.tool, "arguments": load.arguments, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": load.tool,
        **load.headers,
    }
    url = f"http://localhost:{load.server.port}/mcp"
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:

        async def call(token: str) -> float:
            started = time.perf_counter()
            sent = {**headers, "authorization": f"Bearer {token}"}
            answer = await http.post(url, json=body, headers=sent)
            taken = (time.perf_counter() - started) * 1000
            assert answer.status_code == 200, answer.text
            assert '"isError":true' not in answer.text, answer.text
            return taken

        works = [lambda token=token: call(token) for token in load.tokens for _ in range(calls)]
        return await _in_turns(works)


SERVERS: Mapping[str, Callable[[Bench], Any]] = {
    "resource-server": resource_server,
    "prefix-gateway": prefix_gateway,
    "worker": worker,
    "elicitation": elicitation,
}


def main() -> None:
    """Print one line for each server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=SERVERS, metavar="NAME")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--calls", type=int, default=5)
    options = parser.parse_args()
    realm = free_port()
    keycloak = Keycloak(url=f"http://localhost:{realm}")
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder, in_thread(keycloak.app(), realm):
            bench = Bench(Path(folder), keycloak, options.people)
            with SERVERS[name](bench) as load:
                before, started = load.server.metrics(bench.metrics_port), time.perf_counter()
                taken = asyncio.run(measure(load, options.calls))
                rate = len(taken) / (time.perf_counter() - started)
                after = load.server.metrics(bench.metrics_port)
        low, high = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        memory = after["process_resident_memory_bytes"] / 2**20
        processor = (after[_PROCESSOR] - before[_PROCESSOR]) / len(taken) * 1000
        times = f"p50 {low:.0f} ms, p99 {high:.0f} ms, {rate:.0f}/s, {processor:.1f} ms of processor time"
        print(f"{name}: {len(load.tokens)} people, {times}, {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
