"""The elicitation gateway from its README's example, with everything around it under public names, over TLS.

github.com and api.github.com are the practice GitHub; `id` and `accounts` are two identity providers; `tasks`
is an API of the test's.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from tests.servers.gateway.harness import ec_pem, in_thread
from tests.variations.edge import Edge, edge
from tests.variations.real import AS_PROCESS, Served, Way, example, practice_github, program, visitor
from workshop.core.paths import checkout_dir
from workshop.core.ports import free_port
from workshop.course.lessons import find_variation

FOLDER = find_variation("elicitation").directory
README = (FOLDER / "README.md").read_text("utf-8")
URL, SECRET = "https://gateway.example.com", "the-secret-of-the-app"
_SECONDS = 120


@dataclass
class Tasks:
    """The API: keeps tasks, and what each request carried; a token that it `refuses` gets a 401."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def app(self) -> Router:
        return Router([Route("/lists/{list}/tasks", self.answer, methods=["GET", "POST"])])

    async def answer(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        if not token or token in self.refused:
            return JSONResponse({"error": "invalid_token"}, 401)
        if request.method == "POST":
            self.tasks.append(await request.json())
            return JSONResponse(self.tasks[-1], 201)
        tags = request.query_params.getlist("tag")
        return JSONResponse([task for task in self.tasks if not tags or task.get("tag") in tags])


@dataclass(frozen=True)
class World:
    """Everything that runs."""

    folder: Path
    server: Served
    edge: Edge
    tasks: Tasks
    metrics_port: int

    def construct(self, *words: str) -> subprocess.CompletedProcess[str]:
        script = [str(FOLDER / "construct.py"), "--config", str(self.folder / "gateway.toml"), *words]
        return self._run(script, self.edge.environment)

    def visit(self, *words: str) -> list[dict[str, Any]]:
        """What our agent's calls return; see `visitor`."""
        return visitor(self.folder, self.edge.environment, f"{URL}/mcp", *words)

    def _run(self, argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *argv],
            cwd=self.folder,
            env={**os.environ, **environment, "PYTHONPATH": str(checkout_dir())},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def block(kind: str) -> str:
    """The first block of a kind in *Use it for real*."""
    return example(README, kind)


@contextmanager
def real_world(folder: Path, way: Way = AS_PROCESS) -> Iterator[World]:
    """Everything, set up by no one yet."""
    port, metrics, github, identity, accounts, api = (free_port() for _ in range(6))
    config = (
        block("toml")
        .replace("port = 8000 ", f"port = {port} ")
        .replace("localhost:8000", f"localhost:{port}")
    )
    (folder / "gateway.toml").write_text(f"metrics_port = {metrics}\n{config}")
    (folder / "tasks.openapi.json").write_text(block("json"))
    (folder / ".env").write_text(
        f"VAULT_KEY={secrets.token_hex(32)}\nCONTROL_SECRET={secrets.token_hex(32)}\n"
        f"GITHUB_CLIENT_SECRET={SECRET}\n"
    )
    (folder / "hmac").write_text("h" * 48)
    tasks = Tasks()
    with ExitStack() as stack:
        outside = stack.enter_context(
            edge(folder / "edge", also=way.also, gateway=port, id=identity, accounts=accounts, tasks=api)
        )
        outside.ports |= {"github.com": github, "api.github.com": github}
        stack.enter_context(
            practice_github(folder, github, f"{URL}/oauth/callback", SECRET, public_url="https://github.com")
        )
        for name, where, resource, client, back in (
            ("id", identity, f"{URL}/mcp", "elicitation-gateway", "signed-in"),
            ("accounts", accounts, "https://tasks.example.com", "task-gateway", "oauth/callback"),
        ):
            (folder / f"{name}.pem").write_bytes(ec_pem())
            provider = {
                "port": where,
                "url": f"https://{name}.example.com",
                "resource": resource,
                "store": str(folder / f"{name}.sqlite"),
                "signing_key_file": str(folder / f"{name}.pem"),
                "hmac_file": str(folder / "hmac"),
                "clients": [{"client_id": client, "redirect_uris": [f"{URL}/{back}"], "name": client}],
            }
            stack.enter_context(program("workshop.servers.identity", folder / f"{name}.json", provider))
        stack.enter_context(in_thread(tasks.app(), api))
        server = stack.enter_context(
            way.run("elicitation", folder / "gateway.toml", port, outside.environment)
        )
        yield World(folder, server, outside, tasks, metrics)
