"""A workload counts as ready when it serves what its manifests say now; what cannot heal ends the wait."""

from typing import Any

import pytest

from tests.lab.cluster.workloads import (
    PROXY,
    SERVER,
    Script,
    condition,
    config,
    controller,
    event,
    late,
    pod,
    put_configs,
    put_proxy,
    refused,
    remote_proxy,
    resource,
    run_config,
    wait_proxy,
)
from tests.lab.kube.fake_cluster import NAMESPACE, FakeCluster
from tests.lab.kube.refused import Refusal
from workshop.core.console import Step
from workshop.core.errors import WorkshopError
from workshop.lab.cluster.readiness import (
    diagnose,
    version_note,
    wait_deployment,
    wait_operator,
    wait_workload,
)
from workshop.lab.kube.connection import UnreachableError

pytestmark = pytest.mark.usefixtures("quick")


def test_a_proxy_that_serves_what_its_manifests_say_is_ready(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    assert wait_proxy(cluster).notes[-1] == "1 of 1 pods ready"


def test_everything_from_nothing_to_ready_is_waited_for(cluster: FakeCluster) -> None:
    script = wait_proxy(
        cluster,
        lambda: put_configs(cluster),
        lambda: cluster.put(remote_proxy("Pending", [])),
        lambda: cluster.put(controller(status={"updatedReplicas": 0, "availableReplicas": 0})),
        lambda: cluster.put(pod(ready=False, waiting=("ContainerCreating", ""))),
        lambda: cluster.put(pod(ready=False)),
        lambda: cluster.put(remote_proxy()),
        lambda: cluster.put(controller()),
        lambda: cluster.put(pod()),
    )
    assert script.notes[0] == "no pod yet, at most 30 s"
    assert "0 of 1 pods ready, at most 30 s" in script.notes


@pytest.mark.parametrize(
    "unready",
    [
        remote_proxy(generation=2, observed=1),
        remote_proxy("Pending"),
        remote_proxy(conditions=[]),
        remote_proxy(conditions=[condition("OIDCConfigRefValidated", holds=True)]),
        config("MCPExternalAuthConfig", "auth", "auth-2"),
        config("MCPOIDCConfig", "oidc", "oidc-1", generation=2),
        run_config(checksum="sum-2"),
        controller(status={"observedGeneration": 0}),
        controller(status={"updatedReplicas": 0}),
        controller(status={"replicas": 2}),
        controller(status={"availableReplicas": 0}),
        pod(ready=False),
        pod("github-remote-0", metadata={"deletionTimestamp": "2026-11-21T08:00:00Z"}),
    ],
    ids=[
        "changed since the operator looked",
        "no phase Ready",
        "nothing validated",
        "auth server not validated",
        "its auth config changed",
        "its OIDC config not looked at",
        "its pods run with an older configuration",
        "Deployment changed",
        "pods of an older revision",
        "an old pod is still there",
        "not available",
        "Ready by phase alone",
        "a pod is leaving",
    ],
)
def test_ready_is_more_than_the_ready_condition(cluster: FakeCluster, unready: dict[str, Any]) -> None:
    put_proxy(cluster)
    cluster.put(unready)
    assert "was not ready within" in late(cluster).what


def test_what_looks_ready_for_one_look_only_is_not(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    changed, seen = remote_proxy(generation=2, observed=1), remote_proxy(generation=2, observed=2)
    wait_proxy(cluster, lambda: cluster.put(changed), lambda: cluster.put(seen))


def test_an_mcp_server_needs_its_stateful_set_too(cluster: FakeCluster) -> None:
    server = remote_proxy()
    server |= {"kind": "MCPServer", "spec": {"toolConfigRef": {"name": "tools"}}}
    server["metadata"]["name"] = SERVER
    server["status"]["toolConfigHash"] = "tools-1"
    for made in (
        server,
        config("MCPToolConfig", "tools", "tools-1"),
        run_config(SERVER),
        controller(SERVER),
        pod("workshop-1", of=SERVER),
    ):
        cluster.put(made)
    assert "1 of 1 pods ready" in late(cluster, "MCPServer", SERVER).what
    cluster.put(controller(SERVER, "StatefulSet"))
    cluster.put(pod("workshop-0", of=SERVER, kind="StatefulSet", ready=False))
    assert "1 of 2 pods ready" in late(cluster, "MCPServer", SERVER).what
    cluster.put(pod("workshop-0", of=SERVER, kind="StatefulSet"))
    cluster.put(controller(SERVER, "StatefulSet", status={"updateRevision": "b", "currentRevision": "a"}))
    late(cluster, "MCPServer", SERVER)
    cluster.put(controller(SERVER, "StatefulSet"))
    wait_workload(cluster.kube, resource("MCPServer", SERVER), 30, Step("wait"), graces=cluster.graces)


def test_the_pod_to_look_at_is_the_one_in_trouble(cluster: FakeCluster) -> None:
    looping = ("CrashLoopBackOff", "back-off")
    cluster.put(controller(SERVER))
    cluster.put(controller(SERVER, "StatefulSet"))
    cluster.put(pod("workshop-1", of=SERVER))
    cluster.put(pod("workshop-0", of=SERVER, kind="StatefulSet", ready=False, waiting=looping, restarts=1))
    assert "`kubectl describe pod workshop-0 " in diagnose(cluster.kube, NAMESPACE, [SERVER]).hint


@pytest.mark.usefixtures("patient")
def test_a_passing_failed_is_sat_out(cluster: FakeCluster) -> None:
    put_configs(cluster)
    invalid = condition("OIDCConfigRefValidated", holds=False, reason="OIDCConfigRefNotValid")
    missing = condition("AuthServerRefValidated", holds=False, reason="AuthServerRefNotFound")
    wait_proxy(
        cluster,
        lambda: cluster.put(remote_proxy("Failed", [invalid])),
        lambda: cluster.put(remote_proxy("Failed", [missing])),
        lambda: cluster.put(remote_proxy("Failed", message="a moment")),
        lambda: put_proxy(cluster),
    )


def test_a_failed_that_lasts_ends_the_wait_with_the_operators_words(cluster: FakeCluster) -> None:
    put_configs(cluster)
    cluster.put(remote_proxy("Failed", [], message="Remote proxy failed to start"))
    error = refused(cluster)
    assert error.what == "`github-remote` cannot become ready: Failed"
    assert "Failed: Remote proxy failed to start" in error.why


@pytest.mark.usefixtures("patient")
def test_a_configuration_the_operator_refuses_for_good_ends_the_wait_at_once(cluster: FakeCluster) -> None:
    put_configs(cluster)
    told = 'oidcConfigRef.audience "http://localhost:8080" must match resourceUrl "http://localhost:8080/"'
    wrong = condition(
        "AuthServerRefValidated", holds=False, reason="AuthServerRefInvalidConfig", message=told
    )
    cluster.put(remote_proxy("Failed", [wrong]))
    error = refused(cluster)
    assert error.what == "`github-remote` cannot become ready: AuthServerRefInvalidConfig"
    assert told in error.why
    assert "the same text in both" in error.hint


@pytest.mark.usefixtures("patient")
def test_what_was_said_of_an_older_manifest_counts_no_longer(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    wrong = condition("ConfigurationValid", holds=False, reason="RemoteURLInvalid", generation=1)
    cluster.put(remote_proxy("Failed", [wrong], generation=2, observed=1))
    fixed = remote_proxy(generation=2, observed=2)
    wait_proxy(cluster, lambda: None, lambda: cluster.put(fixed))


def test_the_end_of_the_time_is_reported_with_what_was_found(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    cluster.put(pod(ready=False))
    cluster.put(event("github-remote-1", "Unhealthy", "Startup probe failed: connection refused"))
    cluster.api.logs = {("github-remote-1", False): "one\ntwo\nthree"}
    error = late(cluster)
    assert error.exit_code == 5
    assert error.what == "`github-remote` was not ready within 0 s (0 of 1 pods ready)"
    assert error.why.splitlines() == [
        "Event: Unhealthy: Startup probe failed: connection refused",
        "Log: two",
        "Log: three",
    ]


def test_a_workload_that_has_no_pod_at_all_is_reported(cluster: FakeCluster) -> None:
    cluster.put(event(PROXY, "RemoteURLInvalid", "remote URL must not be private"))
    error = late(cluster)
    assert error.why.splitlines() == [
        "There is no pod of `github-remote` yet",
        "Event: RemoteURLInvalid: remote URL must not be private",
    ]


def test_the_operator_and_a_plain_deployment_are_waited_for_by_their_rollout(cluster: FakeCluster) -> None:
    cluster.put(controller("toolhive-operator", status={"availableReplicas": 0}))
    cluster.put(pod("operator-1", of="toolhive-operator", ready=False))

    def started() -> None:
        cluster.put(controller("toolhive-operator"))
        cluster.put(pod("operator-1", of="toolhive-operator"))

    script = Script(started)
    wait_operator(cluster.kube, NAMESPACE, 30, script, graces=cluster.graces)
    assert script.notes == [
        "0 of 1 pods ready, at most 30 s",
        "1 of 1 pods ready, at most 30 s",
        "1 of 1 pods ready",
    ]
    cluster.put(controller("practice-github"))
    unnamed = pod("practice-1", of="practice-github", ready=False, waiting=("InvalidImageName", ""))
    with pytest.raises(WorkshopError, match="InvalidImageName"):
        wait_deployment(
            cluster.kube,
            NAMESPACE,
            "practice-github",
            30,
            Script(lambda: cluster.put(unnamed)),
            graces=cluster.graces,
        )


def test_an_api_server_that_is_gone_for_a_moment_is_waited_for(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_proxy(cluster)
    kube = cluster.kube
    real, gone = kube.get, iter([True] * 3)

    def get(*asked: Any) -> Any:
        if next(gone, False):
            raise UnreachableError("no answer")
        return real(*asked)

    monkeypatch.setattr(kube, "get", get)
    script = Script()
    wait_deployment(kube, NAMESPACE, PROXY, 30, script, graces=cluster.graces)
    assert script.notes[0] == "the cluster does not answer, at most 30 s"


def test_a_right_that_is_missing_ends_the_wait(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    told = 'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "x"'
    cluster.api.refusals = [Refusal(f"GET /api/v1/namespaces/{NAMESPACE}/pods", 403, told)]
    with pytest.raises(WorkshopError, match="may not list pods"):
        wait_workload(cluster.kube, resource(), 30, Step("wait"), graces=cluster.graces)


def test_a_stopped_step_ends_the_wait(cluster: FakeCluster) -> None:
    def stop() -> None:
        raise WorkshopError("Stopped")

    with pytest.raises(WorkshopError, match="Stopped"):
        wait_workload(cluster.kube, resource(), 30, Script(stop), graces=cluster.graces)


@pytest.mark.parametrize(
    ("image", "label", "version"),
    [
        ("ghcr.io/stacklok/toolhive/operator:v0.44.0", "v0.63.0", "0.44.0"),
        ("registry.example:5000/toolhive/operator:0.44.0@sha256:08497ee1", None, "0.44.0"),
        ("registry.example:5000/toolhive/operator", "v0.44.0", "0.44.0"),
        ("registry.example:5000/operator:of-our-own", "v0.44.0", "0.44.0"),
        ("registry.example:5000/operator@sha256:08497ee1", None, ""),
        ("ghcr.io/stacklok/toolhive/operator:v0.63.0", None, ""),
        ("", None, ""),
    ],
)
def test_an_operator_of_another_version_is_reported_with_what_to_do(
    image: str, label: str | None, version: str
) -> None:
    operator = controller("toolhive-operator")
    operator["metadata"]["labels"] = {"app.kubernetes.io/version": label}
    operator["spec"]["template"]["spec"] = {"containers": [{"image": image}]} if image else None
    told = version_note(operator, "0.63.0", own=False)
    if version:
        assert told.startswith(f"ToolHive {version} runs, but this workshop is made for 0.63.0")
        assert "`workshop up --install-operator`" in told
        assert "`workshop up` replaces" in version_note(operator, "0.63.0", own=True)
    else:
        assert told == ""
