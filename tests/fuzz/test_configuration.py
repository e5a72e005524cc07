"""Whatever is in a manifest, a gateway's configuration or `.env`: it is understood, or it is a UsageError."""

import contextlib
import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import looks
from tests.fuzz.strategies import documents, json_values, texts
from tests.servers.gateway.harness import settings
from workshop.core.errors import UsageError
from workshop.core.paths import parts_dir
from workshop.core.settings import Settings
from workshop.servers.gateway.config import load as load_gateway
from workshop.toolhive.lint import check
from workshop.toolhive.manifests import Resources, load
from workshop.toolhive.overrides import with_gateway_port, with_practice_github
from workshop.toolhive.secrets import SecretFiles, auth_configs

PART_4 = parts_dir() / "04_remote_oauth" / "toolhive"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "stringData": {"key": "text"},
    "data": {"other": "dGV4dA=="},
}
TROUBLE = st.sampled_from(
    [
        *(
            "2001-99-99",
            "0001-01-01T99:99:99Z",
            "!!int x",
            "!!float x",
            "!!binary é",
            "!!timestamp x",
            "&a [*a]",
        ),
        *(
            "{[]: 1}",
            "!!set {a}",
            "!!python/object:os.system {}",
            "*unknown",
            "&a {b: &b [*a, *b]}",
            "0b",
            "1:99",
        ),
        *("'http://['", "'https://a:b'", "'http://[::1'", "'http://a:99999'", "0x" + "f" * 4000, '"\\ud800"'),
        *(
            "9" * 5000 + "h",
            "'" + "9" * 5000 + "h'",
            "[" * 3000,
            "- " * 2000,
            "? " * 1000,
            "\x00",
            "\x85",
            "\t-",
        ),
        *(
            "!!merge x",
            "{<<: 1}",
            "{<<: [1]}",
            ".inf",
            "!!bool x",
            "!!null x",
            "!!omap [1]",
            "!!pairs [[1]]",
            "=",
        ),
    ]
)


def scalars_of(document: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """The place of everything below a document's root."""
    pairs = document.items() if isinstance(document, Mapping) else enumerate(document)  # type: ignore[arg-type]
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, Mapping | list):
            yield from scalars_of(value, (*path, key))


