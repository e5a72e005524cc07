"""What is wrong with the pods: what cannot heal ends the wait at once, what may heal is given time."""

from dataclasses import replace

import pytest

from tests.lab.cluster.workloads import (
    PROXY,
    SERVER,
    Script,
    controller,
    event,
    late,
    pod,
    put_configs,
    put_proxy,
    put_starting,
    refused,
    remote_proxy,
    resource,
    run_config,
    wait_proxy,
)
from tests.lab.kube.fake_cluster import NAMESPACE, FakeCluster
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.cluster.readiness import diagnose, wait_deployment, wait_operator, wait_workload
from workshop.lab.kube.client import Kube

pytestmark = pytest.mark.usefixtures("quick")
PULL = 'failed to pull and unpack image "ghcr.io/stacklok/toolhive/proxyrunner:v0.63.0": '


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
    cluster: FakeCluster, waiting: tuple[str, str], hint: str
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
def test_what_may_heal_is_given_time(cluster: FakeCluster, waiting: tuple[str, str]) -> None:
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
def test_what_has_not_healed_in_its_time_ends_the_wait(
    cluster: FakeCluster, waiting: tuple[str, str]
) -> None:
    put_starting(cluster)
    assert waiting[0] in refused(cluster, pod(ready=False, waiting=waiting)).what


def test_a_pull_that_fails_and_pauses_in_turns_is_one_trouble(cluster: FakeCluster) -> None:
    cluster.graces = replace(cluster.graces, registry=0.02)
    put_starting(cluster)
    turns = [("ErrImagePull", PULL + "i/o timeout"), ("ImagePullBackOff", "Back-off")] * 500
    changes = [lambda turn=turn: cluster.put(pod(ready=False, waiting=turn)) for turn in turns]
    with pytest.raises(WorkshopError, match="Pull") as caught:
        wait_workload(cluster.kube, resource(), 30, Script(*changes), graces=cluster.graces)
    assert not isinstance(caught.value, DeadlineError)


@pytest.mark.usefixtures("patient")
def test_a_pause_after_a_hopeless_pull_does_not_make_it_hopeful(cluster: FakeCluster) -> None:
    cluster.graces = replace(cluster.graces, fatal=0.05)
    put_starting(cluster)
    hopeless = pod(ready=False, waiting=("ErrImagePull", PULL + "403 Forbidden"))
    pause = pod(ready=False, waiting=("ImagePullBackOff", "Back-off pulling image"))
    assert refused(cluster, hopeless, pause).what == "`github-remote` cannot become ready: ImagePullBackOff"


