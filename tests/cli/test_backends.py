"""The options of `up` for a cluster, the dry run, and what is said where there is no cluster."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop
from workshop.core.instance import Instance, Record
from workshop.course import environment
from workshop.lab.steps import StepTime

KIND = ("up", "--backend", "kind", "--upstream", "practice")
PLAN = """\
Kind backend (as requested), practice upstream (`--upstream`)
# Check the tools

# Fetch the node's image
docker pull NODE

# Create the kind cluster room, at most 15 min
write HOME/cluster/kind.yaml
kind create cluster --name room --config HOME/cluster/kind.yaml --image NODE --kubeconfig HOME/kubeconfig

# Set up the pod network
write /etc/cni/net.d/10-kindnet.conflist in room-control-plane, before kindnetd does
"""


def planned(workshop: Workshop, tmp_path: Path, *options: str) -> str:
    outcome = workshop(*KIND, "--cluster-name", "room", "--dry-run", *options)
    assert outcome.code == 0, outcome.err
    text = outcome.out.replace(str(tmp_path / "state" / "default"), "HOME")
    return re.sub(r"kindest/node:\S+", "NODE", text)


def sections(text: str) -> dict[str, list[str]]:
    """The commands of a plan under each of its headings."""
    found: dict[str, list[str]] = {}
    for block in text.partition("\n")[2].split("\n\n"):
        heading, *commands = block.strip().splitlines()
        found[heading.removeprefix("# ")] = commands
    return found


def test_a_dry_run_prints_every_command_and_file_and_leaves_nothing(
    workshop: Workshop, tmp_path: Path
) -> None:
    text = planned(workshop, tmp_path)
    plan = sections(text)
    wanted = sections(PLAN)
    for heading, commands in wanted.items():
        assert plan[heading] == commands
    (upgrade,) = plan["Install ToolHive's definitions"]
    assert upgrade.startswith("helm upgrade toolhive-operator-crds HOME/charts/")
    assert plan["Apply the manifests of part 4"] == [
        "write HOME/manifests/part-4.yaml",
        (
            "kubectl --kubeconfig HOME/kubeconfig --context kind-room apply --server-side --force-conflicts "
            "--field-manager=workshop --filename HOME/manifests/part-4.yaml"
        ),
    ]
    assert plan["Forward github-remote"] == [
        (
            "kubectl --kubeconfig HOME/kubeconfig --context kind-room --namespace toolhive-system "
            "port-forward svc/mcp-github-remote-remote-proxy 8080:8080"
        )
    ]
    assert not (tmp_path / "state" / "default").exists()


def test_a_dry_run_follows_the_options(workshop: Workshop, tmp_path: Path) -> None:
    image = "registry.example/mine:1"
    text = planned(workshop, tmp_path, "--override", f"mcp-server={image}", "--port", "github-remote=8088")
    assert f"docker pull {image}" in text
    assert "docker build --tag workshop/mcp-server" not in text
    assert "svc/mcp-github-remote-remote-proxy 8088:8088" in text


def test_what_comes_next_has_the_options_of_the_dry_run(workshop: Workshop) -> None:
    given = "--upstream practice --port github-remote=8088 --timeout 400 --cluster-name room"
    override = "--override 'mcp-server=registry.example/mine:1'"
    options = f"{given} {override.replace(chr(39), '')} --keep".split()
    outcome = workshop("up", "--backend", "kind", *options, "--dry-run")
    (told,) = re.findall(r"`(workshop up .*)`", outcome.out + outcome.err)
    wanted = ["workshop", "up", "--backend", "kind", *options]
    assert sorted(shlex.split(told)) == sorted(wanted)
    assert "--dry-run" not in told


def test_a_dry_run_on_the_embedded_backend_prints_its_processes(workshop: Workshop, tmp_path: Path) -> None:
    outcome = workshop("up", "--dry-run")
    assert outcome.code == 0
    assert f"write {tmp_path}/state/default/workloads/github-remote/config.json" in outcome.out
    assert (
        f"-m workshop.servers.gateway --config {tmp_path}/state/default/workloads/github-remote"
        in outcome.out
    )
    assert not (tmp_path / "state" / "default").exists()


def test_a_dry_run_is_one_document_on_demand(workshop: Workshop) -> None:
    document = json.loads(workshop(*KIND, "--dry-run", "--json").out)
    assert document["status"] == "success"
    assert document["data"]["backend"] == "kind"
    assert any(line.startswith("kind create cluster") for line in document["data"]["commands"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--override", "mcp-server"], "is not NAME=VALUE"),
        (["--override", "nothing=x"], "There is no pin called `nothing`"),
        (
            ["--backend", "embedded", "--cluster-name", "x"],
            "`--cluster-name` does not apply to the embedded backend",
        ),
        (["--backend", "kubernetes", "--dry-run"], "needs `--context NAME`"),
        (["--backend", "cloud"], "--backend"),
        (["--timeout", "0"], "--timeout"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(workshop: Workshop, options: list[str], told: str) -> None:
    outcome = workshop("up", *(["--backend", "kind"] if "--backend" not in options else []), *options)
    assert outcome.code == 2
    assert told in outcome.err


@pytest.mark.parametrize("verb", ["apply", "forward"])
def test_a_single_step_without_a_cluster_reports_what_there_is_instead(workshop: Workshop, verb: str) -> None:
    assert workshop("part", "4", verb).code == 3, "nothing is up"
    Instance.load().save(Record("embedded", "practice"))
    outcome = workshop("part", "4", verb)
    assert outcome.code == 2
    assert f"`part 4 {verb}` needs a cluster" in outcome.err
    assert "`workshop part 4 run`" in outcome.err


def test_parts_that_deploy_nothing_have_no_single_steps(workshop: Workshop) -> None:
    assert "apply" not in workshop("part", "1", "--help").out
    assert "apply" in workshop("part", "3", "--help").out


def test_switching_the_backend_asks_for_a_teardown(workshop: Workshop) -> None:
    Instance.load().save(Record("embedded", "practice"))
    outcome = workshop(*KIND)
    assert outcome.code == 3
    assert "Run `workshop teardown`, then `workshop up --backend kind`" in outcome.err


def test_a_damaged_record_of_a_cluster_does_not_keep_teardown_from_clearing(
    workshop: Workshop, tmp_path: Path
) -> None:
    directory = tmp_path / "state" / "default"
    directory.mkdir(parents=True)
    (directory / "cluster.json").write_text("nonsense")
    assert workshop("up").code == 2
    assert workshop("teardown").code == 0
    assert not directory.exists()


def test_where_the_time_went_is_shown_on_demand_and_always_in_the_document(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [
        StepTime("preflight", "Check the tools", 0.0, 0.4, "", critical=True, kept=False),
        StepTime("fetch-node", "Fetch", 0.4, 0.1, "preflight", critical=False, kept=True),
        StepTime("cluster", "Create", 0.5, 9.6, "preflight", critical=True, kept=False),
    ]
    report = environment.UpReport("kind", "practice", "as requested", {}, [], [], steps)
    monkeypatch.setattr(environment, "up", lambda *_: report)
    assert "Where" not in workshop("up").out
    shown = workshop("up", "-v").out.splitlines()
    assert shown[1] == "Where the 10.1 s went"
    assert [line.split() for line in shown[3:]] == [
        ["preflight", "0.0", "s", "0.4", "s", "●"],
        ["fetch-node", "0.4", "s", "there", "already", "preflight"],
        ["cluster", "0.5", "s", "9.6", "s", "preflight", "●"],
    ]
    document = json.loads(workshop("up", "--json").out)
    assert document["data"]["steps"][2] == {
        "name": "cluster",
        "label": "Create",
        "start": 0.5,
        "seconds": 9.6,
        "waited_for": "preflight",
        "critical": True,
        "kept": False,
    }