DOCUMENTS: list[dict[str, Any]] = [
    *(
        document
        for path in sorted(PART_4.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ),
    SECRET,
]
PLACES = [(number, place) for number, body in enumerate(DOCUMENTS) for place in scalars_of(body)]
READ_FURTHER = [
    (number, place)
    for number, place in PLACES
    if str(place[-1])
    .lower()
    .endswith(("url", "issuer", "endpoint", "lifespan", "audience", "other", "key", "name"))
]


def changed(place: tuple[int, tuple[object, ...]], value: object) -> list[dict[str, Any]]:
    """Part 4's manifests with the value at one place replaced."""
    number, path = place
    bodies = copy.deepcopy(DOCUMENTS)
    inside: Any = bodies[number]
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return bodies


def use(folder: Path) -> None:
    """All that `up` does with manifests before it starts anything."""
    resources = load(folder)
    check(resources)
    moved = with_practice_github(resources, "http://localhost:8090", "practice-workshop-app")
    for proxy in moved.of("MCPRemoteProxy"):
        moved = with_gateway_port(moved, proxy.name, 9000)
    check(moved)
    write_secrets(moved, SecretFiles(folder / "secrets"))


def write_secrets(resources: Resources, files: SecretFiles) -> None:
    for secret in resources.of("Secret"):
        files.write_resource(secret)
    for auth in auth_configs(resources):
        files.generate(auth)
        files.write_client_secret(auth, b"practice")


def understood_or_usage_error(folder: Path, text: bytes) -> None:
    (folder / "manifest.yaml").write_bytes(text)
    with contextlib.suppress(UsageError):
        use(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests")


@looks(80)
@given(text=st.one_of(st.binary(max_size=200), texts.map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_are_a_manifest_or_a_usage_error(folder: Path, text: bytes) -> None:
    understood_or_usage_error(folder, text)


@looks(100)
@given(place=st.sampled_from(PLACES), value=json_values)
def test_any_value_anywhere_in_part_4_is_understood_or_a_usage_error(
    folder: Path, place: tuple[int, tuple[object, ...]], value: object
) -> None:
    understood_or_usage_error(folder, json_documents(changed(place, value)))


@looks(80)
@given(place=st.sampled_from(PLACES), text=TROUBLE)
def test_any_yaml_anywhere_in_part_4_is_understood_or_a_usage_error(
    folder: Path, place: tuple[int, tuple[object, ...]], text: str
) -> None:
    whole = yaml.safe_dump_all(changed(place, "PLACE"))
    understood_or_usage_error(folder, whole.replace("PLACE", text).encode("utf-8", "replace"))


@looks(100)
@given(
    place=st.sampled_from(READ_FURTHER),
    value=st.sampled_from(["http://[", "http://a:99999", "é", "1" * 5000 + "h", "\x00", "..", "http://a\\b"]),
)
def test_no_address_duration_or_base64_breaks_what_reads_it(
    folder: Path, place: tuple[int, tuple[object, ...]], value: str
) -> None:
    understood_or_usage_error(folder, json_documents(changed(place, value)))


def json_documents(bodies: list[dict[str, Any]]) -> bytes:
    return "\n---\n".join(json.dumps(body) for body in bodies).encode()


def test_a_manifest_that_would_unfold_without_end_is_a_usage_error(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    body = "\n  ".join(lines)
    (folder / "manifest.yaml").write_text(
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nspec:\n  {body}\n", encoding="utf-8"
    )
    with pytest.raises(UsageError):
        use(folder)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("config")
    tools = {"filter": ["a"], "override": {"a": {"name": "b", "description": "c"}}}
    return settings(folder) | {"tools": tools, "header_forward": {"X-A": "b"}}


@looks(300)
@given(data=st.data())
def test_any_value_anywhere_in_the_gateways_configuration_is_understood_or_a_usage_error(
    folder: Path, gateway: dict[str, Any], data: st.DataObject
) -> None:
    values = copy.deepcopy(gateway)
    *path, last = data.draw(st.sampled_from(list(scalars_of(values))))
    inside: Any = values
    for key in path:
        inside = inside[key]
    inside[last] = data.draw(json_values)
    load_or_usage_error(folder, json.dumps(values).encode())


@looks(100)
@given(body=documents({"name": "n", "port": 1}))
def test_any_bytes_are_a_configuration_or_a_usage_error(folder: Path, body: bytes) -> None:
    load_or_usage_error(folder, body)


def load_or_usage_error(folder: Path, body: bytes) -> None:
    path = folder / "gateway.json"
    path.write_bytes(body)
    with contextlib.suppress(UsageError):
        load_gateway(path)


@looks(60)
@given(key=st.binary(max_size=400))
def test_any_bytes_are_a_signing_key_or_a_usage_error(
    folder: Path, gateway: dict[str, Any], key: bytes
) -> None:
    pem = Path(gateway["auth"]["signing_key_files"][0]).read_bytes()
    path = folder / "key.pem"
    lines = pem.splitlines()
    changed_key = b"\n".join([lines[0], key[:40] or lines[1], *lines[2:]]) if len(key) % 2 else key
    path.write_bytes(changed_key)
    values = copy.deepcopy(gateway)
    values["auth"]["signing_key_files"] = [str(path)]
    load_or_usage_error(folder, json.dumps(values).encode())


@looks(200)
@given(
    body=st.one_of(
        st.binary(max_size=80),
        texts.map(lambda text: f'OPENAI_API_KEY="{text}"\nWORKSHOP_MODEL={text}'.encode("utf-8", "replace")),
    )
)
def test_any_bytes_are_an_env_file_or_a_usage_error(folder: Path, body: bytes) -> None:
    path = folder / "env"
    path.write_bytes(body)
    with contextlib.suppress(UsageError):
        found = Settings.load(path)
        key = found.openai_api_key.value
        assert key is None or len(key) < 8 or key not in repr(found)
