"""Commands as a person would type them, and the lines of their output that tell most."""

import shlex
import subprocess

import pytest

from workshop.lab.tools.run import copyable, key_lines, masked, named, parsed, spelled
from workshop.toolhive.known_messages import hint_for


def test_a_copyable_command_does_the_same_in_a_shell() -> None:
    argv = ["printf", "%s|", "two words", "quo'te", "$HOME", "", "*"]
    done = subprocess.run(["sh", "-c", copyable(argv)], capture_output=True, text=True, check=True)
    assert done.stdout == "two words|quo'te|$HOME||*|"


def test_the_environment_that_matters_stands_in_front() -> None:
    line = copyable(["sh", "-c", 'echo "$KUBECONFIG"'], {"KUBECONFIG": "/a b/config"})
    assert line.startswith("KUBECONFIG='/a b/config' sh ")
    assert (
        subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
        == "/a b/config\n"
    )


def test_a_variable_that_is_taken_away_is_shown_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONE", "x")
    line = copyable(["sh", "-c", "echo ${GONE-none} $HERE"], {"GONE": None, "HERE": "1"})
    assert line.startswith("env -u GONE HERE=1 sh ")
    assert subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout == "none 1\n"


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "client_secret", "OPENAI_API_KEY", "DB_PASSWORD"])
def test_a_variable_with_a_secret_name_is_masked(name: str) -> None:
    assert "value" not in copyable(["true"], {name: "value"})


def test_hidden_values_and_logins_in_addresses_are_masked_everywhere() -> None:
    argv = ["docker", "build", "--build-arg", "P=http://me:pa%40ss@proxy:3128", "hidden-one"]
    line = copyable(argv, {"Q": "https://a:b@c/d"}, hide=["hidden", "hidden-one"])
    assert shlex.split(line) == [
        "Q=https://***@c/d",
        "docker",
        "build",
        "--build-arg",
        "P=http://***@proxy:3128",
        "***",
    ]


def test_a_token_in_the_users_place_is_masked() -> None:
    assert masked("https://token@proxy:3128 ssh://me@host") == "https://***@proxy:3128 ssh://me@host"


def test_masking_leaves_other_addresses_alone() -> None:
    for text in (
        "http://host:80/a@b",
        "git@host:x",
        "ssh://me@host",
        "https://host/p?q=a:b",
        "oci://ghcr.io/a/b:1@sha256:c",
    ):
        assert masked(text, [""]) == text


def test_the_error_line_is_reported_before_the_last_lines() -> None:
    output = "start\nERROR: failed to create cluster\n\nCommand Output: a\n\x1b[31mb\x1b[0m\nc\n"
    assert key_lines(output) == "ERROR: failed to create cluster\nb\nc"


def test_of_an_error_with_a_go_stack_the_reasons_are_reported() -> None:
    output = (
        'ERROR: failed to create cluster: failed to init node with kubeadm: command "docker exec" failed\n\n'
        "Command Output: I1129 init.go:405] running\n"
        "[kubelet-check] The kubelet is not healthy after 4m0s\n"
        "failed while waiting for the kubelet to start: connection refused\n"
        "k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/init.runWaitControlPlanePhase\n"
        "\tk8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/init/waitcontrolplane.go:110\n"
        "k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow.(*Runner).Run.func1\n"
        "\tk8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow/runner.go:259\n"
        "error execution phase wait-control-plane\n"
        "main.main\n\tk8s.io/kubernetes/cmd/kubeadm/kubeadm.go:25\n"
        "runtime.goexit\n\truntime/asm_amd64.s:1700 +0x1\n"
    )
    assert key_lines(output).splitlines() == [
        'ERROR: failed to create cluster: failed to init node with kubeadm: command "docker exec" failed',
        "failed while waiting for the kubelet to start: connection refused",
        "error execution phase wait-control-plane",
    ]


def test_the_last_lines_are_reported_when_no_line_is_an_error_and_long_ones_are_cut() -> None:
    assert key_lines("a\nb\nc\nd\n") == "b\nc\nd"
    assert key_lines("") == ""
    assert len(key_lines("x" * 5000)) == 240


def test_a_command_is_named_by_its_verbs() -> None:
    assert named(["kind", "create", "cluster", "--name", "x"]) == "kind create cluster"
    assert named(["helm", "--debug"]) == "helm"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "Docker does not answer"),
        ("error during connect: Get http://docker/v1.50/images/json: EOF", "Docker does not answer"),
        ("Error response from daemon: manifest for kindest/node:v0 not found", "no such image"),
        ('Error response from daemon: Head "https://ghcr.io/v2/a": denied: denied', "docker logout ghcr.io"),
        (
            "failed: unexpected status from HEAD request to https://ghcr.io/v2/a: 403 Forbidden",
            "docker logout",
        ),
        ("toomanyrequests: You have reached your pull rate limit", "bundle"),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "ca-file",
        ),
        ('Get "https://x/v2/": dial tcp: lookup x on 10.0.0.1:53: no such host', "does not reach"),
        ("listen tcp 127.0.0.1:8080: bind: address already in use", "--port"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "architecture"),
        ('failed to save image: invalid output path: directory "/home/a/.local" does not exist', "snap"),
        (
            "Error response from daemon: no suitable export target found: image a:1 was found but does not",
            "docker image rm",
        ),
        ("all predefined address pools have been fully subnetted", "network prune"),
        ("inotify_init: too many open files", "sysctl"),
        ("error getting credentials - err: exec: docker-credential-desktop: not found", "credsStore"),
        (
            'CustomResourceDefinition "x" exists and cannot be imported: invalid ownership metadata',
            "another way",
        ),
        (
            'Get "https://x": proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused',
            "HTTPS_PROXY",
        ),
    ],
)
def test_messages_we_know_have_a_hint(said: str, hint: str) -> None:
    program = "helm" if "CustomResourceDefinition" in said else "docker"
    assert hint in hint_for(program, f"first\n{said}\nlast")


def test_other_messages_have_none() -> None:
    assert hint_for("docker", "permission denied: ./install.sh") == ""


def test_what_helm_says_is_given_no_hint_of_kinds() -> None:
    """Helm runs on clusters that take no bundle."""
    told = 'Error: failed to do request: Head "https://ghcr.io/v2/a": dial tcp: lookup ghcr.io: no such host'
    assert "bundle" in hint_for("docker", told)
    assert "network" in hint_for("helm", told)
    assert "bundle" not in hint_for("helm", told)
    assert "bundle" not in hint_for("helm", "toomanyrequests: slow down")


def test_a_chain_of_errors_is_cut_in_its_middle() -> None:
    """Its end is the cause."""
    line = key_lines(f"ERROR: failed to pull {'and to unpack ' * 30}: no such host")
    assert line.startswith("ERROR: failed to pull")
    assert line.endswith("no such host")
    assert len(line) == 240


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.32.4-dispatcher", (1, 32, 4)),
        ("kind v0.33.0 go1.26.8 linux/amd64", (0, 33, 0)),
        ("v4.3", (4, 3, 0)),
        ("20.10.24+dfsg1", (20, 10, 24)),
        ("none", None),
    ],
)
def test_versions_are_read_as_programs_print_them(text: str, version: tuple[int, int, int] | None) -> None:
    assert parsed(text) == version


def test_a_version_is_spelled_with_dots() -> None:
    assert spelled((3, 10, 0)) == "3.10.0"