def test_a_stuck_pod_of_an_older_stateful_set_is_replaced_since_the_set_itself_would_wait(
    cluster: FakeCluster,
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
    wait_workload(cluster.kube, resource("MCPServer", SERVER), 30, script, graces=cluster.graces)
    assert script.changes == []


def test_what_happened_before_these_pods_is_not_reported(cluster: FakeCluster) -> None:
    cluster.put(event(PROXY, "RemoteURLInvalid", "of yesterday", at="2026-11-20T08:00:00Z"))
    put_proxy(cluster)
    cluster.put(pod(ready=False))
    assert "yesterday" not in late(cluster).why


@pytest.mark.usefixtures("patient")
def test_a_crash_loop_ends_the_wait_at_the_fourth_restart(cluster: FakeCluster) -> None:
    put_starting(cluster)
    cluster.api.logs = {("github-remote-1", True): "starting\nlevel=ERROR msg=boom"}
    loops = [pod(ready=False, waiting=("CrashLoopBackOff", "back-off"), restarts=n) for n in (1, 2, 3, 4)]
    error = refused(cluster, *loops)
    assert "CrashLoopBackOff" in error.what
    assert error.why.splitlines() == [
        "Pod github-remote-1: CrashLoopBackOff: it ended 4 times, last with Error (1)",
        "Log: level=ERROR msg=boom",
    ]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("name", [PROXY, "practice-github"])
def test_restarts_from_before_the_wait_do_not_count(cluster: FakeCluster, name: str) -> None:
    """A node that was restarted five times: the pod's count is high, and it crashes once or twice more."""
    put_proxy(cluster)
    cluster.put(controller(name))
    cluster.put(pod(f"{name}-1", of=name, ready=False, restarts=5))
    looping = [
        pod(f"{name}-1", of=name, ready=False, waiting=("CrashLoopBackOff", "back-off"), restarts=count)
        for count in (6, 7, 8)
    ]
    changes = [lambda made=made: cluster.put(made) for made in looping]
    script = Script(*changes, lambda: cluster.put(pod(f"{name}-1", of=name, restarts=8)))
    if name == PROXY:
        wait_workload(cluster.kube, resource(), 30, script, graces=cluster.graces)
    else:
        wait_deployment(cluster.kube, NAMESPACE, name, 30, script, graces=cluster.graces)
    assert script.changes == []


@pytest.mark.usefixtures("patient")
def test_what_restarts_in_vain_during_the_wait_ends_it_whatever_came_before(cluster: FakeCluster) -> None:
    put_starting(cluster)
    cluster.put(pod(ready=False, restarts=5))
    loops = [pod(ready=False, waiting=("CrashLoopBackOff", "back-off"), restarts=n) for n in (6, 7, 8, 9)]
    assert refused(cluster, *loops).what == "`github-remote` cannot become ready: CrashLoopBackOff"


def test_a_stuck_pod_of_a_deployment_of_ours_is_replaced_and_one_of_others_is_not(
    cluster: FakeCluster,
) -> None:
    for name in ("practice-github", "toolhive-operator"):
        cluster.put(controller(name))
        cluster.put(pod(f"{name}-1", of=name, ready=False, waiting=("CrashLoopBackOff", ""), restarts=5))

    def recovered(name: str) -> Script:
        return Script(lambda: cluster.put(pod(f"{name}-1", of=name)))

    wait_deployment(
        cluster.kube, NAMESPACE, "practice-github", 30, recovered("practice-github"), graces=cluster.graces
    )
    wait_operator(cluster.kube, NAMESPACE, 30, recovered("toolhive-operator"), graces=cluster.graces)
    deleted = [line.partition("?")[0] for line in cluster.api.seen if line.startswith("DELETE")]
    assert deleted == [f"DELETE /api/v1/namespaces/{NAMESPACE}/pods/practice-github-1"]


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
    cluster: FakeCluster, message: str, hint: str
) -> None:
    put_starting(cluster)
    text = f"failed to create embedded auth server: {message}"
    cluster.api.logs = {("github-remote-1", True): text, ("github-remote-1", False): ""}
    error = refused(cluster, pod(ready=False, waiting=("CrashLoopBackOff", "back-off 10s"), restarts=1))
    assert f"Log: {text}" in error.why
    assert hint in error.hint


API = 'Get "https://10.96.0.1:443/version": dial tcp 10.96.0.1:443: i/o timeout'


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (API, "could not reach the cluster's API"),
        ("can't determine api server type: timed out", "could not reach the cluster's API"),
        (
            'Post "http://practice-github/token": lookup practice-github: no such host',
            "could not resolve a name",
        ),
        ("upstream answered 403 Forbidden: denied: no such user", "Look closer"),
        ("dial tcp 192.0.2.7:443: connect: connection refused", "Look closer"),
    ],
)
@pytest.mark.usefixtures("patient")
def test_what_a_crash_log_says_of_a_connection_is_not_about_a_registry(
    cluster: FakeCluster, message: str, hint: str
) -> None:
    put_starting(cluster)
    cluster.api.logs = {("github-remote-1", True): f"level=ERROR msg={message}"}
    loops = [pod(ready=False, waiting=("CrashLoopBackOff", "back-off"), restarts=n) for n in (1, 2, 3, 4)]
    error = refused(cluster, *loops)
    assert hint in error.hint
    assert "ended 4 times" in error.why, "a connection may come back: the first crash does not end the wait"


