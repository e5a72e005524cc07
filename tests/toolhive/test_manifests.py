"""Manifests are read whole, or refused with the place and the reason."""

from pathlib import Path

import pytest

from workshop.core.errors import UsageError
from workshop.toolhive.manifests import load

SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: one}\nstringData: {key: value}\n"


def refuse(folder: Path, text: str) -> UsageError:
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load(folder)
    return caught.value


def test_documents_of_all_files_are_read_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(SECRET.replace("one", "two"))
    (tmp_path / "a.yaml").write_text(f"{SECRET}---\n{SECRET.replace('one', 'three')}")
    assert [resource.name for resource in load(tmp_path).all] == ["one", "three", "two"]


def test_a_folder_that_is_absent_has_no_resources(tmp_path: Path) -> None:
    assert load(tmp_path / "none").all == ()


def test_text_that_is_not_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "is not YAML at line 2" in refuse(tmp_path, "kind: Secret\n\tmetadata: {}\n").what


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"kind: \xff\n")
    with pytest.raises(UsageError, match="Cannot read the manifest"):
        load(tmp_path)


def test_an_unknown_kind_is_refused_with_the_kinds_there_are(tmp_path: Path) -> None:
    error = refuse(tmp_path, SECRET.replace("Secret", "Gadget"))
    assert error.what == "Unknown kind 'Gadget'"
    assert "MCPRemoteProxy" in error.hint


@pytest.mark.parametrize("text", ["- a list\n", "just text\n", "kind: [Secret]\nmetadata: {name: a}\n"])
def test_a_document_that_is_no_resource_is_refused(tmp_path: Path, text: str) -> None:
    assert refuse(tmp_path, text).exit_code == 2


@pytest.mark.parametrize("name", ["", "Upper", "-edge", "a/b", "../up", "x" * 64])
def test_a_name_that_is_no_dns_label_is_refused(tmp_path: Path, name: str) -> None:
    assert "metadata.name" in refuse(tmp_path, SECRET.replace("one", f"'{name}'")).what


def test_another_api_version_is_refused(tmp_path: Path) -> None:
    assert "`apiVersion` must be `v1`" in refuse(tmp_path, SECRET.replace("v1", "v2", 1)).what


def test_the_same_resource_twice_is_refused(tmp_path: Path) -> None:
    assert "more than once" in refuse(tmp_path, f"{SECRET}---\n{SECRET}").what


def test_a_field_of_the_wrong_type_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SECRET + "spec: {port: many, text: 3, list: x, map: 4}\n")
    resource = load(tmp_path).all[0]
    for read, told in (
        (lambda: resource.port("spec.port", 1), "must be a port"),
        (lambda: resource.text("spec.text"), "must be text"),
        (lambda: resource.text("spec.none"), "is missing"),
        (lambda: resource.items("spec.list"), "must be a list"),
        (lambda: resource.mapping("spec.map"), "must be a mapping"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            read()
        assert "a.yaml, document 1" in caught.value.why


@pytest.mark.parametrize("port", ["0", "65536", "-1", "true", "'80'"])
def test_a_port_out_of_range_is_refused(tmp_path: Path, port: str) -> None:
    (tmp_path / "a.yaml").write_text(f"{SECRET}spec: {{port: {port}}}\n")
    with pytest.raises(UsageError, match="between 1 and 65535"):
        load(tmp_path).all[0].port("spec.port", 8080)
