"""Read Kubernetes objects that may be incomplete: a field that is absent, null or empty reads the same.

The API server answers with null where a list or a mapping has no value yet, as in `status.conditions` of a
definition that was created a moment ago. All code that reads an object does so through these functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Objects = Sequence[Object]


@dataclass(frozen=True)
class Condition:
    """One condition of an object's status; one without a status neither holds nor fails."""

    kind: str
    status: str
    reason: str
    message: str
    generation: int | None

    @property
    def holds(self) -> bool:
        return self.status == "True"

    @property
    def fails(self) -> bool:
        return self.status == "False"


def without_nulls(value: object) -> Any:  # noqa: ANN401 - a value of JSON
    """The same value without the members and items that are null, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value if item is not None]
    return value


def mapping(found: Mapping[str, Any] | None, *path: str) -> Mapping[str, Any]:
    """The mapping at a path; an empty one if a part of the path is missing."""
    value: Any = found
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(found: Mapping[str, Any] | None, *path: str) -> Sequence[Mapping[str, Any]]:
    """The mappings in the list at a path; none if a part of the path is missing."""
    value = mapping(found, *path[:-1]).get(path[-1])
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text(found: Mapping[str, Any] | None, *path: str) -> str:
    """The text at a path; an empty one if a part of the path is missing."""
    value = mapping(found, *path[:-1]).get(path[-1])
    return "" if value is None else str(value)


def number(found: Mapping[str, Any] | None, *path: str) -> int:
    """The number at a path; 0 if a part of the path is missing."""
    value = mapping(found, *path[:-1]).get(path[-1])
    return int(value) if isinstance(value, int | float) else 0


def name_of(found: Mapping[str, Any] | None) -> str:
    return text(found, "metadata", "name")


def namespace_of(found: Mapping[str, Any] | None) -> str:
    return text(found, "metadata", "namespace")


def uid_of(found: Mapping[str, Any] | None) -> str:
    """The id that distinguishes an object from an earlier one of the same name."""
    return text(found, "metadata", "uid")


def labels_of(found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return mapping(found, "metadata", "labels")


def annotations_of(found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return mapping(found, "metadata", "annotations")


def created_at(found: Mapping[str, Any] | None) -> str:
    """When the API server created an object, as RFC 3339 text, which sorts by time."""
    return text(found, "metadata", "creationTimestamp")


def is_being_deleted(found: Mapping[str, Any] | None) -> bool:
    """Whether an object's deletion was requested: it is deleted once its finalizers are cleared."""
    return bool(text(found, "metadata", "deletionTimestamp"))


def conditions_of(found: Mapping[str, Any] | None) -> Mapping[str, Condition]:
    """The conditions of an object's status by their type, in the order of the status."""
    return {
        kind: Condition(
            kind,
            text(item, "status"),
            text(item, "reason"),
            " ".join(text(item, "message").split()),
            number(item, "observedGeneration") if "observedGeneration" in item else None,
        )
        for item in items(found, "status", "conditions")
        if (kind := text(item, "type"))
    }


def container_statuses_of(pod: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """The states of a pod's containers, without those of its init containers."""
    return items(pod, "status", "containerStatuses")
