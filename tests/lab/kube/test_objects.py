"""Objects are read the same whether a field is absent, null or empty, wherever we look into one."""

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workshop
from tests.lab.cluster.workloads import SERVER, condition, controller, pod, put_configs, remote_proxy
from tests.lab.kube.fake_cluster import NAMESPACE, TOOLHIVE, FakeCluster
from workshop.core.console import Step
from workshop.core.errors import DeadlineError
from workshop.lab.cluster.readiness import wait_workload
from workshop.lab.cluster.workload_state import (
    OperatorView,
    blocks,
    is_leaving,
    is_ready,
    is_rolled_out,
    newest,
    replicas,
    troubles,
)
from workshop.lab.kube.objects import (
    annotations_of,
    conditions_of,
    container_statuses_of,
    created_at,
    is_being_deleted,
    items,
    labels_of,
    mapping,
    name_of,
    namespace_of,
    number,
    text,
    without_nulls,
)
from workshop.toolhive.manifests import Resource

PACKAGE = Path(workshop.__file__).parent
# What only the API server or a controller writes: code that reads one of these reads the API's answer.
WRITTEN_BY_THE_API = {
    "conditions",
    "containerStatuses",
    "creationTimestamp",
    "deletionTimestamp",
    "initContainerStatuses",
    "involvedObject",
    "metadata",
    "observedGeneration",
    "ownerReferences",
    "spec",
    "status",
}

Object = dict[str, Any]


def test_null_members_are_absent_at_every_depth() -> None:
    answer = {"status": None, "spec": {"a": None, "b": [None, {"c": None, "d": 0}]}, "e": "", "f": False}
    assert without_nulls(answer) == {"spec": {"b": [{"d": 0}]}, "e": "", "f": False}


@pytest.mark.parametrize(
    "found", [None, {}, {"metadata": None, "status": None}, {"metadata": {}, "status": {"conditions": None}}]
)
def test_whatever_is_missing_reads_as_empty(found: Object | None) -> None:
    for read in (name_of, namespace_of, created_at):
        assert read(found) == ""
    for look in (labels_of, annotations_of, conditions_of, container_statuses_of):
        assert not look(found)
    assert not is_being_deleted(found)
    assert (text(found, "status", "phase"), number(found, "status", "replicas")) == ("", 0)
    assert not mapping(found, "spec", "selector")
    assert not items(found, "spec", "containers")


def test_conditions_are_found_by_their_type() -> None:
    told = [condition("Ready", holds=False, reason="Why", message="two\n lines"), {"type": "Bare"}, {}]
    found = conditions_of({"status": {"conditions": told}})
    assert list(found) == ["Ready", "Bare"]
    ready, bare = found["Ready"], found["Bare"]
    assert (ready.holds, ready.fails, ready.reason, ready.message) == (False, True, "Why", "two lines")
    assert (bare.holds, bare.fails, bare.reason, bare.generation) == (False, False, "", None)


def half_made(whole: Object) -> Iterator[tuple[str, Object]]:
    """The object with each of its fields absent, and each null; the name of what is missing."""
    for path in list(_paths(whole)):
        for gone in (True, False):
            made = copy.deepcopy(whole)
            parent: Any = made
            for key in path[:-1]:
                parent = parent[key]
            if gone and isinstance(parent, dict):
                del parent[path[-1]]
            else:
                parent[path[-1]] = None
            yield ".".join(map(str, path)), made


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield (*path, key)
        yield from _paths(member, (*path, key))


def whole_pods() -> Iterator[Object]:
    yield pod()
    yield pod(waiting=("CrashLoopBackOff", "back-off"), ready=False, restarts=2)
    unscheduled = {**condition("PodScheduled", holds=False, reason="Unschedulable", message="no room")}
    yield pod(waiting=("ImagePullBackOff", "back-off"), ready=False, conditions=[unscheduled])