@pytest.mark.parametrize(
    ("image", "cause", "hint"),
    [
        ("ghcr.io/a/b:1", "dial tcp: lookup ghcr.io on 10.0.0.2:53: no such host", "The nodes cannot reach"),
        ("docker.io/workshop/mcp-server:0.1.0", "pull access denied", "in no registry that the nodes reach"),
        ("ghcr.io/a/b:1", "429 Too Many Requests", "wait a while"),
        ("ghcr.io/a/b:1", "x509: certificate signed by unknown authority", "ask the cluster's owner"),
    ],
)
def test_on_somebody_elses_cluster_no_hint_is_of_kind(
    cluster: FakeCluster, image: str, cause: str, hint: str
) -> None:
    put_starting(cluster)
    cluster.put(
        pod(ready=False, waiting=("ErrImagePull", f'failed to pull and unpack image "{image}": {cause}'))
    )
    theirs = diagnose(Kube(cluster.kubeconfig, "test", own_nodes=False), NAMESPACE, [PROXY])
    assert hint in theirs.hint
    for word in ("--bundle", "builds", "Docker", "docker"):
        assert word not in theirs.hint
    assert diagnose(cluster.kube, NAMESPACE, [PROXY]).hint != theirs.hint


def test_the_cause_of_a_failed_pull_is_reported_however_long_the_way_to_it(cluster: FakeCluster) -> None:
    put_starting(cluster)
    image = "ghcr.io/stacklok/toolhive/proxyrunner:v0.63.0"
    chain = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
    cause = "dial tcp: lookup ghcr.io on 10.0.0.2:53: no such host"
    told = f'Back-off pulling image "{image}": ErrImagePull: {chain}failed to do request: Head: {cause}'
    cluster.put(pod(ready=False, waiting=("ImagePullBackOff", told)))
    line = diagnose(cluster.kube, NAMESPACE, [PROXY]).lines[0]
    assert line.startswith("Pod github-remote-1: ImagePullBackOff: Back-off pulling image")
    assert line.endswith(cause)


def test_a_volume_that_is_not_mounted_is_reported_from_its_event(cluster: FakeCluster) -> None:
    put_starting(cluster)
    creating = pod(ready=False, waiting=("ContainerCreating", ""))
    told = 'MountVolume.SetUp failed for volume "hmac-0" : secret "github-remote-hmac" not found'
    error = refused(cluster, creating, event("github-remote-1", "FailedMount", told))
    assert error.what == "`github-remote` cannot become ready: FailedMount"
    assert told in error.why
    assert "The pod needs a secret that is missing" in error.hint


def test_a_pod_without_room_is_reported(cluster: FakeCluster) -> None:
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
def test_a_node_that_is_still_starting_is_waited_for(cluster: FakeCluster, taint: str) -> None:
    put_starting(cluster)
    starting = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": f"0/1 nodes are available: 1 node(s) had untolerated taint{taint}.",
    }
    unplaced = pod(ready=False, conditions=[starting])
    wait_proxy(cluster, lambda: cluster.put(unplaced), lambda: None, lambda: cluster.put(pod()))


def test_a_quota_that_allows_no_pod_is_reported(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    told = 'pods "github-remote-1" is forbidden: exceeded quota: small'
    blocked = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": told}
    cluster.put(controller(status={"conditions": [blocked], "updatedReplicas": 0}))
    error = refused(cluster)
    assert "FailedCreate" in error.what
    assert told in error.why
    assert "quota" in error.hint


def test_the_troubles_of_an_older_revision_do_not_count(cluster: FakeCluster) -> None:
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


def test_a_pod_stuck_from_an_earlier_try_is_replaced_once(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    cluster.put(pod("stuck", ready=False, waiting=("ImagePullBackOff", "Back-off"), revision="one"))
    cluster.kube.delete("v1", "Pod", "github-remote-1", NAMESPACE)
    wait_proxy(cluster, lambda: cluster.put(pod("fresh", ready=False)), lambda: cluster.put(pod("fresh")))
    deleted = [line for line in cluster.api.seen if line.startswith("DELETE") and "stuck" in line]
    assert deleted == [f"DELETE /api/v1/namespaces/{NAMESPACE}/pods/stuck?gracePeriodSeconds=1"]
