"""What this account may do on the cluster, asked of the API server before anything is tried."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workshop.lab.kube.client import Kube
from workshop.lab.kube.objects import items, mapping


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
    """The rights that this account lacks in a namespace: one question for all of them.

    Where the API server cannot list all rules, as with an authorizer outside, it is asked for each right that
    no rule grants.
    """
    review = kube.review("SelfSubjectRulesReview", {"namespace": namespace})
    status = mapping(review, "status")
    rules = [rule for rule in items(status, "resourceRules") if not rule.get("resourceNames")]
    lacking = [right for right in wanted if not any(_grants(rule, right) for rule in rules)]
    if not status.get("incomplete"):
        return lacking
    return [right for right in lacking if not _is_allowed(kube, namespace, right)]


def told(rights: Sequence[Right]) -> str:
    """The rights in few words: those with the same verbs together, each resource once."""
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
