"""The objects of part 3's and part 4's workloads as ToolHive's operator and a kubelet would leave them.

And waits for the proxy of part 4, with the two ways in which they end badly.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.lab.kube.fake_cluster import NAMESPACE, TOOLHIVE, FakeCluster
from workshop.core.console import Step
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.cluster.readiness import wait_workload
from workshop.toolhive.manifests import Resource

Object = dict[str, Any]
PROXY = "github-remote"
SERVER = "workshop"
STARTED = "2026-11-21T08:00:05Z"
CHECKSUM = "toolhive.stacklok.dev/content-checksum"
RUNS_WITH = "toolhive.stacklok.dev/runconfig-checksum"


class Script(Step):
    """A progress step that plays the cluster's part: each look at it is followed by the next change."""

    def __init__(self, *changes: Callable[[], object]) -> None:
        super().__init__("wait")
        self.changes = list(changes)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.changes:
            self.changes.pop(0)()


def condition(name: str, *, holds: bool, reason: str = "", message: str = "", generation: int = 1) -> Object:
    status = "True" if holds else "False"
    base = {"type": name, "status": status, "reason": reason or name, "message": message}
    return {**base, "observedGeneration": generation}


def remote_proxy(
    phase: str = "Ready",
    conditions: Sequence[Object] | None = None,
    *,
    generation: int = 1,
    observed: int = 1,
    message: str = "",
) -> Object:
    held = [condition("OIDCConfigRefValidated", holds=True), condition("AuthServerRefValidated", holds=True)]
    return {
        "apiVersion": TOOLHIVE,
        "kind": "MCPRemoteProxy",
        "metadata": {"name": PROXY, "namespace": NAMESPACE, "generation": generation},
        "spec": {"authServerRef": {"name": "auth"}, "oidcConfigRef": {"name": "oidc"}},
        "status": {
            "phase": phase,
            "message": message,
            "observedGeneration": observed,
            "authServerConfigHash": "auth-1",
            "oidcConfigHash": "oidc-1",
            "conditions": [condition("Ready", holds=True), *(held if conditions is None else conditions)],
        },
    }


def config(kind: str, name: str, found: str, *, generation: int = 1, observed: int = 1) -> Object:
    return {
        "apiVersion": TOOLHIVE,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "generation": generation},
        "status": {"configHash": found, "observedGeneration": observed},
    }


def run_config(name: str = PROXY, checksum: str = "sum-1", *, of: str = "MCPRemoteProxy") -> Object:
    file = "vmcp-config" if of == "VirtualMCPServer" else "runconfig"
    metadata = {"name": f"{name}-{file}", "namespace": NAMESPACE, "annotations": {CHECKSUM: checksum}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def controller(
    name: str = PROXY,
    kind: str = "Deployment",
    *,
    checksum: str = "sum-1",
    status: Mapping[str, Any] | None = None,
) -> Object:
    labels = {"app": name, "made-by": kind}
    done = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    if kind == "StatefulSet":
        done |= {"readyReplicas": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": {RUNS_WITH: checksum}}},
        },
        "status": {**done, **(status or {})},
    }


def pod(
    name: str = "github-remote-1",
    *,
    of: str = PROXY,
    kind: str = "Deployment",
    ready: bool = True,
    waiting: tuple[str, str] | None = None,
    restarts: int = 0,
    revision: str = "one",
    **changes: Any,
) -> Object:
    state: Object = {"running": {"startedAt": STARTED}}
    if waiting:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    container = {"name": "toolhive", "ready": ready, "restartCount": restarts, "state": state}
    if restarts:
        container["lastState"] = {"terminated": {"reason": "Error", "exitCode": 1}}
    owner = {"kind": "ReplicaSet" if kind == "Deployment" else kind, "name": f"{of}-{revision}"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": of, "made-by": kind}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "ownerReferences": [owner], **changes.get("metadata", {})},
        "status": {
            "phase": "Running" if ready else "Pending",
            "conditions": [{"type": "Ready", "status": str(ready)}, *changes.get("conditions", ())],
            "containerStatuses": [container],
        },
    }


def event(about: str, reason: str, message: str, at: str = "2026-11-21T08:00:00Z") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about}.{reason}", "namespace": NAMESPACE},
        "involvedObject": {"name": about},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def put_configs(cluster: FakeCluster) -> None:
    cluster.put(config("MCPExternalAuthConfig", "auth", "auth-1"))
    cluster.put(config("MCPOIDCConfig", "oidc", "oidc-1"))
    cluster.put(run_config())


def put_proxy(cluster: FakeCluster) -> None:
    """Part 4's proxy, all ready."""
    put_configs(cluster)
    for made in (remote_proxy(), controller(), pod()):
        cluster.put(made)


def resource(kind: str = "MCPRemoteProxy", name: str = PROXY) -> Resource:
    return Resource(kind, name, {"metadata": {"name": name, "namespace": NAMESPACE}}, "test")


def wait_proxy(cluster: FakeCluster, *changes: Callable[[], object], seconds: float = 30) -> Script:
    script = Script(*changes)
    wait_workload(cluster.kube, resource(), seconds, script, graces=cluster.graces)
    assert script.changes == [], "it was ready before all of these changes"
    return script


def put_starting(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    cluster.put(pod(ready=False))


def refused(cluster: FakeCluster, *changes: dict[str, Any]) -> WorkshopError:
    """The error that ends a wait of a starting proxy, after these objects came one by one."""
    script = Script(*(lambda made=made: cluster.put(made) for made in changes))
    with pytest.raises(WorkshopError) as caught:
        wait_workload(cluster.kube, resource(), 10, script, graces=cluster.graces)
    assert script.changes == []
    assert not isinstance(caught.value, DeadlineError)
    told = [caught.value.what, *caught.value.why.splitlines(), caught.value.hint]
    assert len(told) <= 6, told
    return caught.value


def late(cluster: FakeCluster, kind: str = "MCPRemoteProxy", name: str = PROXY) -> DeadlineError:
    with pytest.raises(DeadlineError) as caught:
        wait_workload(cluster.kube, resource(kind, name), 0.05, Step("wait"), graces=cluster.graces)
    return caught.value
