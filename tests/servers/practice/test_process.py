"""`python -m workshop.servers.practice` as a real process: start, kill, restart, refuse."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.servers.practice.conftest import CONTROL, SECRET, write_config
from tests.servers.practice.process import Process
from tests.serving import answer_to_two_lengths
from workshop.core.ports import bind_loopback, free_port
from workshop.servers.practice.client import read_requests
from workshop.servers.practice.tokens import Tokens


async def test_it_serves_both_loopback_addresses_and_mcp_and_ends_on_sigterm(
    start: Callable[[], Process], port: int
) -> None:
    process = start()
    token = Tokens(SECRET).issue("learner", ("repo",))
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
        for host in ("127.0.0.1", "localhost"):
            assert (await http.get(f"http://{host}:{port}/health")).status_code == 200
        async with Client(
            streamable_http_client(f"http://localhost:{port}/mcp/", http_client=http)
        ) as client:
            assert not (await client.call_tool("get_me", {})).is_error
    recorded = await read_requests(f"http://localhost:{port}")
    assert {(request.authorization or {})["user"] for request in recorded} == {"learner"}
    process.send(signal.SIGTERM)
    assert process.end() in {0, -signal.SIGTERM}
    log = "".join(process.lines)
    assert "POST /mcp/ 200" in log
    assert token not in log
    assert SECRET not in log


@pytest.fixture
def in_a_cluster(config_file: Path) -> None:
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "service_host": "practice"}))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
async def test_in_a_cluster_it_serves_every_address_under_the_services_name(
    in_a_cluster: None, start: Callable[[], Process], port: int
) -> None:
    start()
    pod, name = f"http://127.0.0.2:{port}", f"practice:{port}"
    token = Tokens(SECRET).issue("learner", ("repo",))
    headers = {"Authorization": f"Bearer {token}", "Host": name}
    async with httpx2.AsyncClient(headers=headers) as http:
        async with Client(streamable_http_client(f"{pod}/mcp/", http_client=http)) as client:
            assert not (await client.call_tool("get_me", {})).is_error
        assert (await http.get(f"{pod}/user")).status_code == 200
        for host, status in (
            (f"localhost:{port}", 200),
            ("practice.evil.example", 421),
            (f"127.0.0.2:{port}", 421),
        ):
            assert (await http.get(f"{pod}/health", headers={"Host": host})).status_code == status, host


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a process for all tests that neither configure nor end it."""
    port = free_port()
    process = Process(write_config(tmp_path_factory.mktemp("served"), port))
    process.wait_until_it_serves(port)
    yield port
    process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_outside_a_cluster_it_serves_loopback_only(served: int) -> None:
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://127.0.0.2:{served}/health")


def test_a_token_survives_kill_9_and_nothing_else_does(start: Callable[[], Process], port: int) -> None:
    process = start()
    token = Tokens(SECRET).issue("learner", ("repo",))
    headers = {"Authorization": f"Bearer {token}"}
    url = f"http://localhost:{port}"
    fault = {"target": "mcp", "fault": "500"}
    assert httpx2.post(f"{url}/practice/faults", json=fault, headers=CONTROL).json()["faults"]
    assert httpx2.get(f"{url}/user", headers=headers).status_code == 200
    process.kill()
    start()
    assert httpx2.get(f"{url}/practice/requests").json()["requests"] == []
    assert httpx2.get(f"{url}/user", headers=headers).json()["login"] == "learner"
    assert httpx2.post(f"{url}/mcp/", headers=headers, json={}).status_code != 500


def test_the_fault_drop_closes_the_connection_in_the_middle(served: int) -> None:
    url = f"http://localhost:{served}"
    httpx2.post(f"{url}/practice/faults", json={"target": "userinfo", "fault": "drop"}, headers=CONTROL)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{url}/user")
    assert httpx2.get(f"{url}/user").status_code == 401


def test_two_lengths_of_one_body_are_refused(served: int) -> None:
    answer = answer_to_two_lengths(served, "/login/oauth/access_token")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_it_ends_when_its_configuration_is_removed(start: Callable[[], Process], config_file: Path) -> None:
    process = start()
    config_file.unlink()
    assert process.end() == 0


def test_a_bad_configuration_ends_in_plain_words(config_file: Path) -> None:
    config_file.write_text("{}")
    process = Process(config_file)
    assert process.end() == 2
    said = "".join(process.lines)
    assert said.startswith(f"Error: `port` in `{config_file}` is missing")
    assert "Traceback" not in said


def test_a_taken_port_ends_in_plain_words(config_file: Path, port: int) -> None:
    taken = bind_loopback(port)
    try:
        process = Process(config_file)
        assert process.end() == 3
    finally:
        for sock in taken:
            sock.close()
    said = "".join(process.lines)
    assert str(port) in said
    assert "Traceback" not in said
