"""A seat's token against a real API server: what its Role does not grant in its own namespace is refused."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kube.api_server import ApiServer, add_node, assets, running_controllers
from tests.lab.room.bench import Facilitator, at_home, count
from tests.lab.room.rooms import node, space
from workshop.lab.cluster import operator
from workshop.lab.cluster.seats import rights_in, seat_rules
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import Connection, ForbiddenError
from workshop.lab.room import create, seat_file
from workshop.toolhive.manifests import TOOLHIVE_API

NEEDED = ("kube-controller-manager", "kubectl")
pytestmark = pytest.mark.skipif(
    (folder := assets()) is None or not all((folder / name).is_file() for name in NEEDED),
    reason="KUBEBUILDER_ASSETS does not name a folder with etcd, kube-apiserver and these: "
    + ", ".join(NEEDED),
)
GROUP = TOOLHIVE_API.partition("/")[0]
PLURALS = {
    "MCPServer": "mcpservers",
    "MCPRemoteProxy": "mcpremoteproxies",
    "MCPOIDCConfig": "mcpoidcconfigs",
    "MCPExternalAuthConfig": "mcpexternalauthconfigs",
    "MCPToolConfig": "mcptoolconfigs",
}
METHODS = {
    "get": ("get", True),
    "list": ("get", False),
    "create": ("post", False),
    "update": ("put", True),
    "patch": ("patch", True),
    "delete": ("delete", True),
    "deletecollection": ("delete", False),
}
NAMESPACED = {
    "": (
        *("pods", "secrets", "configmaps", "services", "events", "serviceaccounts", "endpoints"),
        *("resourcequotas", "limitranges", "persistentvolumeclaims", "replicationcontrollers"),
    ),
    "apps/v1": ("deployments", "statefulsets", "daemonsets", "replicasets"),
    "batch/v1": ("jobs", "cronjobs"),
    "networking.k8s.io/v1": ("networkpolicies", "ingresses"),
    "rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
    "coordination.k8s.io/v1": ("leases",),
    TOOLHIVE_API: tuple(PLURALS.values()),
}
CLUSTER_WIDE = {
    "": ("namespaces", "nodes", "persistentvolumes"),
    "rbac.authorization.k8s.io/v1": ("clusterroles", "clusterrolebindings"),
    "apiextensions.k8s.io/v1": ("customresourcedefinitions",),
    "admissionregistration.k8s.io/v1": ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
    "storage.k8s.io/v1": ("storageclasses",),
    "certificates.k8s.io/v1": ("certificatesigningrequests",),
}
PARTS = (
    *(("pods/exec", "post"), ("pods/attach", "post"), ("pods/log", "get"), ("pods/portforward", "post")),
    *(("serviceaccounts/token", "post"), ("pods/eviction", "post"), ("pods/ephemeralcontainers", "patch")),
)
KINDS = (
    *(("v1", kind) for kind in ("Namespace", "Secret", "ConfigMap", "Service", "ServiceAccount")),
    *(("v1", kind) for kind in ("ResourceQuota", "LimitRange")),
    *(("rbac.authorization.k8s.io/v1", kind) for kind in ("Role", "RoleBinding", "ClusterRole")),
    *(("apps/v1", "Deployment"), ("networking.k8s.io/v1", "NetworkPolicy"), (TOOLHIVE_API, "MCPServer")),
    ("coordination.k8s.io/v1", "Lease"),
)


@dataclass(frozen=True)
class Class:
    """Two rooms on one cluster, the seat that attacks, and the facilitator."""

    kube: Kube
    facilitator: Facilitator
    seat: Connection
    before: Any


def definition(kind: str, plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": f"{plural}.{GROUP}"}
    api = "apiextensions.k8s.io/v1"
    return {"apiVersion": api, "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec}


def operator_of(namespace: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "toolhive-operator"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "manager", "image": "their/own:1"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    metadata = {"name": "toolhive-operator", "namespace": namespace, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def put_operator(kube: Kube) -> None:
    """What `room create` finds on a cluster with ToolHive: its definitions, an operator, and a node."""
    for kind, plural in PLURALS.items():
        kube.apply(definition(kind, plural))
    kube.apply(space("toolhive-system"))
    kube.apply(operator_of("toolhive-system"))
    add_node(kube, node("one"))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    programs, folder = assets(), tmp_path_factory.mktemp("api-server")
    assert programs is not None
    with pytest.MonkeyPatch.context() as patch, ApiServer(programs, folder) as server:
        kube = Kube(server.admin, "test", look_seconds=0.1)
        put_operator(kube)
        # There is no kubelet, so no pod becomes ready.
        patch.setattr(create, "wait_deployment", lambda *_: None)
        patch.setattr(operator, "wait_operator", lambda *_, **__: None)
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        controllers = running_controllers(programs, server.admin, ["namespace-controller"])
        with at_home(folder, server.admin), controllers:
            facilitator = Facilitator(folder / "files", "test")
            before = count(kube, KINDS)
            report = facilitator.create("monday", 2)
            facilitator.create("tuesday", 1)
            file = Path(report.seats[0].file)
            context = seat_file.read(file).context
            yield Class(kube, facilitator, Connection(file, context), before)


def path_of(api: str, resource: str, namespace: str = "", name: str = "") -> str:
    base = f"/apis/{api}" if api else "/api/v1"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{base}{within}/{resource}" + (f"/{name}" if name else "")


def attempt(seat: Connection, verb: str, path: str) -> str:
    """What the API server answers a request: `refused`, or what else happened."""
    method, _ = METHODS.get(verb, (verb, True))
    how = {"content_type": "application/merge-patch+json"} if method == "patch" else {}
    body: dict[str, Any] | None = {} if method in {"post", "put", "patch"} else None
    try:
        seat.request("try it", method, path, body=body, **how)
    except ForbiddenError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - anything else is a finding
        return f"{type(error).__name__}: {error}"
    return "allowed"


@pytest.mark.parametrize(
    "namespace", ["monday-02", "tuesday-01", "tuesday", "default", "kube-system", "toolhive-system"]
)
def test_every_verb_on_everything_in_another_namespace_is_refused(room: Class, namespace: str) -> None:
    tried = {}
    for api, resources in NAMESPACED.items():
        for resource, verb in itertools.product(resources, METHODS):
            path = path_of(api, resource, namespace, "seat" if METHODS[verb][1] else "")
            tried[f"{verb} {resource}"] = attempt(room.seat, verb, path)
    for part, method in PARTS:
        resource, _, below = part.partition("/")
        tried[part] = attempt(room.seat, method, f"{path_of('', resource, namespace, 'seat')}/{below}")
    assert len(tried) > 150
    assert {key: answer for key, answer in tried.items() if answer != "refused"} == {}


def test_everything_cluster_wide_and_every_list_of_all_namespaces_is_refused(room: Class) -> None:
    tried = {}
    for api, resources in CLUSTER_WIDE.items():
        for resource, verb in itertools.product(resources, METHODS):
            name = "monday-01" if METHODS[verb][1] else ""
            tried[f"{verb} {resource}"] = attempt(room.seat, verb, path_of(api, resource, "", name))
    for api, resources in NAMESPACED.items():
        for resource in resources:
            tried[f"list all {resource}"] = attempt(room.seat, "list", path_of(api, resource))
    for below in ("proxy", "status"):
        tried[f"nodes/{below}"] = attempt(room.seat, "get", f"/api/v1/nodes/some/{below}")
    for path in ("/metrics", "/logs/", "/debug/pprof/"):
        tried[path] = attempt(room.seat, "get", path)
    allowed = {key: answer for key, answer in tried.items() if answer != "refused"}
    assert {key: answer for key, answer in allowed.items() if not key.startswith("/")} == {}
    assert "allowed" not in allowed.values()


def test_in_its_own_namespace_only_what_the_role_grants_is_allowed(room: Class) -> None:
    granted = {(right.verb, right.resource) for right in rights_in(seat_rules(alone=False))}
    wrong = {}
    for api, resources in NAMESPACED.items():
        for resource, verb in itertools.product(resources, METHODS):
            path = path_of(api, resource, "monday-01", "nothing" if METHODS[verb][1] else "")
            answer = attempt(room.seat, verb, path)
            if ((verb, resource) in granted) == (answer == "refused"):
                wrong[f"{verb} {resource}"] = answer
    assert wrong == {}


def test_in_the_rooms_namespace_a_seat_only_finds_the_practice_github(room: Class) -> None:
    tried = {
        f"{verb} {resource}": attempt(
            room.seat, verb, path_of(api, resource, "monday", "workshop-room" if METHODS[verb][1] else "")
        )
        for api, resources in NAMESPACED.items()
        for resource, verb in itertools.product(resources, METHODS)
    }
    open_to_it = {key for key, answer in tried.items() if answer != "refused"}
    assert open_to_it == {"get pods", "list pods"}
    assert attempt(room.seat, "get", path_of("", "secrets", "monday", "practice-seats")) == "refused"
    assert attempt(room.seat, "get", path_of("", "services", "monday", "practice-github")) == "allowed"


def test_removing_the_rooms_leaves_the_cluster_as_it_was(room: Class) -> None:
    room.facilitator.remove("monday")
    assert [one for one in count(room.kube, KINDS)["Namespace"] if "monday" in one] == []
    assert "/tuesday-01" in count(room.kube, KINDS)["Namespace"]
    room.facilitator.remove("tuesday")
    assert count(room.kube, KINDS) == room.before
