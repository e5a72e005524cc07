"""Up, part 3, part 4, a proxy pod that dies, part 4 again: on a real cluster, in this order."""

import json
import re

import pytest

from tests.e2e.kind.conftest import SECONDS, WORKLOADS, Course

pytestmark = [pytest.mark.kind, pytest.mark.timeout(4 * SECONDS)]

ANSWER = "trail-mapper has the most open issues"
PROXY_PODS = "app.kubernetes.io/instance=github-remote"


def proxy_pods(deployed: Course) -> set[str]:
    found = deployed.kubectl("get", "pods", "-l", PROXY_PODS, "-o", "json")
    assert found.returncode == 0, found.stderr
    return {
        item["metadata"]["uid"]
        for item in json.loads(found.stdout)["items"]
        if "deletionTimestamp" not in item["metadata"]
    }


def test_up_leaves_everything_running_and_reachable(deployed: Course) -> None:
    report = json.loads(deployed.ok("status", "--json").stdout)["data"]
    states = {item["name"]: item["state"] for item in report["workloads"]}
    assert set(states.values()) == {"running"}, report
    assert {"cluster", "operator", "MCPServer/workshop", "MCPRemoteProxy/github-remote", *WORKLOADS} <= set(
        states
    )


def test_the_kubeconfig_of_the_person_is_as_it_was(deployed: Course) -> None:
    before = deployed.digest()
    deployed.ok("up")
    deployed.ok("part", "3", "forward")
    assert deployed.digest() == before
    assert deployed.kubeconfig.resolve() != (deployed.directory / "kubeconfig").resolve()


def test_a_second_up_changes_nothing_that_runs(deployed: Course) -> None:
    before = proxy_pods(deployed)
    done = deployed.ok("up")
    assert "Already running: " in done.stdout
    assert "unchanged" in done.stderr
    assert proxy_pods(deployed) == before


def test_part_3_answers_through_toolhives_proxy(deployed: Course) -> None:
    done = deployed.ok("part", "3", "run", "--model", "rehearsal")
    assert ANSWER in done.stdout
    assert "Check workshop" in done.stderr
    assert "4 tools: " in done.stderr, "the operator's filter is in force"


def test_part_4_logs_in_and_the_swap_is_proven(deployed: Course) -> None:
    done = deployed.ok("part", "4", "run", "--approve-as", "learner", "--model", "rehearsal")
    assert ANSWER in done.stdout
    assert "Check github-remote" in done.stderr
    assert "Check github-remote with the login" in done.stderr


def test_what_a_person_would_type_applies_as_it_stands(deployed: Course) -> None:
    applied = deployed.ok("part", "4", "apply")
    command = next(line for line in applied.stdout.splitlines() if line.startswith("kubectl "))
    by_hand = deployed.kubectl(*command.split()[1:])
    assert by_hand.returncode == 0, by_hand.stderr
    assert "serverside-applied" in by_hand.stdout
    forwarded = deployed.ok("part", "4", "forward")
    assert re.search(
        r"^kubectl .* port-forward svc/mcp-github-remote-remote-proxy \d+:\d+$",
        forwarded.stdout,
        re.MULTILINE,
    )


def test_part_4_goes_on_after_its_proxy_pod_has_died(deployed: Course) -> None:
    before = proxy_pods(deployed)
    killed = deployed.kubectl("delete", "pod", "-l", PROXY_PODS, "--wait=false")
    assert killed.returncode == 0, killed.stderr
    done = deployed.ok("part", "4", "run", "--approve-as", "learner", "--model", "rehearsal")
    assert ANSWER in done.stdout
    assert not proxy_pods(deployed) & before, "another pod answers now"


def test_a_variation_is_toolhives_gateway_which_comes_and_goes(deployed: Course) -> None:
    run = ("part", "4", "run", "--variation", "prefix-gateway", "--approve-as", "learner")
    done = deployed.ok(*run, "--model", "rehearsal")
    assert ANSWER in done.stdout
    assert "6 tools: github_get_me" in done.stderr
    report = json.loads(deployed.ok("status", "--json").stdout)["data"]
    states = {item["name"]: item["state"] for item in (*report["workloads"], *report["variations"])}
    mine = {"VirtualMCPServer/prefix-gateway", "MCPServer/local", "prefix-gateway", "prefix-gateway-github"}
    assert {states.get(name) for name in mine} == {"running"}, report
    deployed.ok("part", "4", "check", "--variation", "prefix-gateway")
    deployed.ok("up")
    assert "unchanged" in deployed.ok(*run, "--model", "rehearsal").stderr
    deployed.ok("part", "4", "variations", "--stop")
    left = deployed.kubectl("get", "virtualmcpservers,mcpserverentries,mcpgroups", "-o", "name")
    assert (left.returncode, left.stdout) == (0, "")
    assert deployed.ok("part", "4", "run", "--model", "rehearsal", "--approve-as", "learner").stdout


def test_a_rehearsal_runs_on_the_cluster_that_is_up(deployed: Course) -> None:
    report = json.loads(deployed.ok("rehearse", "--json", seconds=2 * SECONDS).stdout)["data"]
    assert report["held"], report
    assert "GitHub received token 2 (its own)" in report["steps"][-1]["shown"]
