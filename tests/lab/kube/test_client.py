"""Objects are applied, read and deleted; what the API refuses becomes an error that says what to do."""

from pathlib import Path
from typing import Any

import pytest

from tests.lab.kube.fake_cluster import NAMESPACE, TOOLHIVE, FakeCluster, write_kubeconfig
from tests.lab.kube.refused import Refusal
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.ports import free_port
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)


@pytest.fixture(autouse=True)
def no_pause(cluster: FakeCluster) -> None:
    cluster.retry_seconds = 0


def secret(name: str = "github-oauth-client", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": "dmFsdWU="}}


def test_what_is_applied_can_be_read_changed_listed_and_deleted(cluster: FakeCluster) -> None:
    kube = cluster.kube
    made = kube.apply(secret(app="workshop"))
    assert made["metadata"]["generation"] == 1
    assert kube.get("v1", "Secret", "github-oauth-client", NAMESPACE) == made
    kube.apply(secret("other", app="else"))
    found = kube.list("v1", "Secret", NAMESPACE, {"app": "workshop"})
    assert [item["metadata"]["name"] for item in found] == ["github-oauth-client"]
    changed = kube.patch("v1", "Secret", "other", NAMESPACE, {"metadata": {"annotations": {"a": "b"}}})
    assert changed is not None
    assert changed["metadata"]["annotations"] == {"a": "b"}
    assert kube.delete("v1", "Secret", "other", NAMESPACE)
    assert not kube.delete("v1", "Secret", "other", NAMESPACE)
    assert kube.get("v1", "Secret", "other", NAMESPACE) is None
    assert kube.patch("v1", "Secret", "other", NAMESPACE, {}) is None


def test_apply_is_server_side_with_our_field_manager_and_by_force(cluster: FakeCluster) -> None:
    cluster.kube.apply(secret())
    query = cluster.api.seen[-1].partition("?")[2]
    assert set(query.split("&")) == {"fieldManager=workshop", "force=true"}


def test_a_dry_run_changes_nothing(cluster: FakeCluster) -> None:
    assert cluster.kube.apply(secret(), dry_run=True)["kind"] == "Secret"
    assert cluster.get("Secret", "github-oauth-client") is None


def test_an_applied_change_of_the_spec_has_a_new_generation_and_none_has_not(cluster: FakeCluster) -> None:
    tools = {
        "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "kind": "MCPToolConfig",
        "metadata": {"name": "tools", "namespace": NAMESPACE},
        "spec": {"toolsFilter": ["one"]},
    }
    kube = cluster.kube
    first, second = kube.apply(tools), kube.apply(tools)
    third = kube.apply({**tools, "spec": {"toolsFilter": ["two"]}})
    assert [item["metadata"]["generation"] for item in (first, second, third)] == [1, 1, 2]


def test_kinds_are_asked_for_once_and_nothing_is_left_in_the_temporary_directory(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    kube = cluster.kube
    for _ in range(3):
        kube.list("v1", "Pod", NAMESPACE)
    assert [line for line in cluster.api.seen if not line.endswith("/pods")] == ["GET /api/v1"]
    assert set(tmp_path.iterdir()) == before


def test_a_kind_whose_definition_is_absent_reads_as_absent_and_cannot_be_applied(
    cluster: FakeCluster,
) -> None:
    kube = cluster.kube
    api = "toolhive.stacklok.dev/v1beta1"
    cluster.api.refusals = [Refusal(f"GET /apis/{api}", 404, "not found")]
    assert kube.get(api, "MCPServer", "workshop", NAMESPACE) is None
    assert kube.list(api, "MCPServer", NAMESPACE) == ()
    assert not kube.delete(api, "MCPServer", "workshop", NAMESPACE)
    body = {"apiVersion": api, "kind": "MCPServer", "metadata": {"name": "workshop", "namespace": NAMESPACE}}
    with pytest.raises(WorkshopError, match="does not know MCPServer"):
        kube.apply(body)
    cluster.api.refusals.clear()
    assert kube.apply(body)["kind"] == "MCPServer", "once its definition is there it is found"


def test_a_missing_right_names_verb_resource_and_namespace(cluster: FakeCluster) -> None:
    told = (
        'secrets is forbidden: User "ann" cannot create resource "secrets" in API group "" '
        'in the namespace "toolhive-system"'
    )
    cluster.api.refusals = [Refusal("POST", 403, told, reason="Forbidden")]
    with pytest.raises(ForbiddenError) as caught:
        cluster.kube.create(secret())
    assert caught.value.what == "Your account may not create secrets in namespace `toolhive-system`"
    assert "kubectl auth can-i create secrets -n toolhive-system" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "message", "family", "hint"),
    [
        (422, 'spec.issuer: Invalid value: "x": should match', InvalidError, "names the field"),
        (400, "strict decoding error: unknown field spec.isuer", InvalidError, "names the field"),
        (
            500,  # so a real API server answers to a server-side apply, v1.35
            "failed to create typed patch object (x; v1): .spec.isuer: field not declared in schema",
            InvalidError,
            "names the field",
        ),
        (401, "Unauthorized", UnauthorizedError, "Log in"),
        (403, "admission webhook denied the request: no", WorkshopError, ""),
        (403, "pods is forbidden: exceeded quota: small", WorkshopError, "quota"),
        (404, 'namespaces "toolhive-system" not found', NotFoundError, "namespace is missing"),
        (409, "object is being deleted: being terminated", ConflictError, "wait a moment"),
        (500, "etcdserver: leader changed", WorkshopError, ""),
    ],
)
def test_a_refusal_is_reported_in_the_apis_own_words(
    cluster: FakeCluster, status: int, message: str, family: type[WorkshopError], hint: str
) -> None:
    cluster.api.refusals = [Refusal("PATCH", status, message)]
    with pytest.raises(family) as caught:
        cluster.kube.apply(secret())
    assert message in caught.value.why
    assert hint in caught.value.hint
    assert type(caught.value) is family


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_cluster_on_this_machine_is_never_asked_through_a_proxy(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    Kube(cluster.kubeconfig, "test").apply(secret())
    assert cluster.get("Secret", "github-oauth-client")


def test_a_server_that_is_not_there_is_reported_with_its_address(tmp_path: Path) -> None:
    port = free_port()
    kube = Kube(write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{port}"), "test")
    with pytest.raises(UnreachableError) as caught:
        kube.version()
    assert f"http://127.0.0.1:{port}" in caught.value.what
    assert "refused" in caught.value.why
    assert "object at" not in caught.value.why


@pytest.mark.parametrize("text", ["", "a: [", "{}", '{"kind": "Config", "contexts": []}'])
def test_a_kubeconfig_that_cannot_be_used_is_reported_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(UsageError, match=str(path)):
        Kube(path, "test").version()


def test_an_absent_kubeconfig_and_an_unknown_context_are_reported(
    tmp_path: Path, cluster: FakeCluster
) -> None:
    with pytest.raises(UsageError, match="absent"):
        Kube(tmp_path / "absent", "test").version()
    with pytest.raises(UsageError) as caught:
        Kube(cluster.kubeconfig, "other").version()
    assert "other" in caught.value.why


def test_the_kubeconfig_stays_as_it_was(cluster: FakeCluster) -> None:
    before = cluster.kubeconfig.read_bytes()
    assert cluster.kube.version().startswith("v1.")
    assert cluster.kubeconfig.read_bytes() == before


def test_logs_are_the_last_lines_of_this_run_or_of_the_one_before(cluster: FakeCluster) -> None:
    cluster.api.logs = {("proxy", False): "one\ntwo\nthree", ("proxy", True): "crashed"}
    kube = cluster.kube
    assert kube.logs("proxy", NAMESPACE, "toolhive", 2) == ["two", "three"]
    assert kube.logs("proxy", NAMESPACE, "toolhive", previous=True) == ["crashed"]
    assert kube.logs("waiting", NAMESPACE) == ()


def test_events_are_those_of_the_named_objects_oldest_first(cluster: FakeCluster) -> None:
    for number, (about, at, kind) in enumerate(
        [
            ("pod-a", "09:02", "lastTimestamp"),
            ("pod-a", "09:01", "eventTime"),
            ("pod-b", "09:00", "lastTimestamp"),
        ]
    ):
        cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"event-{number}", "namespace": NAMESPACE},
                "involvedObject": {"name": about},
                "type": "Warning",
                "reason": f"Reason{number}",
                "message": "one\n two",
                kind: f"2026-11-21T{at}:00Z",
            }
        )
    found = cluster.kube.events(NAMESPACE, ["pod-a", "pod-a"])
    assert [event.reason for event in found] == ["Reason1", "Reason0"]
    assert found[0].message == "one two"


def test_a_kind_counts_once_the_api_serves_it_and_no_definition_is_read(cluster: FakeCluster) -> None:
    kinds = ["MCPServer", "MCPToolConfig"]
    cluster.api.undefined.add(TOOLHIVE)
    assert not cluster.kube.serves(TOOLHIVE, kinds)
    cluster.api.undefined.clear()
    cluster.api.refusals = [
        Refusal("GET /apis/apiextensions.k8s.io", 403, "an account may not look at definitions"),
        Refusal("GET /apis/toolhive", 404, "not yet", times=1),
    ]
    kube = cluster.kube
    assert not kube.serves(TOOLHIVE, kinds)
    assert kube.serves(TOOLHIVE, kinds)
    assert not kube.serves(TOOLHIVE, [*kinds, "MCPColour"])
