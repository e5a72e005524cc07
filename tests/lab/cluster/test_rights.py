"""What an account may do is asked in one question; what an authorizer outside grants, right by right."""

import pytest

from tests.lab.kube.fake_cluster import FakeCluster
from workshop.lab.cluster.seats import Right, missing, rights_in, summary_of

ROLE = [
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]
WANTED = rights_in(ROLE)


@pytest.mark.parametrize(
    "rules",
    [
        ROLE,
        [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        [
            {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["list", "get", "watch"]},
            {"apiGroups": [""], "resources": ["*/log"], "verbs": ["*"]},
        ],
    ],
    ids=["each", "everything", "patterns"],
)
def test_what_the_rules_grant_is_not_missing(cluster: FakeCluster, rules: list[dict[str, object]]) -> None:
    cluster.api.rules = rules
    assert missing(cluster.kube, "team-a", WANTED) == []


@pytest.mark.parametrize(
    "rules",
    [
        None,
        [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"], "resourceNames": ["one"]}],
        [{"apiGroups": None, "resources": None, "verbs": ["get"]}],
        [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}],
    ],
    ids=["none", "of one name", "null", "another resource"],
)
def test_what_no_rule_grants_is_missing(cluster: FakeCluster, rules: list[dict[str, object]]) -> None:
    cluster.api.rules = rules
    assert missing(cluster.kube, "team-a", WANTED) == WANTED
    (asked,) = [line for line in cluster.api.seen if line.startswith("POST")]
    assert asked.endswith("/selfsubjectrulesreviews")


def test_where_the_list_is_incomplete_each_right_is_asked_for(cluster: FakeCluster) -> None:
    cluster.api.rules, cluster.api.incomplete = ROLE[:1], True
    assert missing(cluster.kube, "team-a", WANTED) == [Right("", "pods/log", "get")]
    cluster.api.allowed = {"get pods/log"}
    assert missing(cluster.kube, "team-a", WANTED) == []


def test_rights_are_reported_by_their_verbs_each_resource_once() -> None:
    assert summary_of(WANTED) == "get, list deployments, statefulsets; get pods/log"
