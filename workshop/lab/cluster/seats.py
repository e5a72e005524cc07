"""The seats that share a cluster's operator: who is there, who may change it now, and who leaves last.

Each seat leaves a mark, a ConfigMap, in its own namespace before it looks for the operator. Who installs or
removes the operator holds a lease meanwhile, and looks at the marks only then. A second ConfigMap beside the
operator says that a seat installed it, so that any later seat may remove it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from workshop.core.errors import UsageError
from workshop.core.paths import cluster_dir
from workshop.lab.cluster.record import INSTANCE_LABEL, MANAGED_BY, Site
from workshop.lab.cluster.workloads import KINDS
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.lease import Lease
from workshop.lab.kube.objects import Object, labels_of, mapping, namespace_of, text
from workshop.lab.kube.rights import missing, rights_in, told
from workshop.toolhive.manifests import TOOLHIVE_API

SEAT = "workshop-seat"
OPERATOR_MARK = "workshop-operator"
_MARK = "workshop/mark"
_ROLE = "seat-role.yaml"
_LEASE = "workshop-operator"
_LEASE_NAMESPACE = "default"  # it is on every cluster, and stays
_WRITES = ["get", "create", "patch"]
_MAKES_NAMESPACES = ({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "patch"]},)
_INSTALLS = (  # what the charts hold, and Helm's own secrets; its roles take all that they grant besides
    {"apiGroups": [""], "resources": ["secrets", "serviceaccounts", "configmaps"], "verbs": _WRITES},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": _WRITES},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
        "verbs": _WRITES,
    },
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": _WRITES},
)
_SERVED = (*KINDS[:5], (TOOLHIVE_API, "VirtualMCPServer"))


class Seats:
    """The seats on one cluster, as one of them sees them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        holder = f"{site.namespace}/{site.record.id}"
        self._lease = Lease(site.kube, _LEASE, _LEASE_NAMESPACE, holder)

    @contextmanager
    def turn(self, note: Callable[[str], None]) -> Iterator[None]:
        """Be the only seat that changes the operator; one that may hold no lease cannot change it anyway."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lease.held(self._site.seconds, note))
            except ForbiddenError:
                note("this account may hold no lease")
            yield

    def entered(self) -> bool:
        """Whether this seat's mark is there; raises UsageError when the namespace is another seat's."""
        found = self._site.kube.get("v1", "ConfigMap", SEAT, self._site.namespace)
        if found is None:
            return False
        owner = labels_of(found).get(INSTANCE_LABEL)
        if owner != self._site.record.id:
            raise UsageError(
                f"Namespace `{self._site.namespace}` is the seat of another instance, `{owner}`",
                why=f"The ConfigMap `{SEAT}` in it says so",
                hint="Choose another `--namespace`, or delete that ConfigMap if nobody uses the seat",
            )
        return True

    def enter(self) -> None:
        """Leave this seat's mark, so that nobody removes the operator under it."""
        if not self.entered():
            self._apply(SEAT, self._site.namespace, {**self._site.record.labels, _MARK: "seat"})

    def leave(self) -> None:
        """Take this seat's mark away."""
        found = self._site.kube.get("v1", "ConfigMap", SEAT, self._site.namespace)
        if labels_of(found).get(INSTANCE_LABEL) == self._site.record.id:
            self._site.kube.delete("v1", "ConfigMap", SEAT, self._site.namespace)

    def others(self) -> Sequence[str]:
        """The namespaces of the other seats, and of anybody else whose resources the operator serves."""
        kube = self._site.kube
        found = [*kube.list("v1", "ConfigMap", None, {_MARK: "seat"})]
        found += [each for api, kind in _SERVED for each in kube.list(api, kind)]
        ours = self._site.record.id
        return sorted({namespace_of(each) for each in found if labels_of(each).get(INSTANCE_LABEL) != ours})

    def claim(self, namespace: str, thing: str, fingerprint: str) -> None:
        """Note in the operator's namespace that a seat installed a thing there, and from what."""
        data = {**mapping(self._claim(namespace), "data"), thing: fingerprint}
        self._apply(OPERATOR_MARK, namespace, {**MANAGED_BY, _MARK: "operator"}, data)

    def claimed(self, namespace: str, thing: str) -> str:
        """From what a seat installed a thing in the operator's namespace; nothing when no seat did."""
        return text(self._claim(namespace), "data", thing)

    def disclaim(self, namespace: str) -> None:
        """Take the note in the operator's namespace away."""
        self._site.kube.delete("v1", "ConfigMap", OPERATOR_MARK, namespace)

    def _claim(self, namespace: str) -> Object | None:
        return self._site.kube.get("v1", "ConfigMap", OPERATOR_MARK, namespace)

    def _apply(
        self, name: str, namespace: str, labels: Mapping[str, str], data: Mapping[str, str] | None = None
    ) -> None:
        metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data or {})}
        self._site.kube.apply(body)


def require_rights(site: Site, *, makes_namespace: bool, installs_in: str | None) -> None:
    """Raise ForbiddenError for all that this account may not do and has to, before it tries anything."""
    makes = rights_in(_MAKES_NAMESPACES) if makes_namespace else ()
    lacking = missing(site.kube, site.namespace, [*makes, *rights_in(_seat_rules())])
    if lacking:
        raise ForbiddenError(
            f"Your account lacks rights that a seat in namespace `{site.namespace}` needs",
            why=f"It may not {told(lacking)}",
            hint=f"Ask the cluster's owner for the Role in `{cluster_dir() / _ROLE}` in that namespace",
        )
    lacking = missing(site.kube, installs_in, rights_in(_INSTALLS)) if installs_in else ()
    if lacking:
        raise ForbiddenError(
            "ToolHive's operator has to be installed first, and your account may not do that",
            why=f"It may not {told(lacking)}",
            hint="Ask the cluster's owner to install it, or to run `workshop up` once themselves",
        )


def require_removal_rights(site: Site, namespace: str) -> None:
    """Raise ForbiddenError when this account may not uninstall an operator, before Helm has begun to."""
    wanted = [right.to("delete") for right in rights_in(_INSTALLS) if right.verb == "create"]
    lacking = missing(site.kube, namespace, wanted)
    if lacking:
        raise ForbiddenError(f"Your account may not {told(lacking)}")


def _seat_rules() -> Sequence[Mapping[str, Any]]:
    """The rules of the Role that the cluster's owner gives to a seat."""
    import yaml

    rules: Sequence[Mapping[str, Any]] = yaml.safe_load((cluster_dir() / _ROLE).read_text("utf-8"))["rules"]
    return rules
