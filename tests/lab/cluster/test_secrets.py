"""The secrets are made anew each time, only where they are ours, and pods with older values are replaced."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.workloads import PROXY, SERVER, controller, pod
from tests.lab.kube.fake_cluster import NAMESPACE, FakeCluster
from tests.lab.kube.refused import Refusal
from tests.toolhive.conftest import Change
from workshop.core.errors import UsageError, WorkshopError
from workshop.lab.cluster.secrets import ClusterSecrets, Recreated
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles, auth_configs

NAMES = ["github-oauth-client", "github-remote-hmac", "github-remote-signing-key"]
CLIENT_SECRET = b"not-a-real-secret"


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    return SecretFiles(tmp_path / "secrets")


@pytest.fixture
def resources(change: Change, files: SecretFiles) -> Resources:
    found = change()
    for auth in auth_configs(found):
        files.generate(auth)
        files.write_client_secret(auth, CLIENT_SECRET)
    return found


def recreate(cluster: FakeCluster, resources: Resources, files: SecretFiles) -> Recreated:
    return ClusterSecrets(cluster.kube, NAMESPACE, "ours").recreate(resources, files)


def found(cluster: FakeCluster, name: str) -> dict[str, Any]:
    secret = cluster.get("Secret", name)
    assert secret is not None
    return secret


def test_the_three_secrets_have_the_files_values_and_our_labels(
    cluster: FakeCluster, resources: Resources, files: SecretFiles
) -> None:
    assert recreate(cluster, resources, files) == Recreated(NAMES, [])
    secret = found(cluster, "github-oauth-client")
    assert base64.b64decode(secret["data"]["client-secret"]) == CLIENT_SECRET
    assert secret["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "workshop",
        "workshop/instance": "ours",
    }
    assert found(cluster, "github-remote-signing-key")["data"].keys() == {"signing-key.pem"}


def test_they_are_made_anew_each_time_without_what_others_added(
    cluster: FakeCluster, resources: Resources, files: SecretFiles
) -> None:
    recreate(cluster, resources, files)
    first = found(cluster, "github-oauth-client")
    cluster.put({**first, "data": {**first["data"], "stray": "eA=="}})
    recreate(cluster, resources, files)
    second = found(cluster, "github-oauth-client")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["data"].keys() == {"client-secret"}


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, "does not carry the workshop's label"),
        (
            {"app.kubernetes.io/managed-by": "Helm", "workshop/instance": "ours"},
            "does not carry the workshop's label",
        ),
        ({"app.kubernetes.io/managed-by": "workshop", "workshop/instance": "other"}, "instance `other`"),
    ],
)
def test_somebody_elses_secret_is_left_alone_and_nothing_else_is_touched(
    cluster: FakeCluster, resources: Resources, files: SecretFiles, labels: dict[str, str], told: str
) -> None:
    metadata = {"name": "github-remote-signing-key", "namespace": NAMESPACE, "labels": labels}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"theirs": "eA=="}})
    with pytest.raises(UsageError) as caught:
        recreate(cluster, resources, files)
    assert told in caught.value.why
    assert found(cluster, "github-remote-signing-key")["data"] == {"theirs": "eA=="}
    assert not [line for line in cluster.api.seen if line.startswith(("DELETE", "POST", "PATCH"))]


def test_no_value_is_kept_anywhere_but_in_the_data(
    cluster: FakeCluster, resources: Resources, files: SecretFiles
) -> None:
    recreate(cluster, resources, files)
    metadata = str(found(cluster, "github-oauth-client")["metadata"])
    assert CLIENT_SECRET.decode() not in metadata
    assert base64.b64encode(CLIENT_SECRET).decode() not in metadata
    assert CLIENT_SECRET.decode() not in "".join(cluster.api.seen)


def put_running(cluster: FakeCluster) -> None:
    cluster.pass_time()
    cluster.put(controller())
    cluster.put(pod("running"))
    cluster.put(pod("stranger", of="another"))
    cluster.pass_time()


def test_unchanged_secrets_leave_the_pod_and_its_logins_alone(
    cluster: FakeCluster, resources: Resources, files: SecretFiles
) -> None:
    recreate(cluster, resources, files)
    put_running(cluster)
    for _ in range(3):
        assert recreate(cluster, resources, files).replaced == []
        cluster.pass_time()
    assert cluster.get("Pod", "running") is not None


def test_a_changed_secret_replaces_the_pod_once(
    cluster: FakeCluster, resources: Resources, files: SecretFiles
) -> None:
    recreate(cluster, resources, files)
    put_running(cluster)
    files.write("github-oauth-client", "client-secret", b"another-made-up-one")
    assert recreate(cluster, resources, files).replaced == ["running"]
    assert cluster.get("Pod", "running") is None
    assert cluster.get("Pod", "stranger") is not None
    cluster.put(pod("running-2"))
    cluster.pass_time()
    assert recreate(cluster, resources, files).replaced == []


def test_a_pod_is_replaced_even_when_the_run_that_changed_the_secret_broke_off(
    cluster: FakeCluster, resources: Resources, files: SecretFiles
) -> None:
    recreate(cluster, resources, files)
    put_running(cluster)
    files.write("github-oauth-client", "client-secret", b"another-made-up-one")
    cluster.api.refusals = [Refusal("DELETE /api/v1/namespaces/toolhive-system/pods", 500, "etcd", times=1)]
    with pytest.raises(WorkshopError):
        recreate(cluster, resources, files)
    assert cluster.get("Pod", "running") is not None
    cluster.pass_time()
    assert recreate(cluster, resources, files).replaced == ["running"]


def test_secrets_of_servers_headers_and_the_manifests_own_are_made_too(
    cluster: FakeCluster, files: SecretFiles
) -> None:
    own = {"stringData": {"plain": "one"}, "data": {"coded": "dHdv"}}
    secret = Resource("Secret", "own", {"metadata": {"name": "own"}, **own}, "test")
    files.write_resource(secret)
    files.write("tokens", "key", b"three")
    files.write("headers", "key", b"four")
    server = {"spec": {"secrets": [{"name": "tokens", "key": "key", "targetEnvName": "TOKEN"}]}}
    reference = {"name": "headers", "key": "key"}
    header = {"headerForward": {"addHeadersFromSecret": [{"headerName": "X", "valueSecretRef": reference}]}}
    resources = Resources(
        (
            secret,
            Resource("MCPServer", SERVER, server, "test"),
            Resource("MCPRemoteProxy", PROXY, {"spec": header}, "test"),
        )
    )
    assert recreate(cluster, resources, files).secrets == ["headers", "own", "tokens"]
    data = found(cluster, "own")["data"]
    assert {key: base64.b64decode(value) for key, value in data.items()} == {"plain": b"one", "coded": b"two"}


def test_a_secret_without_a_value_is_reported_by_its_name(cluster: FakeCluster, files: SecretFiles) -> None:
    server = {"spec": {"secrets": [{"name": "tokens", "key": "key", "targetEnvName": "TOKEN"}]}}
    with pytest.raises(UsageError, match="`tokens` has no value for `key`"):
        recreate(cluster, Resources((Resource("MCPServer", SERVER, server, "test"),)), files)


def test_deleting_takes_ours_alone(cluster: FakeCluster, resources: Resources, files: SecretFiles) -> None:
    recreate(cluster, resources, files)
    metadata = {"name": "theirs", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    assert sorted(ClusterSecrets(cluster.kube, NAMESPACE, "ours").delete()) == NAMES
    assert cluster.get("Secret", "theirs") is not None
    assert ClusterSecrets(cluster.kube, NAMESPACE, "ours").delete() == []