def whole_controllers() -> Iterator[Object]:
    failing = condition("ReplicaFailure", holds=True, reason="FailedCreate", message="no room")
    for kind in ("Deployment", "StatefulSet"):
        yield controller(kind=kind)
        yield controller(kind=kind, status={"conditions": [failing]})


def test_no_pod_that_is_half_made_stops_a_look_at_it() -> None:
    for whole in whole_pods():
        for _, made in half_made(whole):
            found = without_nulls(made)
            assert is_ready(found) in (True, False)
            assert is_leaving(found) in (True, False)
            assert len(newest([found])) == 1
            assert all(trouble.summary for trouble in troubles(found))


def test_no_controller_that_is_half_made_stops_a_look_at_it() -> None:
    for whole in whole_controllers():
        for missing, made in half_made(whole):
            found = {"kind": whole["kind"], **without_nulls(made)}  # a list's items are given their kind
            assert replicas(found) == 1
            assert is_rolled_out(found) in (True, False)
            assert all(reason for reason, _, _ in blocks(found)), missing


def test_no_resource_that_is_half_made_stops_a_look_at_what_the_operator_says() -> None:
    failing = condition("ConfigurationValid", holds=False, reason="Bad", message="no")
    for whole in (remote_proxy(), remote_proxy("Failed", [failing])):
        for missing, made in half_made(whole):
            seen = OperatorView(without_nulls(made), {"oidcConfigRef": None}, "sum-1")
            assert not seen.is_current([controller()])
            assert all(reason for reason, _, _ in seen.refusals()), missing


@pytest.mark.parametrize(
    "status", [None, {}, {"conditions": None, "phase": None, "observedGeneration": None}]
)
@pytest.mark.usefixtures("quick_looks")
def test_a_workload_whose_status_is_null_is_waited_for(cluster: FakeCluster, status: Object | None) -> None:
    put_configs(cluster)
    cluster.put({**remote_proxy(), "status": status})
    cluster.put({**controller(), "status": status})
    cluster.put({**pod(), "status": status})
    resource = Resource(
        "MCPRemoteProxy",
        "github-remote",
        {"metadata": {"name": "github-remote", "namespace": NAMESPACE}},
        "a",
    )
    with pytest.raises(DeadlineError, match="was not ready within"):
        wait_workload(cluster.kube, resource, 0.05, Step("wait"))


@pytest.mark.usefixtures("quick_looks")
def test_a_server_whose_objects_have_no_status_at_all_is_waited_for(cluster: FakeCluster) -> None:
    metadata = {"name": SERVER, "namespace": NAMESPACE}
    cluster.put({"apiVersion": TOOLHIVE, "kind": "MCPServer", "metadata": metadata})
    for kind in ("Deployment", "StatefulSet"):
        bare = controller(SERVER, kind)
        del bare["status"]
        cluster.put(bare)
    with pytest.raises(DeadlineError):
        wait_workload(
            cluster.kube, Resource("MCPServer", SERVER, {"metadata": metadata}, "a"), 0.05, Step("wait")
        )


@pytest.fixture
def quick_looks(cluster: FakeCluster) -> None:
    cluster.look_seconds = 0.001


def readers_of_the_api() -> list[Path]:
    """Every module that asks the API for objects or is given some, but the one that reads them for all."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"workshop\.lab\.kube|\bkube\.(get|list|apply|patch|create)\(", path.read_text("utf-8"))
        and path != PACKAGE / "lab" / "kube" / "objects.py"
    ]


@pytest.mark.parametrize("path", readers_of_the_api(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_objects_are_read_through_the_readers_alone(path: Path) -> None:
    """`found["status"]` raises and `found.get("status", {})` gives None for a field that is null."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        key: ast.AST | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key = node.args[0] if node.args else None
        if isinstance(key, ast.Constant):
            assert key.value not in WRITTEN_BY_THE_API, f"{path}:{key.lineno} reads {key.value!r} by itself"
