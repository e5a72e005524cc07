"""The seats that share a cluster's operator: which exist, which may change it now, and which removes it.

Each seat creates a ConfigMap, its mark, in its own namespace before it looks for the operator. A seat holds a
lease while it installs or removes the operator, and reads the marks only then. Another ConfigMap beside the
operator records that a seat installed it, so that any later seat may remove it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from workshop.core.errors import UsageError
from workshop.core.paths import cluster_dir
from workshop.lab.cluster.record import INSTANCE_LABEL, MANAGED_BY, Cluster
from workshop.lab.cluster.removal import DEFINED
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.lease import Lease
from workshop.lab.kube.objects import Object, items, labels_of, mapping, namespace_of, text
from workshop.toolhive.manifests import TOOLHIVE_API

SEAT = "workshop-seat"
OPERATOR_MARK = "workshop-operator"
_MARK = "workshop/mark"
_ROLE = "seat-role.yaml"
_LEASE = "workshop-operator"
_LEASE_NAMESPACE = "default"  # a namespace that every cluster has, and that stays
_WRITES = ["get", "create", "patch"]
_MAKES_NAMESPACES = ({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "patch"]},)
# For the charts' objects and Helm's own secrets. To create a role, an account also needs what it grants.
_INSTALLS = (
    {"apiGroups": [""], "resources": ["secrets", "serviceaccounts", "configmaps"], "verbs": _WRITES},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": _WRITES},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
        "verbs": _WRITES,
    },
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": _WRITES},
)
_SERVED = (*DEFINED, (TOOLHIVE_API, "VirtualMCPServer"))  # what needs the operator, whoever applied it


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource, such as `get pods/log`; an empty group is the core API."""

    group: str
    resource: str
    verb: str

    def to(self, verb: str) -> "Right":
        """Another verb on the same resource."""
        return replace(self, verb=verb)


def rights_in(rules: Iterable[Mapping[str, Any]]) -> Sequence[Right]:
    """Every right that the rules of a Role grant."""
    return [
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def missing(kube: Kube, namespace: str, wanted: Sequence[Right]) -> Sequence[Right]:
    """The rights that this account lacks in a namespace: one request for all of them.

    If the API server cannot list all rules, as with an external authorizer, it gets a request for each right
    that no listed rule grants.
    """
    review = kube.review("SelfSubjectRulesReview", {"namespace": namespace})
    status = mapping(review, "status")
    rules = [rule for rule in items(status, "resourceRules") if not rule.get("resourceNames")]
    lacking = [right for right in wanted if not any(_grants(rule, right) for rule in rules)]
    if not status.get("incomplete"):
        return lacking
    return [right for right in lacking if not _is_allowed(kube, namespace, right)]


def summary_of(rights: Sequence[Right]) -> str:
    """The rights in a few words: each resource once, those with the same verbs together."""
    verbs: dict[str, list[str]] = {}
    for right in rights:
        verbs.setdefault(right.resource, []).append(right.verb)
    together: dict[str, list[str]] = {}
    for resource, several in verbs.items():
        together.setdefault(", ".join(several), []).append(resource)
    return "; ".join(f"{several} {', '.join(resources)}" for several, resources in together.items())


def _grants(rule: Mapping[str, Any], right: Right) -> bool:
    part = right.resource.partition("/")[2]
    resources = {"*", right.resource, *([f"*/{part}"] if part else [])}
    return (
        bool({"*", right.verb} & set(rule.get("verbs") or ()))
        and bool({"*", right.group} & set(rule.get("apiGroups") or ()))
        and bool(resources & set(rule.get("resources") or ()))
    )


def _is_allowed(kube: Kube, namespace: str, right: Right) -> bool:
    resource, _, part = right.resource.partition("/")
    asked = {"namespace": namespace, "verb": right.verb, "group": right.group, "resource": resource}
    spec = {"resourceAttributes": {**asked, **({"subresource": part} if part else {})}}
    answer = kube.review("SelfSubjectAccessReview", spec)
    return bool(mapping(answer, "status").get("allowed"))


class Seats:
    """The seats on one cluster, from the view of one of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        holder = f"{cluster.namespace}/{cluster.record.id}"
        self._lease = Lease(cluster.kube, _LEASE, _LEASE_NAMESPACE, holder)

    @contextmanager
    def turn(self, note: Callable[[str], None]) -> Iterator[None]:
        """Hold the lease, so that only one seat changes the operator; go on if the account may not."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lease.held(self._cluster.limits.ready, note))
            except ForbiddenError:
                note("this account may not hold a lease")
            yield

    def entered(self) -> bool:
        """Whether this seat's mark exists; raises UsageError when the namespace belongs to another seat."""
        found = self._cluster.kube.get("v1", "ConfigMap", SEAT, self._cluster.namespace)
        if found is None:
            return False
        owner = labels_of(found).get(INSTANCE_LABEL)
        if owner != self._cluster.record.id:
            raise UsageError(
                f"Namespace `{self._cluster.namespace}` is the seat of another instance, `{owner}`",
                why=f"The ConfigMap `{SEAT}` in it names that instance",
                hint="Choose another `--namespace`, or delete that ConfigMap if nobody uses the seat",
            )
        return True

    def enter(self) -> None:
        """Create this seat's mark, so that nobody removes the operator while the seat needs it."""
        if not self.entered():
            self._apply(SEAT, self._cluster.namespace, {**self._cluster.record.labels, _MARK: "seat"})

    def leave(self) -> None:
        """Delete this seat's mark."""
        found = self._cluster.kube.get("v1", "ConfigMap", SEAT, self._cluster.namespace)
        if labels_of(found).get(INSTANCE_LABEL) == self._cluster.record.id:
            self._cluster.kube.delete("v1", "ConfigMap", SEAT, self._cluster.namespace)

    def others(self) -> Sequence[str]:
        """The namespaces of the other seats, and of everybody else whose resources the operator serves."""
        kube = self._cluster.kube
        found = [*kube.list("v1", "ConfigMap", None, {_MARK: "seat"})]
        found += [each for api, kind in _SERVED for each in kube.list(api, kind)]
        own = self._cluster.record.id
        return sorted({namespace_of(each) for each in found if labels_of(each).get(INSTANCE_LABEL) != own})

    def claim(self, namespace: str, thing: str, fingerprint: str) -> None:
        """Record in the operator's namespace the fingerprint of a thing that a seat installed there."""
        data = {**mapping(self._claim(namespace), "data"), thing: fingerprint}
        self._apply(OPERATOR_MARK, namespace, {**MANAGED_BY, _MARK: "operator"}, data)

    def claimed(self, namespace: str, thing: str) -> str:
        """The fingerprint of a thing that a seat installed in the operator's namespace; empty if none did."""
        return text(self._claim(namespace), "data", thing)

    def disclaim(self, namespace: str) -> None:
        """Delete the record in the operator's namespace."""
        self._cluster.kube.delete("v1", "ConfigMap", OPERATOR_MARK, namespace)

    def _claim(self, namespace: str) -> Object | None:
        return self._cluster.kube.get("v1", "ConfigMap", OPERATOR_MARK, namespace)

    def _apply(
        self, name: str, namespace: str, labels: Mapping[str, str], data: Mapping[str, str] | None = None
    ) -> None:
        metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data or {})}
        self._cluster.kube.apply(body)


