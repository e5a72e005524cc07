"""A forward stands while kubectl dies, hangs and comes back; it says how it is, and holds who comes."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from tests.lab.forward.conftest import Bench, until
from tests.lab.tools.waiting import gone
from workshop.core.errors import PreflightError
from workshop.core.ports import bind_loopback
from workshop.lab.forward import load, supervisor
from workshop.lab.forward.supervisor import Supervisor, Timing
from workshop.lab.forward.supervisor import probe as ask

pytestmark = pytest.mark.anyio


QUICK = Timing(between_probes=0.05, least=0.01, first_pause=0.01, longest_pause=0.05, look=0.05)


@contextlib.asynccontextmanager
async def running(bench: Bench, timing: Timing = QUICK) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(Supervisor(load(bench.config), timing=timing).run(bench.config))
    await asyncio.sleep(0)  # it listens from its first step on
    try:
        yield task
    finally:
        bench.config.unlink(missing_ok=True)
        async with asyncio.timeout(60):
            await asyncio.gather(task, return_exceptions=True)


async def standing(bench: Bench) -> None:
    await until(lambda: bench.state.state == "forwarding")


async def get(bench: Bench, path: str = "/echo", host: str = "127.0.0.1") -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.get(f"http://{host}:{bench.port}{path}")


async def test_the_service_answers_on_both_loopback_addresses(bench: Bench) -> None:
    async with running(bench):
        for host in ("127.0.0.1", "[::1]"):
            assert (await get(bench, host=host)).text == f"{host}:{bench.port}"
        assert bench.state.restarts == 0
        assert bench.state.last_error == ""


async def test_kubectl_is_called_with_our_kubeconfig_and_context_for_a_port_of_its_choice(
    bench: Bench,
) -> None:
    async with running(bench):
        await standing(bench)
    (_, kubeconfig, arguments), *_ = bench.calls()
    assert kubeconfig == str(bench.folder / "kubeconfig")
    assert arguments == [
        "--context=kind-workshop",
        "--namespace=toolhive-system",
        "port-forward",
        "--address=127.0.0.1",
        "service/mcp-github-remote-remote-proxy",
        ":8080",
    ]


async def test_much_passes_both_ways_whole(bench: Bench) -> None:
    async with running(bench), httpx2.AsyncClient(timeout=60, trust_env=False) as client:
        assert len((await client.get(f"http://127.0.0.1:{bench.port}/big")).content) == 5_000_000
        sent = bytes(range(256)) * 8_000
        assert (await client.post(f"http://127.0.0.1:{bench.port}/", content=sent)).content == sent


async def test_a_client_that_has_sent_all_still_gets_the_answer(bench: Bench) -> None:
    async with running(bench):
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(b"GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n")
        writer.write_eof()
        assert len(await reader.read()) > 5_000_000
        writer.close()


async def test_when_kubectl_dies_it_is_started_again_behind_the_same_listener(bench: Bench) -> None:
    async with running(bench):
        await standing(bench)
        first = bench.kubectl()
        first.kill()
        await until(lambda: gone(first.pid))  # it may take a connection until then, and lose it
        assert (await get(bench)).status_code == 200
        await until(lambda: bench.state.restarts > 0)
        await standing(bench)
        assert bench.kubectl().pid != first.pid


async def test_who_connects_while_there_is_no_kubectl_is_held_and_then_served(bench: Bench) -> None:
    bench.mode("error: pods are not running")
    async with running(bench):
        await until(lambda: len(bench.calls()) > 1)
        held = asyncio.create_task(get(bench))
        await until(lambda: bench.state.last_error == "error: pods are not running")
        assert not held.done()
        bench.mode("forward")
        assert (await held).status_code == 200


async def test_who_waits_too_long_learns_why(bench: Bench) -> None:
    bench.mode('error: services "mcp-github-remote-remote-proxy" not found')
    async with running(bench, replace(QUICK, hold=0.2)):
        await until(lambda: "not found" in bench.state.last_error)
        answer = await get(bench)
        assert answer.status_code == 503
        assert 'services "mcp-github-remote-remote-proxy" not found' in answer.text


async def test_a_kubectl_that_hangs_is_replaced(bench: Bench) -> None:
    async with running(bench, replace(QUICK, probe=2)):
        await standing(bench)
        hanging = bench.kubectl()
        hanging.suspend()
        with contextlib.suppress(httpx2.RemoteProtocolError, httpx2.ReadError):
            await get(bench)  # whether it was acted on nobody knows: it is not sent twice
        await until(lambda: bench.state.restarts > 0)
        assert (await get(bench)).status_code == 200
        assert bench.kubectl().pid != hanging.pid
        assert not hanging.is_running()


async def test_a_kubectl_that_never_answers_is_replaced_each_with_more_patience(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def probe(port: int, path: str, host: str, seconds: float) -> int | None:
        given.append(seconds)
        return None if len(given) < 5 else await ask(port, path, host, 5)

    monkeypatch.setattr(supervisor, "probe", probe)
    async with running(bench, replace(QUICK, first_answer=0.01, longest_answer=5)):
        await standing(bench)
        assert bench.state.restarts > 0
        assert given[-1] > given[0]


async def test_a_service_that_is_unwell_keeps_its_forward_and_reports_that(bench: Bench) -> None:
    bench.service.status = 503
    async with running(bench):
        await until(lambda: bench.state.last_error == "/health answers with status 503")
        asked = bench.service.health
        await until(lambda: bench.service.health > asked + 4)
        assert bench.state.state == "forwarding"
        assert len(bench.calls()) == 1
        bench.service.status = 200
        await until(lambda: bench.state.last_error == "")


async def test_the_state_says_since_when(bench: Bench) -> None:
    before = time.time()
    bench.mode("error: no")
    async with running(bench):
        await until(lambda: bench.state.restarts > 2)
        assert bench.state.state == "connecting"
        connecting = bench.state.since
        bench.mode("forward")
        await standing(bench)
        assert before <= connecting <= bench.state.since <= time.time()


async def test_the_pause_between_two_tries_grows_to_its_bound(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def wait(self: Supervisor, seconds: float, *, least: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(Supervisor, "_wait", wait)
    bench.mode("error: no")
    async with running(bench, replace(QUICK, longest_pause=0.08)):
        await until(lambda: len(pauses) > 4)
    assert pauses[:5] == [0.02, 0.04, 0.08, 0.08, 0.08]


@pytest.mark.parametrize("steps", range(3))
async def test_its_end_is_not_lost_when_a_client_connects_at_that_moment(bench: Bench, steps: int) -> None:
    ending = Supervisor(load(bench.config))
    waiting = asyncio.create_task(ending._wait(60, least=0))
    for _ in range(5):  # of the event loop, until it waits for a client
        await asyncio.sleep(0)
    ending._wanted.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if waiting.cancel():  # otherwise it has ended before
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_it_ends_when_its_configuration_is_removed(bench: Bench) -> None:
    async with running(bench) as task:
        await standing(bench)
        kubectl = bench.kubectl()
        bench.config.unlink()
        await asyncio.wait_for(task, 60)
        assert not kubectl.is_running()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", bench.port)


async def test_a_taken_port_is_refused_before_kubectl_is_started(bench: Bench) -> None:
    taken = bind_loopback(bench.port)
    with pytest.raises(PreflightError, match=f"Port {bench.port}"):
        await Supervisor(load(bench.config)).run(bench.config)
    for sock in taken:
        sock.close()
    assert bench.calls() == []


async def test_a_missing_kubectl_is_refused(bench: Bench) -> None:
    bench.write(kubectl=str(bench.folder / "absent"))
    with pytest.raises(PreflightError, match="`kubectl` was not found on your PATH"):
        await Supervisor(load(bench.config)).run(bench.config)


async def test_a_state_directory_that_is_gone_does_not_end_the_forward(bench: Bench) -> None:
    bench.write(state_file="/proc/nowhere/forward.json")
    async with running(bench):
        assert (await get(bench)).status_code == 200
        assert json.loads(bench.config.read_text())["state_file"] == "/proc/nowhere/forward.json"
