"""A workload counts as ready when it serves what its manifests say now; what cannot heal ends the wait."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kube.cluster import NAMESPACE, Cluster, Refusal
from tests.toolhive.workloads import (
    PROXY,
    SERVER,
    Script,
    condition,
    config,
    controller,
    event,
    pod,
    put_configs,
    put_proxy,
    remote_proxy,
    resource,
    run_config,
)
from workshop.console import Step
from workshop.errors import DeadlineError, WorkshopError
from workshop.kube import connection, wait
from workshop.kube.refusals import UnreachableError
from workshop.toolhive import operator_view, pods, rollout
from workshop.toolhive.diagnosis import diagnose
from workshop.toolhive.readiness import wait_deployment, wait_operator, wait_workload

PULL = 'failed to pull and unpack image "ghcr.io/stacklok/toolhive/proxyrunner:v0.44.0": '


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once, and what may heal is given no time."""
    monkeypatch.setattr(wait, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(connection, "_PAUSE_SECONDS", 0)
    for module, names in (
        (operator_view, ("_FAILED_GRACE_SECONDS", "_AT_ONCE_SECONDS")),
        (pods, ("_NEVER", "_SOON", "_REGISTRY", "_ROOM")),
        (rollout, ("_BLOCKED_SECONDS",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may heal is given all the time there is."""
    monkeypatch.setattr(operator_view, "_FAILED_GRACE_SECONDS", 3600)
    for name in ("_SOON", "_REGISTRY", "_ROOM"):
        monkeypatch.setattr(pods, name, 3600)


def wait_proxy(cluster: Cluster, *changes: Callable[[], object], seconds: float = 30) -> Script:
    script = Script(*changes)
    wait_workload(cluster.kube, resource(), seconds, script)
    assert script.changes == [], "it was ready before all of these changes"
    return script


def put_starting(cluster: Cluster) -> None:
    put_proxy(cluster)
    cluster.put(pod(ready=False))


def refused(cluster: Cluster, *changes: dict[str, Any]) -> WorkshopError:
    """The error that ends a wait of a starting proxy, after these objects came one by one."""
    script = Script(*(lambda made=made: cluster.put(made) for made in changes))
    with pytest.raises(WorkshopError) as caught:
        wait_workload(cluster.kube, resource(), 10, script)
    assert script.changes == []
    assert not isinstance(caught.value, DeadlineError)
    told = [caught.value.what, *caught.value.why.splitlines(), caught.value.hint]
    assert len(told) <= 6, told
    return caught.value


def late(cluster: Cluster, kind: str = "MCPRemoteProxy", name: str = PROXY) -> DeadlineError:
    with pytest.raises(DeadlineError) as caught:
        wait_workload(cluster.kube, resource(kind, name), 0.05, Step("wait"))
    return caught.value


def test_a_proxy_that_serves_what_its_manifests_say_is_ready(cluster: Cluster) -> None:
    put_proxy(cluster)
    assert wait_proxy(cluster).notes[-1] == "1 of 1 pods ready"


def test_everything_from_nothing_to_ready_is_waited_for(cluster: Cluster) -> None:
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
def test_ready_is_more_than_the_ready_condition(cluster: Cluster, unready: dict[str, Any]) -> None:
    put_proxy(cluster)
    cluster.put(unready)
    assert "was not ready within" in late(cluster).what


def test_what_looks_ready_for_one_look_only_is_not(cluster: Cluster) -> None:
    put_proxy(cluster)
    changed, seen = remote_proxy(generation=2, observed=1), remote_proxy(generation=2, observed=2)
    wait_proxy(cluster, lambda: cluster.put(changed), lambda: cluster.put(seen))


def test_an_mcp_server_needs_its_stateful_set_too(cluster: Cluster) -> None:
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
    wait_workload(cluster.kube, resource("MCPServer", SERVER), 30, Step("wait"))


def test_the_pod_to_look_at_is_the_one_in_trouble(cluster: Cluster) -> None:
    looping = ("CrashLoopBackOff", "back-off")
    cluster.put(controller(SERVER))
    cluster.put(controller(SERVER, "StatefulSet"))
    cluster.put(pod("workshop-1", of=SERVER))
    cluster.put(pod("workshop-0", of=SERVER, kind="StatefulSet", ready=False, waiting=looping, restarts=1))
    assert "`kubectl describe pod workshop-0 " in diagnose(cluster.kube, NAMESPACE, [SERVER]).hint


@pytest.mark.usefixtures("patient")
def test_a_passing_failed_is_sat_out(cluster: Cluster) -> None:
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


def test_a_failed_that_lasts_ends_the_wait_with_the_operators_words(cluster: Cluster) -> None:
    put_configs(cluster)
    cluster.put(remote_proxy("Failed", [], message="Remote proxy failed to start"))
    error = refused(cluster)
    assert error.what == "`github-remote` cannot become ready: Failed"
    assert "Failed: Remote proxy failed to start" in error.why


@pytest.mark.usefixtures("patient")
def test_a_configuration_the_operator_refuses_for_good_ends_the_wait_at_once(cluster: Cluster) -> None:
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
def test_what_was_said_of_an_older_manifest_counts_no_longer(cluster: Cluster) -> None:
    put_proxy(cluster)
    wrong = condition("ConfigurationValid", holds=False, reason="RemoteURLInvalid", generation=1)
    cluster.put(remote_proxy("Failed", [wrong], generation=2, observed=1))
    fixed = remote_proxy(generation=2, observed=2)
    wait_proxy(cluster, lambda: None, lambda: cluster.put(fixed))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("waiting", "hint"),
    [
        (("ErrImagePull", PULL + "403 Forbidden"), "docker logout ghcr.io"),
        (("ImagePullBackOff", PULL + "write /x: no space left on device"), "disk"),
        (("ErrImagePull", PULL + "tls: failed to verify certificate: x509: unknown"), "ca-file"),
        (("ErrImagePull", PULL + "no match for platform in manifest"), "another processor"),
        (
            ("ErrImagePull", 'failed to pull image "docker.io/workshop/mcp-server:0.1.0": not found'),
            "built here",
        ),
        (("InvalidImageName", "couldn't parse image name"), "no such image"),
        (("ErrImageNeverPull", "Container image is not present with pull policy of Never"), "no such image"),
        (
            ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            "numeric `USER`",
        ),
    ],
)
def test_a_pod_that_cannot_start_ends_the_wait_at_once(
    cluster: Cluster, waiting: tuple[str, str], hint: str
) -> None:
    put_starting(cluster)
    error = refused(cluster, pod(ready=False, waiting=waiting))
    assert error.what == f"`github-remote` cannot become ready: {waiting[0]}"
    assert f"Pod github-remote-1: {waiting[0]}: {waiting[1]}"[:150] in error.why
    assert hint in error.hint


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "waiting",
    [
        ("ErrImagePull", PULL + "dial tcp: lookup ghcr.io: i/o timeout"),
        ("ImagePullBackOff", "Back-off pulling image"),
        ("CreateContainerConfigError", 'secret "github-oauth-client" not found'),
        ("CrashLoopBackOff", "back-off 10s"),
    ],
)
def test_what_may_heal_is_given_time(cluster: Cluster, waiting: tuple[str, str]) -> None:
    put_starting(cluster)
    stuck = pod(ready=False, waiting=waiting, restarts=2 if "Crash" in waiting[0] else 0)
    script = wait_proxy(
        cluster, lambda: cluster.put(stuck), lambda: None, lambda: None, lambda: cluster.put(pod())
    )
    assert f"{waiting[0]}, at most 30 s" in script.notes


@pytest.mark.parametrize(
    "waiting",
    [("ErrImagePull", PULL + "i/o timeout"), ("CreateContainerConfigError", 'secret "x" not found')],
)
def test_what_has_not_healed_in_its_time_ends_the_wait(cluster: Cluster, waiting: tuple[str, str]) -> None:
    put_starting(cluster)
    assert waiting[0] in refused(cluster, pod(ready=False, waiting=waiting)).what


def test_a_pull_that_fails_and_pauses_in_turns_is_one_trouble(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "_REGISTRY", 0.02)
    put_starting(cluster)
    turns = [("ErrImagePull", PULL + "i/o timeout"), ("ImagePullBackOff", "Back-off")] * 500
    changes = [lambda turn=turn: cluster.put(pod(ready=False, waiting=turn)) for turn in turns]
    with pytest.raises(WorkshopError, match="Pull") as caught:
        wait_workload(cluster.kube, resource(), 30, Script(*changes))
    assert not isinstance(caught.value, DeadlineError)


@pytest.mark.usefixtures("patient")
def test_a_pause_after_a_hopeless_pull_does_not_make_it_hopeful(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "_NEVER", 0.05)
    put_starting(cluster)
    hopeless = pod(ready=False, waiting=("ErrImagePull", PULL + "403 Forbidden"))
    pause = pod(ready=False, waiting=("ImagePullBackOff", "Back-off pulling image"))
    assert refused(cluster, hopeless, pause).what == "`github-remote` cannot become ready: ImagePullBackOff"


def test_a_stuck_pod_of_an_older_stateful_set_is_replaced_since_the_set_itself_would_wait(
    cluster: Cluster,
) -> None:
    put_configs(cluster)
    server = remote_proxy() | {"kind": "MCPServer", "spec": {}}
    server["metadata"]["name"] = SERVER
    stuck = pod(
        "workshop-0", of=SERVER, kind="StatefulSet", ready=False, waiting=("ErrImagePull", "not found")
    )
    stuck["metadata"]["labels"]["controller-revision-hash"] = "old"
    for made in (server, run_config(SERVER), controller(SERVER), pod("workshop-1", of=SERVER)):
        cluster.put(made)

    def updated() -> None:
        cluster.put(
            controller(SERVER, "StatefulSet", status={"updateRevision": "new", "currentRevision": "new"})
        )
        cluster.put(stuck)

    def replaced() -> None:
        assert cluster.get("Pod", "workshop-0") is None
        fresh = pod("workshop-0", of=SERVER, kind="StatefulSet")
        fresh["metadata"]["labels"]["controller-revision-hash"] = "new"
        cluster.put(fresh)

    script = Script(updated, lambda: None, replaced)
    wait_workload(cluster.kube, resource("MCPServer", SERVER), 30, script)
    assert script.changes == []


def test_what_happened_before_these_pods_is_not_told(cluster: Cluster) -> None:
    cluster.put(event(PROXY, "RemoteURLInvalid", "of yesterday", at="2026-11-20T08:00:00Z"))
    put_proxy(cluster)
    cluster.put(pod(ready=False))
    assert "yesterday" not in late(cluster).why


@pytest.mark.usefixtures("patient")
def test_a_crash_loop_ends_the_wait_at_the_third_restart(cluster: Cluster) -> None:
    put_starting(cluster)
    cluster.api.logs = {("github-remote-1", True): "starting\nlevel=ERROR msg=boom"}
    loops = [pod(ready=False, waiting=("CrashLoopBackOff", "back-off"), restarts=n) for n in (1, 2, 3)]
    error = refused(cluster, *loops)
    assert "CrashLoopBackOff" in error.what
    assert error.why.splitlines() == [
        "Pod github-remote-1: CrashLoopBackOff: it ended 3 times, last with Error (1)",
        "Log: level=ERROR msg=boom",
    ]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            "HMAC secret in /etc/toolhive/authserver/hmac/hmac-0 is 9 bytes, but must be at least 32 bytes",
            "make a new one",
        ),
        ("failed to decode PEM block", "signing key"),
        (
            'environment variable "TOOLHIVE_UPSTREAM_CLIENT_SECRET_GITHUB" is not set',
            "GITHUB_OAUTH_CLIENT_SECRET",
        ),
        ("issuer must not have a trailing slash", "slash"),
    ],
)
def test_a_crash_whose_message_we_know_ends_the_wait_at_the_first(
    cluster: Cluster, message: str, hint: str
) -> None:
    put_starting(cluster)
    text = f"failed to create embedded auth server: {message}"
    cluster.api.logs = {("github-remote-1", True): text, ("github-remote-1", False): ""}
    error = refused(cluster, pod(ready=False, waiting=("CrashLoopBackOff", "back-off 10s"), restarts=1))
    assert f"Log: {text}" in error.why
    assert hint in error.hint


def test_a_volume_that_is_not_mounted_is_told_from_its_event(cluster: Cluster) -> None:
    put_starting(cluster)
    creating = pod(ready=False, waiting=("ContainerCreating", ""))
    told = 'MountVolume.SetUp failed for volume "hmac-0" : secret "github-remote-hmac" not found'
    error = refused(cluster, creating, event("github-remote-1", "FailedMount", told))
    assert error.what == "`github-remote` cannot become ready: FailedMount"
    assert told in error.why
    assert "A secret the pod needs is missing" in error.hint


def test_a_pod_without_room_is_told(cluster: Cluster) -> None:
    put_starting(cluster)
    full = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory.",
    }
    error = refused(cluster, pod(ready=False, conditions=[full]))
    assert "Unschedulable" in error.what
    assert "give Docker more" in error.hint


@pytest.mark.parametrize("taint", [" {node.kubernetes.io/not-ready: }", "(s)"], ids=["named", "since-1.34.2"])
def test_a_node_that_is_still_starting_is_waited_for(cluster: Cluster, taint: str) -> None:
    put_starting(cluster)
    starting = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": f"0/1 nodes are available: 1 node(s) had untolerated taint{taint}.",
    }
    unplaced = pod(ready=False, conditions=[starting])
    wait_proxy(cluster, lambda: cluster.put(unplaced), lambda: None, lambda: cluster.put(pod()))


def test_a_quota_that_allows_no_pod_is_told(cluster: Cluster) -> None:
    put_proxy(cluster)
    told = 'pods "github-remote-1" is forbidden: exceeded quota: small'
    blocked = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": told}
    cluster.put(controller(status={"conditions": [blocked], "updatedReplicas": 0}))
    error = refused(cluster)
    assert "FailedCreate" in error.what
    assert told in error.why
    assert "quota" in error.hint


def test_the_troubles_of_an_older_revision_do_not_count(cluster: Cluster) -> None:
    put_proxy(cluster)
    cluster.kube.delete("v1", "Pod", "github-remote-1", NAMESPACE)
    cluster.put(pod("old", ready=False, waiting=("InvalidImageName", ""), revision="old"))
    cluster.pass_time()
    cluster.put(pod("new", ready=False, revision="new"))
    cluster.put(controller(status={"availableReplicas": 0}))
    gone = {"deletionTimestamp": "2026-11-21T09:00:00Z"}

    def rolled_out() -> None:
        cluster.put(pod("new", revision="new"))
        cluster.put(controller())

    wait_proxy(
        cluster,
        lambda: None,
        lambda: cluster.put(pod("old", ready=False, revision="old", metadata=gone)),
        rolled_out,
        lambda: cluster.kube.delete("v1", "Pod", "old", NAMESPACE),
    )


def test_a_pod_stuck_from_an_earlier_try_is_replaced_once(cluster: Cluster) -> None:
    put_proxy(cluster)
    cluster.put(pod("stuck", ready=False, waiting=("ImagePullBackOff", "Back-off"), revision="one"))
    cluster.kube.delete("v1", "Pod", "github-remote-1", NAMESPACE)
    wait_proxy(cluster, lambda: cluster.put(pod("fresh", ready=False)), lambda: cluster.put(pod("fresh")))
    deleted = [line for line in cluster.api.seen if line.startswith("DELETE") and "stuck" in line]
    assert deleted == [f"DELETE /api/v1/namespaces/{NAMESPACE}/pods/stuck?gracePeriodSeconds=1"]


def test_the_end_of_the_time_is_told_with_what_was_found(cluster: Cluster) -> None:
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


def test_a_workload_that_has_no_pod_at_all_is_told(cluster: Cluster) -> None:
    cluster.put(event(PROXY, "RemoteURLInvalid", "remote URL must not be private"))
    error = late(cluster)
    assert error.why.splitlines() == [
        "There is no pod of `github-remote` yet",
        "Event: RemoteURLInvalid: remote URL must not be private",
    ]


def test_the_operator_and_a_plain_deployment_are_waited_for_by_their_rollout(cluster: Cluster) -> None:
    cluster.put(controller("toolhive-operator", status={"availableReplicas": 0}))
    cluster.put(pod("operator-1", of="toolhive-operator", ready=False))

    def started() -> None:
        cluster.put(controller("toolhive-operator"))
        cluster.put(pod("operator-1", of="toolhive-operator"))

    script = Script(started)
    wait_operator(cluster.kube, NAMESPACE, 30, script)
    assert script.notes == [
        "0 of 1 pods ready, at most 30 s",
        "1 of 1 pods ready, at most 30 s",
        "1 of 1 pods ready",
    ]
    cluster.put(controller("practice-github"))
    cluster.put(pod("practice-1", of="practice-github", ready=False, waiting=("InvalidImageName", "")))
    with pytest.raises(WorkshopError, match="InvalidImageName"):
        wait_deployment(cluster.kube, NAMESPACE, "practice-github", 30, Step("wait"))


def test_an_api_server_that_is_gone_for_a_moment_is_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
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
    wait_deployment(kube, NAMESPACE, PROXY, 30, script)
    assert script.notes[0] == "the cluster does not answer, at most 30 s"


def test_a_right_that_is_missing_ends_the_wait(cluster: Cluster) -> None:
    put_proxy(cluster)
    told = 'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "x"'
    cluster.api.refusals = [Refusal(f"GET /api/v1/namespaces/{NAMESPACE}/pods", 403, told)]
    with pytest.raises(WorkshopError, match="may not list pods"):
        wait_workload(cluster.kube, resource(), 30, Step("wait"))


def test_a_stopped_step_ends_the_wait(cluster: Cluster) -> None:
    def stop() -> None:
        raise WorkshopError("Stopped")

    with pytest.raises(WorkshopError, match="Stopped"):
        wait_workload(cluster.kube, resource(), 30, Script(stop))
