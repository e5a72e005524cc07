"""The gateway as a process: its end, its errors, its log, and what survives `kill -9`."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.environment import forked
from tests.fork_server import ForkedProcess
from tests.servers.gateway.harness import (
    DEADLINE,
    NO_TLS,
    VERIFIER,
    Clock,
    SignedIn,
    Site,
    configured,
    settings,
)
from workshop.core.ports import free_port

IMPORTS = ("workshop.core.serving", "workshop.servers.gateway.app", "workshop.servers.gateway.http_protocol")


class Process:
    """One gateway process and all it has written."""

    def __init__(self, process: ForkedProcess) -> None:
        self.process = process
        self.log = ""

    async def until(self, text: str) -> None:
        assert self.process.stderr is not None
        while text not in self.log:
            line = await asyncio.to_thread(self.process.stderr.readline)
            assert line, self.log
            self.log += line

    async def end(self) -> int:
        _, rest = await asyncio.to_thread(self.process.communicate, timeout=DEADLINE)
        self.log += rest
        return self.process.wait()


def gateway(path: Path) -> ForkedProcess:
    """A gateway in a process of its own; `up` starts it as a program of its own, in other tests."""
    words = ("-m", "workshop.servers.gateway", "--config", str(path))
    return forked(*words, folder=path.parent, imports=IMPORTS)


@asynccontextmanager
async def gateway_process(path: Path) -> AsyncIterator[Process]:
    with gateway(path) as process:
        yield Process(process)


@asynccontextmanager
async def site_at(folder: Path, values: dict[str, Any]) -> AsyncIterator[Site]:
    config = configured(folder, values)
    url = f"http://localhost:{config.port}"
    async with (
        httpx2.AsyncClient(base_url=url, verify=NO_TLS) as http,
        httpx2.AsyncClient(verify=NO_TLS) as browser,
    ):
        yield Site(_no_app, config, Clock(), url, http, browser)


async def _no_app(*_: object) -> None:
    raise AssertionError("the gateway is another process")


async def test_clients_grants_and_upstream_tokens_survive_kill_9(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice, port=free_port())
    async with site_at(tmp_path, values) as site:
        async with gateway_process(tmp_path / "gateway.json") as process:
            await process.until("startup complete")
            signed_in = await site.sign_in()
            process.process.kill()
            await process.end()
        async with gateway_process(tmp_path / "gateway.json") as process:
            await process.until("startup complete")
            assert (await site.call(signed_in.bearer)).status_code == 200
            refreshed = await site.refresh(signed_in.client_id, signed_in.refresh_token)
            again = SignedIn(signed_in.client_id, refreshed.json())
            assert (await site.call(again.bearer)).status_code == 200
            assert (await site.authorize(signed_in.client_id)).status_code == 200


async def test_t117_the_log_reports_what_happened_and_no_secret(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice, port=free_port())
    async with site_at(tmp_path, values) as site, gateway_process(tmp_path / "gateway.json") as process:
        await process.until("startup complete")
        client_id = await site.register(client_name="Nosy name")
        page = await site.authorize(client_id, state="client-state-value")
        cookies = list(site.browser.cookies.values())
        to_upstream = await site.decide(page)
        back = await site.at_upstream(to_upstream)
        arrived = await site.browser.get(back.headers["location"])
        code = httpx2.URL(arrived.headers["location"]).params["code"]
        first = SignedIn(client_id, (await site.redeem(client_id, code)).json())
        await site.call(first.bearer, params={"q": "query-value"})
        second = (await site.refresh(client_id, first.refresh_token)).json()
        await site.redeem(client_id, code)
        await site.http.get("/a%0d%0aforged%1b[31m?x=query-value")
        process.process.send_signal(signal.SIGTERM)
        assert await process.end() == -signal.SIGTERM or process.process.returncode == 0
    log = process.log
    upstream = [*httpx2.URL(to_upstream.headers["location"]).params.values()]
    upstream += [*httpx2.URL(back.headers["location"]).params.values()]
    secrets = [*cookies, *(value for value in upstream if len(value) > 30), code, VERIFIER]
    secrets += ["client-state-value", "Nosy name"]
    secrets += [first.access_token, first.refresh_token, second["access_token"], second["refresh_token"]]
    secrets += ["practice-client-secret", "query-value", "hhhh", "practice_"]
    assert len([secret for secret in secrets if secret in log]) == 0
    told = ["client registered", "consent approved", "code issued", "token issued", "token refreshed"]
    assert [event for event in [*told, "code refused"] if event not in log] == []
    assert re.search(r"POST /oauth/token 200 \d+ ms", log)
    assert "forged" in log
    assert "\x1b" not in log
    assert not re.search(r"^forged", log, re.MULTILINE)


async def test_it_stops_when_its_configuration_is_removed(tmp_path: Path) -> None:
    configured(tmp_path, settings(tmp_path, port=free_port()))
    async with gateway_process(tmp_path / "gateway.json") as process:
        await process.until("startup complete")
        (tmp_path / "gateway.json").unlink()
        assert await process.end() == 0


def run(path: Path) -> tuple[int, str]:
    """The exit code of a gateway that cannot start, and what it wrote to stderr."""
    with gateway(path) as process:
        _, errors = process.communicate(timeout=DEADLINE)
        return process.wait(), errors


def test_a_wrong_configuration_is_reported_in_plain_lines(tmp_path: Path) -> None:
    values = settings(tmp_path)
    values["auth"]["issuer"] += "/"
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(values))
    code, errors = run(path)
    assert code == 2
    assert errors == (
        "Error: The configuration is wrong at `auth.issuer`\n"
        "  An issuer has no trailing slash; clients compare it byte for byte\n"
        "  Hint: Write http://localhost:8080\n"
    )


def test_a_port_in_use_is_reported_in_plain_lines(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        configured(tmp_path, settings(tmp_path, port=port))
        code, errors = run(tmp_path / "gateway.json")
    assert code == 3
    assert f"Port {port} is already in use" in errors
    assert "Traceback" not in errors


def test_a_store_that_cannot_be_written_is_reported_in_plain_lines(tmp_path: Path) -> None:
    values = settings(tmp_path) | {"store": str(tmp_path / "key.pem" / "store.sqlite")}
    configured(tmp_path, values)
    code, errors = run(tmp_path / "gateway.json")
    assert code == 2
    assert "Traceback" not in errors