def require_rights(cluster: Cluster, *, makes_namespace: bool, installs_in: str | None) -> None:
    """Raise ForbiddenError, before any change, for every right that this account needs and lacks."""
    makes = rights_in(_MAKES_NAMESPACES) if makes_namespace else ()
    refuse_lacking(
        missing(cluster.kube, cluster.namespace, [*makes, *rights_in(seat_rules())]),
        f"Your account lacks rights that a seat in namespace `{cluster.namespace}` needs",
        f"Ask the cluster's owner for the Roles in `{cluster_dir() / _ROLE}` in that namespace",
    )
    refuse_lacking(
        missing(cluster.kube, installs_in, rights_in(_INSTALLS)) if installs_in else (),
        "ToolHive's operator has to be installed first, and your account may not do that",
        "Ask the cluster's owner to install it, or to run `workshop up` once themselves",
    )


def refuse_lacking(lacking: Sequence[Right], what: str, hint: str) -> None:
    """Raise ForbiddenError with these words, and with the rights that are lacking, if there are any."""
    if lacking:
        raise ForbiddenError(what, why=f"It may not {summary_of(lacking)}", hint=hint)


def require_removal_rights(cluster: Cluster, namespace: str) -> None:
    """Raise ForbiddenError, before Helm starts, if this account may not uninstall the operator."""
    wanted = [right.to("delete") for right in rights_in(_INSTALLS) if right.verb == "create"]
    lacking = missing(cluster.kube, namespace, wanted)
    if lacking:
        raise ForbiddenError(f"Your account may not {summary_of(lacking)}")


def seat_rules(*, alone: bool = True) -> Sequence[Mapping[str, Any]]:
    """The rules of the Roles for a seat: in a room it has the first of them, `alone` it has both."""
    import yaml

    roles = list(yaml.safe_load_all((cluster_dir() / _ROLE).read_text("utf-8")))
    return [rule for role in roles[: None if alone else 1] for rule in role["rules"]]
