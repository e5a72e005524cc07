"""A request is tried again while the API server is busy, restarts or is out of date, but not for ever."""

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.lab.kube.fake_cluster import NAMESPACE, TOOLHIVE, FakeCluster, write_kubeconfig
from tests.lab.kube.refused import (
    Refusal,
    changed_meanwhile,
    connection_lost,
    no_roles_yet,
    not_served_yet,
    too_many_requests,
    version_too_old,
)
from tests.lab.kube.test_client import secret
from workshop.core.errors import PreflightError, WorkshopError
from workshop.core.ports import free_port
from workshop.lab.kube import connection
from workshop.lab.kube.connection import (
    ConflictError,
    Connection,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
)

FOR_EVER = 1_000_000


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between the attempts, which are not waited for."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def server() -> dict[str, object]:
    metadata = {"name": "workshop", "namespace": NAMESPACE}
    return {"apiVersion": TOOLHIVE, "kind": "MCPServer", "metadata": metadata, "spec": {}}


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("PATCH", 503, "apiserver is shutting down", 4),
        Refusal("PATCH", 504, "the request timed out", 4),
        Refusal("PATCH", 500, "etcdserver: leader changed", 4),
        too_many_requests("PATCH", 1, 4),
        changed_meanwhile("PATCH", 4),
        not_served_yet("PATCH", 4),
        connection_lost("PATCH", 4),
    ],
    ids=lambda refusal: f"{refusal.status} {refusal.reason}",
)
def test_a_write_that_may_be_taken_in_a_moment_is_sent_again(cluster: FakeCluster, refusal: Refusal) -> None:
    cluster.api.refusals = [refusal]
    assert cluster.kube.apply(server())["kind"] == "MCPServer"
    refusal.times = FOR_EVER
    with pytest.raises(WorkshopError):
        cluster.kube.apply(server())


@pytest.mark.parametrize("make", [version_too_old, not_served_yet, connection_lost])
def test_a_list_that_may_be_given_in_a_moment_is_asked_for_again(cluster: FakeCluster, make: object) -> None:
    assert callable(make)
    cluster.put(server())
    kube = cluster.kube
    kube.version()
    start = f"GET /apis/{TOOLHIVE}/namespaces"
    cluster.api.refusals = [make(start, 4)]
    assert [item["kind"] for item in kube.list(TOOLHIVE, "MCPServer", NAMESPACE)] == ["MCPServer"]
    assert kube.delete(TOOLHIVE, "MCPServer", "workshop", NAMESPACE)


def test_a_pause_that_the_server_asks_for_is_kept(cluster: FakeCluster, pauses: list[float]) -> None:
    cluster.api.refusals = [too_many_requests("PATCH", 7, 3)]
    cluster.kube.apply(secret())
    assert pauses == [7, 7, 7]


def test_a_pause_that_is_too_long_is_reported_and_not_kept(cluster: FakeCluster, pauses: list[float]) -> None:
    cluster.api.refusals = [too_many_requests("PATCH", 3600)]
    with pytest.raises(WorkshopError) as caught:
        cluster.kube.apply(secret())
    assert pauses == []
    assert "in 3600 s" in caught.value.hint


def test_no_pause_at_all_does_not_ask_for_ever(cluster: FakeCluster) -> None:
    cluster.api.refusals = [too_many_requests("PATCH", 0, FOR_EVER)]
    with pytest.raises(WorkshopError, match="refused to apply"):
        cluster.kube.apply(secret())


def test_the_end_of_all_attempts_is_the_servers_own_refusal(
    cluster: FakeCluster, pauses: list[float]
) -> None:
    cluster.api.refusals = [Refusal("PATCH", 503, "apiserver is shutting down")]
    with pytest.raises(WorkshopError) as caught:
        cluster.kube.apply(secret())
    assert "shutting down" in caught.value.why
    assert len(pauses) == connection._PATIENT_ATTEMPTS - 1


def test_a_server_that_never_answered_is_given_up_sooner(cluster: FakeCluster, pauses: list[float]) -> None:
    cluster.api.refusals = [connection_lost("GET", FOR_EVER)]
    kube = cluster.kube
    with pytest.raises(UnreachableError):
        kube.version()
    before = len(pauses)
    cluster.api.refusals.clear()
    kube.version()
    cluster.api.refusals = [connection_lost("GET", FOR_EVER)]
    with pytest.raises(UnreachableError):
        kube.version()
    assert len(pauses) - before > before


def test_a_create_whose_answer_got_lost_is_not_taken_for_somebody_elses(cluster: FakeCluster) -> None:
    cluster.api.refusals = [connection_lost("POST", done=True)]
    made = cluster.kube.create(secret())
    assert made["metadata"]["uid"]
    with pytest.raises(ConflictError, match="refused to create Secret"):
        cluster.kube.create(secret())


