"""On a cluster every container that is ours has a log, and so has each forward."""

from tests.lab.test_kubernetes import Shared, shared
from workshop.course import environment
from workshop.course.logs import chosen

__all__ = ["shared"]  # a fixture


def test_a_workload_is_its_pods_and_its_forward(shared: Shared) -> None:
    shared.up()
    logs = environment.logs()
    names = {log.name for log in logs}
    assert {"workshop-1", "workshop-0", "github-remote-1", "practice-github-1"} <= names
    assert {"forward/workshop", "forward/github-remote", "forward/practice-github"} <= names
    assert {log.name for log in chosen(logs, "workshop")} == {"workshop-1", "workshop-0", "forward/workshop"}
    shared.cluster.api.logs = {("workshop-0", False): "one\ntwo"}
    (server,) = chosen(logs, "workshop-0")
    assert list(server.last(1)) == ["two"]
