"""What the tests with a Kubernetes API in memory assume holds for a real API server too."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kube.api_server import ApiServer, assets
from workshop.core.errors import CredentialsError, UsageError, WorkshopError
from workshop.lab.cluster.record import owner_labels
from workshop.lab.cluster.seats import missing, rights_in, seat_rules
from workshop.lab.cluster.secrets import ClusterSecrets
from workshop.lab.kube import connection
from workshop.lab.kube.client import Kube, wait_for
from workshop.lab.kube.connection import ConflictError, ForbiddenError, InvalidError, NotFoundError
from workshop.lab.kube.lease import Lease
from workshop.lab.kube.objects import is_being_deleted, name_of, without_nulls
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles

pytestmark = pytest.mark.skipif(
    assets() is None, reason="KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver"
)

GROUP = "workshop.test"
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"colours.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "colours", "singular": "colour", "kind": "Colour"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.name != 'puce'", "message": "puce is no colour"}
                                ],
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    programs = assets()
    assert programs is not None
    with ApiServer(programs, tmp_path_factory.mktemp("api-server")) as found:
        yield found


@pytest.fixture
def kube(server: ApiServer) -> Kube:
    return Kube(server.admin, "test", look_seconds=0.1)


def namespace(kube: Kube, name: str) -> str:
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def colour(space: str, name: str) -> dict[str, Any]:
    metadata = {"name": "sample", "namespace": space}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Colour", "metadata": metadata, "spec": {"name": name}}


def test_a_custom_kind_is_absent_then_established_then_applied(kube: Kube) -> None:
    space = namespace(kube, "colours")
    assert kube.version().startswith("v1.")
    assert kube.get(f"{GROUP}/v1", "Colour", "sample", space) is None
    with pytest.raises(WorkshopError, match="does not know Colour"):
        kube.apply(colour(space, "red"))
    kube.apply(CRD)
    wait_for(
        "colours",
        lambda: kube.serves(f"{GROUP}/v1", ["Colour"]),
        done=bool,
        failed=lambda _: "",
        seconds=60,
    )
    first = kube.apply(colour(space, "red"))
    same, other = kube.apply(colour(space, "red")), kube.apply(colour(space, "green"))
    assert [made["metadata"]["generation"] for made in (first, same, other)] == [1, 1, 2]
    assert same["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    kube.apply(colour(space, "blue"), dry_run=True)
    assert kube.list(f"{GROUP}/v1", "Colour", space)[0]["spec"] == {"name": "green"}
    with pytest.raises(InvalidError, match="apply Colour `sample`") as caught:
        kube.apply(colour(space, "No Colour"))
    assert "spec.name" in caught.value.why
    with pytest.raises(InvalidError) as caught:
        kube.apply(colour(space, "puce"))
    assert "puce is no colour" in caught.value.why
    changed = kube.patch(f"{GROUP}/v1", "Colour", "sample", space, {"metadata": {"labels": {"a": "b"}}})
    assert changed is not None
    assert [item["metadata"]["name"] for item in kube.list(f"{GROUP}/v1", "Colour", space, {"a": "b"})]
    assert kube.delete(f"{GROUP}/v1", "Colour", "sample", space)
    assert not kube.delete(f"{GROUP}/v1", "Colour", "sample", space)


def test_a_missing_namespace_is_reported(kube: Kube) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "absent"}}
    with pytest.raises(NotFoundError) as caught:
        kube.apply(body)
    assert caught.value.hint == "The namespace is missing: run `workshop up` again"


def test_a_missing_right_names_verb_resource_and_namespace(server: ApiServer) -> None:
    guest = Kube(server.guest, "test")
    with pytest.raises(CredentialsError) as caught:
        guest.list("v1", "Secret", "default")
    assert caught.value.what == "Your account may not list secrets in namespace `default`"


def test_a_wrong_token_is_reported_as_credentials(server: ApiServer, tmp_path: Path) -> None:
    text = server.guest.read_text().replace("made-up-guest-token", "made-up-wrong-token")
    (tmp_path / "wrong").write_text(text)
    with pytest.raises(CredentialsError, match="does not accept"):
        Kube(tmp_path / "wrong", "test").list("v1", "Pod", "default")


def test_logs_and_events_of_what_is_not_there_are_empty(kube: Kube) -> None:
    assert kube.logs("absent", "default") == ()
    assert kube.events("default", ["absent"]) == []


def test_secrets_are_made_anew_know_since_when_and_leave_strangers_alone(kube: Kube, tmp_path: Path) -> None:
    space = namespace(kube, "secrets")
    files = SecretFiles(tmp_path)
    files.write("tokens", "key", b"one")
    server = {"spec": {"secrets": [{"name": "tokens", "key": "key", "targetEnvName": "TOKEN"}]}}
    resources = Resources((Resource("MCPServer", "workshop", server, "test"),))
    ours = ClusterSecrets(kube, space, "ours")
    ours.recreate(resources, files)
    first = kube.get("v1", "Secret", "tokens", space)
    ours.recreate(resources, files)
    second = kube.get("v1", "Secret", "tokens", space)
    assert first is not None
    assert second is not None
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["metadata"]["annotations"]["workshop/since"] == first["metadata"]["creationTimestamp"]
    assert owner_labels("ours").items() <= second["metadata"]["labels"].items()
    with pytest.raises(UsageError, match="does not belong to this instance"):
        ClusterSecrets(kube, space, "other").recreate(resources, files)
    assert ours.delete() == ["tokens"]


def test_a_definition_made_a_moment_ago_has_null_conditions(kube: Kube) -> None:
    """What the cluster in memory replays, and what the client hides from all who read objects."""
    plural = {"plural": "shades", "singular": "shade", "kind": "Shade"}
    body = {**CRD, "metadata": {"name": f"shades.{GROUP}"}, "spec": {**CRD["spec"], "names": plural}}
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/shades.{GROUP}"
    how: dict[str, Any] = {"content_type": "application/apply-patch+yaml", "field_manager": "workshop"}
    answer = json.loads(kube._connection.request("apply it", "patch", path, body=body, **how))
    assert answer["status"]["conditions"] is None
    assert "conditions" not in without_nulls(answer)["status"]


def test_a_kind_that_is_not_served_is_refused_in_the_words_that_are_tried_again(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = Kube(server.admin, "test", retry_seconds=0.01)
    space = namespace(kube, "gone")
    tries: list[float] = []
    wait_for(
        "shades", lambda: kube.serves(f"{GROUP}/v1", ["Shade"]), done=bool, failed=lambda _: "", seconds=60
    )
    shade = {**colour(space, "red"), "kind": "Shade"}
    kube.apply(shade)
    kube.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"shades.{GROUP}")
    wait_for(
        "the end of shades",
        lambda: Kube(server.admin, "test").serves(f"{GROUP}/v1", ["Shade"]),
        done=lambda there: not there,
        failed=lambda _: "",
        seconds=60,
    )
    monkeypatch.setattr(time, "sleep", tries.append)
    with pytest.raises(NotFoundError, match="apply Shade"):
        kube.apply(shade)
    assert len(tries) == connection._PATIENT_ATTEMPTS - 1


def test_a_conflict_is_reported_and_a_write_without_a_version_has_none(kube: Kube) -> None:
    space = namespace(kube, "conflicts")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": space}}
    first = kube.create(body)
    with pytest.raises(ConflictError, match="create ConfigMap `a`"):
        kube.create(body)
    kube.patch("v1", "ConfigMap", "a", space, {"data": {"key": "one"}})
    stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"key": "two"}}
    with pytest.raises(ConflictError):
        kube.patch("v1", "ConfigMap", "a", space, stale)
    kube.apply({**body, "data": {"key": "three"}})


def test_an_object_with_a_finalizer_is_listed_while_it_is_being_deleted(kube: Kube) -> None:
    space = namespace(kube, "finalizers")
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": space},
    }
    kube.apply({**body, "metadata": {**body["metadata"], "finalizers": ["workshop.test/held"]}})
    assert kube.delete("v1", "ConfigMap", "a", space)
    (listed,) = [item for item in kube.list("v1", "ConfigMap", space) if name_of(item) == "a"]
    assert is_being_deleted(listed)
    kube.patch("v1", "ConfigMap", "a", space, {"metadata": {"finalizers": None}})
    assert kube.get("v1", "ConfigMap", "a", space) is None


def test_a_lease_is_held_by_one_and_taken_over_when_it_was_not_renewed(
    kube: Kube,
) -> None:
    told: list[str] = []
    with Lease(kube, "turn", "default", "first").held(60, told.append):
        found = kube.get("coordination.k8s.io/v1", "Lease", "turn", "default")
        assert found is not None
        assert found["spec"]["holderIdentity"] == "first"
    assert kube.get("coordination.k8s.io/v1", "Lease", "turn", "default") is None
    kube.create({**found, "metadata": {"name": "turn", "namespace": "default"}})  # as kill -9 leaves it
    kube.patch("coordination.k8s.io/v1", "Lease", "turn", "default", {"spec": {"leaseDurationSeconds": 1}})
    with Lease(kube, "turn", "default", "second").held(60, told.append):
        pass
    assert set(told) == {"waiting for `first`, which is changing ToolHive's operator"}


def test_what_an_account_may_do_is_reported_at_once(kube: Kube, server: ApiServer) -> None:
    space = namespace(kube, "rights")
    wanted = rights_in(seat_rules())
    guest = Kube(server.guest, "test")
    assert missing(kube, space, wanted) == []
    assert missing(guest, space, wanted) == wanted
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": seat_rules()}
    kube.apply({**role, "metadata": {"name": "seat", "namespace": space}})
    kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "seat", "namespace": space},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "seat"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "guest"}],
        }
    )
    wait_for(
        "the new rights",
        lambda: missing(guest, space, wanted),
        done=lambda lacking: not lacking,
        failed=lambda _: "",
        seconds=60,
    )
    assert missing(guest, "default", wanted) == wanted
    with pytest.raises(ForbiddenError), Lease(guest, "turn", "default", "guest").held(5, lambda _: None):
        pytest.fail("it may hold no lease there")
