"""Where a cluster's pieces come from: pinned, and each replaceable by a variable or an override."""

import datetime as dt
import tarfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from workshop.core import paths
from workshop.core.errors import UsageError
from workshop.lab.pins import Pins, override_names, pinned

DIGEST = "@sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in override_names():
        for variable in (f"WORKSHOP_{name}", f"WORKSHOP_IMAGE_{name}"):
            monkeypatch.delenv(variable.upper().replace("-", "_"), raising=False)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """An authority's certificate as PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A lab's authority")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = (
        builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    )
    path = tmp_path / "ca.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def test_without_overrides_the_sources_are_the_pinned_ones() -> None:
    assert Pins.load() == pinned()
    assert pinned().node_image.startswith("kindest/node:v")
    assert pinned().images()[-1] == pinned().practice
    assert (paths.cluster_dir() / "kind.yaml").is_file()


def test_a_variable_replaces_a_pin_and_an_override_replaces_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_IMAGE_OPERATOR", "lab.example:5000/operator:v1")
    monkeypatch.setenv("WORKSHOP_IMAGE_PROXY_RUNNER", "lab.example/proxyrunner:v1")
    found = Pins.load({"proxy-runner": "other.example/proxyrunner:v2"})
    assert found.operator == "lab.example:5000/operator:v1"
    assert found.proxy_runner == "other.example/proxyrunner:v2"
    assert found.mcp_server == pinned().mcp_server
    assert found.prebuilt == frozenset()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_NODE_IMAGE", "")
    assert Pins.load() == pinned()


def test_an_image_that_somebody_else_built_is_not_built_here() -> None:
    found = Pins.load({"mcp-server": "lab.example/mcp-server:1", "operator": "lab.example/operator:v1"})
    assert found.prebuilt == {"mcp_server"}


def test_an_unknown_name_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="`operater`") as caught:
        Pins.load({"operater": "x:1"})
    assert "operator" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operator", "lab.example/operator"),
        ("operator", "lab.example/operator:latest"),
        ("operator", f"lab.example/operator:v1{DIGEST}"),
        ("operator", "--privileged:1"),
        ("operator", "UPPER/case:1"),
        ("operator", ""),
        ("node-image", "kindest/node"),
        ("node-image", "kindest/node:latest"),
        ("node-image", "kindest/node:v1@sha256:short"),
        ("chart-crds", "https://example.test/chart.tgz"),
        ("chart-crds", "oci://"),
        ("chart-operator", "no/such/chart.tgz"),
        ("registry-mirror", "mirror.example:5000"),
        ("registry-mirror", "ftp://mirror.example"),
        ("registry-mirror", "https://user:word@mirror.example"),
        ("registry-mirror", "http://mirror.example:port"),
        ("registry-mirror", 'http://mirror.example"]\nevil = true'),
        ("proxy", "proxy.example:3128"),
        ("no-proxy", "example.test; rm -rf"),
        ("ca-file", "no/such/file.pem"),
    ],
)
def test_a_value_that_cannot_be_used_is_a_usage_error(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        Pins.load({name: value})
    assert f"--override {name}" in caught.value.what


@pytest.mark.parametrize(
    "value", ["kindest/node:v1", f"kindest/node:v1{DIGEST}", f"lab.example/node{DIGEST}"]
)
def test_a_node_image_may_be_pinned_by_its_digest(value: str) -> None:
    assert Pins.load({"node-image": value}).node_image == value


def test_a_chart_is_a_reference_an_archive_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chart").mkdir()
    (tmp_path / "chart" / "Chart.yaml").write_text("name: chart\n")
    with tarfile.open(tmp_path / "chart.tgz", "w:gz"):
        pass
    monkeypatch.chdir(tmp_path)
    for value in ("chart", "chart.tgz"):
        assert Pins.load({"chart-crds": value}).chart_crds == str(tmp_path / value)
    reference = "oci://lab.example:5000/charts/toolhive-operator"
    assert Pins.load({"chart-operator": reference}).chart_operator == reference
    with pytest.raises(UsageError):
        Pins.load({"chart-crds": str(tmp_path)})


def test_a_proxy_with_a_password_is_taken_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://someone:pass-word@proxy.example:3128"
    monkeypatch.setenv("WORKSHOP_PROXY", address)
    found = Pins.load()
    assert found.secrets() == (address,)
    assert "pass-word" not in repr(found)
    with pytest.raises(UsageError) as caught:
        Pins.load({"proxy": address})
    assert "pass-word" not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"


def test_the_nodes_proxy_leaves_out_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Pins.load().proxy_environment() == {}
    monkeypatch.setenv("no_proxy", "intranet.example")
    found = Pins.load({"proxy": "http://proxy.example:3128"}).proxy_environment()
    assert found["HTTPS_PROXY"] == found["HTTP_PROXY"] == "http://proxy.example:3128"
    assert {"intranet.example", "localhost", "127.0.0.1", ".svc"} <= set(found["NO_PROXY"].split(","))
    own = Pins.load({"proxy": "http://proxy.example:3128", "no-proxy": "a.example, 10.0.0.0/8"})
    assert own.proxy_environment()["NO_PROXY"].startswith("a.example,10.0.0.0/8,")


def test_a_certificate_file_holds_certificates_and_no_key(certificate: Path, tmp_path: Path) -> None:
    assert Pins.load({"ca-file": str(certificate)}).ca_file == certificate
    for text in ("no certificate", "-----BEGIN PRIVATE KEY-----\n" + certificate.read_text()):
        wrong = tmp_path / "wrong.pem"
        wrong.write_text(text)
        with pytest.raises(UsageError, match="ca-file"):
            Pins.load({"ca-file": str(wrong)})


def test_every_override_has_a_variable(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    values = dict.fromkeys(("proxy", "registry-mirror"), "http://near.example")
    values |= dict.fromkeys(("chart-crds", "chart-operator"), "oci://near.example/chart")
    values |= {"no-proxy": "near.example", "ca-file": str(certificate), "node-image": "near.example/node:1"}
    for name in override_names():
        stem = name if name in values else f"image-{name}"
        variable = f"WORKSHOP_{stem.upper().replace('-', '_')}"
        monkeypatch.setenv(variable, values.get(name, "near.example/image:1"))
    found = Pins.load()
    fields = [name.replace("-", "_") for name in override_names()]
    assert not [field for field in fields if getattr(found, field) == getattr(pinned(), field)]