def test_a_write_that_names_the_version_it_was_made_from_is_not_sent_again(
    cluster: FakeCluster, pauses: list[float]
) -> None:
    cluster.api.refusals = [changed_meanwhile("PATCH")]
    cluster.put(server())
    body = {"metadata": {"resourceVersion": "7"}}
    with pytest.raises(ConflictError):
        cluster.kube.patch(TOOLHIVE, "MCPServer", "workshop", NAMESPACE, body)
    assert pauses == []


def test_a_kind_that_discovery_does_not_list_yet_is_waited_for(cluster: FakeCluster) -> None:
    cluster.api.refusals = [not_served_yet(f"GET /apis/{TOOLHIVE}", 3)]
    assert cluster.kube.apply(server())["kind"] == "MCPServer"


def test_an_api_server_that_has_no_roles_yet_is_asked_for_its_kinds_again(
    cluster: FakeCluster, pauses: list[float]
) -> None:
    cluster.put(secret())
    cluster.api.refusals = [no_roles_yet("GET /version", "/version"), no_roles_yet("GET /api/v1", "/api/v1")]
    assert cluster.kube.version()
    assert cluster.kube.list("v1", "Secret", NAMESPACE)
    assert len(pauses) == 4
    del pauses[:]
    cluster.api.refusals = [no_roles_yet(f"GET /apis/{TOOLHIVE}", f"/apis/{TOOLHIVE}", FOR_EVER)]
    with pytest.raises(WorkshopError, match="refused to list the kinds") as caught:
        cluster.kube.list(TOOLHIVE, "MCPServer", NAMESPACE)
    assert "cannot get path" in caught.value.why
    assert len(pauses) == connection._PATIENT_ATTEMPTS - 1


def test_a_connection_that_ends_during_tls_is_a_server_that_does_not_answer(tmp_path: Path) -> None:
    """As a kind node's published port, which Docker accepts connections for before anything listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[bytes] = []

        def accept() -> None:
            while True:
                try:
                    taken, _ = listening.accept()
                except OSError:
                    return
                with taken:
                    accepted.append(taken.recv(65536))

        threading.Thread(target=accept, daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        asking = Connection(write_kubeconfig(tmp_path / "kubeconfig", url), "test")
        with pytest.raises(UnreachableError, match="does not answer") as caught:
            asking.ask("show its version", "get", "/version")
        assert "EOF occurred" in caught.value.why
        assert len(accepted) == connection._ATTEMPTS
        listening.shutdown(socket.SHUT_RDWR)


def test_a_right_that_is_missing_is_reported_at_once(cluster: FakeCluster, pauses: list[float]) -> None:
    told = 'secrets is forbidden: User "seat" cannot list resource "secrets" in API group ""'
    cluster.api.refusals = [Refusal("GET /api/v1/namespaces", 403, told)]
    with pytest.raises(ForbiddenError, match="may not list secrets"):
        cluster.kube.list("v1", "Secret", NAMESPACE)
    assert pauses == []


def test_a_kind_that_is_absent_is_waited_for_a_few_times(cluster: FakeCluster, pauses: list[float]) -> None:
    cluster.api.refusals = [not_served_yet(f"GET /apis/{TOOLHIVE}", FOR_EVER)]
    with pytest.raises(WorkshopError, match="does not know MCPServer"):
        cluster.kube.apply(server())
    assert len(pauses) == connection._LAG_ATTEMPTS - 1
    del pauses[:]
    assert cluster.kube.get(TOOLHIVE, "MCPServer", "workshop", NAMESPACE) is None
    assert pauses == [], "to look at an absent kind waits for nothing"


def test_an_object_that_is_absent_is_not_asked_for_again(cluster: FakeCluster, pauses: list[float]) -> None:
    told = 'namespaces "toolhive-system" not found'
    cluster.api.refusals = [Refusal("PATCH", 404, told, reason="NotFound")]
    with pytest.raises(NotFoundError, match="refused to apply"):
        cluster.kube.apply(secret())
    assert pauses == []


def test_an_answer_that_is_not_the_apis_is_reported(cluster: FakeCluster) -> None:
    cluster.api.refusals = [Refusal("GET /version", 200, "", body="<html>Log in\n here</html>")]
    with pytest.raises(WorkshopError, match="something other than JSON") as caught:
        cluster.kube.version()
    assert "<html>Log in here</html>" in caught.value.why


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://proxy:port"),
        ("HTTPS_PROXY", "htp://proxy"),
        ("ALL_PROXY", "socks5h://127.0.0.1:9"),
    ],
)
def test_an_unusable_proxy_is_named_unless_the_cluster_is_on_this_machine(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.lower(), raising=False)
    monkeypatch.setenv(name, value)
    far = Connection(write_kubeconfig(tmp_path / "far", "https://cluster.invalid:6443"), "test")
    with pytest.raises(PreflightError) as caught:
        far.request("answer", "GET", "/version")
    assert name in caught.value.what
    near = Connection(write_kubeconfig(tmp_path / "near", f"https://127.0.0.1:{free_port()}"), "test")
    with pytest.raises(UnreachableError):
        near.request("answer", "GET", "/version")
