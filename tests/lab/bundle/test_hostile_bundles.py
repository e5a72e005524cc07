"""A bundle that is cut off, changed or made to do harm is refused with our errors, and leaves nothing."""

import gzip
import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bundle.conftest import Members, members, quiet, rewrite, with_manifest
from workshop.core.errors import UsageError
from workshop.lab.bundle.read import open_bundle, verify
from workshop.lab.pins import pinned

AMD64 = "linux/amd64"
OPERATOR = "images/operator.tar.gz"


@pytest.fixture
def refused(bundle: Path, tmp_path: Path) -> Callable[[str], None]:
    """Check that neither verifying nor opening takes the bundle, and that nothing is left of it."""

    def check(why: str) -> None:
        state, told = tmp_path / "state" / "bundle", []
        for use in (
            lambda: verify(bundle, AMD64, quiet),
            lambda: open_bundle(bundle, state, pinned(), AMD64, quiet),
        ):
            with pytest.raises(UsageError) as caught:
                use()
            told.append(f"{caught.value.what} {caught.value.why}")
        assert why in told[1]
        assert not state.exists()
        assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]

    return check


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.6, 0.9999])
def test_a_bundle_that_is_cut_off_is_refused(
    bundle: Path, refused: Callable[[str], None], share: float
) -> None:
    with tarfile.open(bundle) as tar:
        end = max(member.offset_data + member.size for member in tar)  # zeros follow, which nobody misses
    bundle.write_bytes(bundle.read_bytes()[: int(end * share)])
    refused("lab.bundle")


def test_a_changed_byte_anywhere_in_a_file_is_noticed(bundle: Path, refused: Callable[[str], None]) -> None:
    data = bytearray(bundle.read_bytes())
    with tarfile.open(bundle) as tar:
        places = [member.offset_data + member.size // 2 for member in tar if member.name != "manifest.json"]
    for place in places:
        bundle.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        refused("")


def test_something_else_is_no_bundle(bundle: Path, refused: Callable[[str], None]) -> None:
    for other in (b"", b"a letter\n" * 2000, gzip.compress(bundle.read_bytes())):
        bundle.write_bytes(other)
        refused("not a bundle")


def test_a_bundle_that_is_not_there_or_a_folder_is_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="Cannot use"):
            verify(path, AMD64, quiet)


def renamed(held: Members, name: str) -> Members:
    next(member for member, _ in held if member.name == OPERATOR).name = name
    return held


def linked(held: Members, kind: bytes) -> Members:
    member = next(member for member, _ in held if member.name == OPERATOR)
    member.type, member.linkname = kind, "/etc/passwd"
    return [(one, b"" if one is member else data) for one, data in held]


def more(held: Members, name: str) -> Members:
    return [*held, (tarfile.TarInfo(name), b"more")]


@pytest.mark.parametrize(
    "change",
    [
        lambda held: renamed(held, "../../evil"),
        lambda held: renamed(held, "/tmp/evil"),
        lambda held: renamed(held, "images/./operator.tar.gz"),
        lambda held: linked(held, tarfile.SYMTYPE),
        lambda held: linked(held, tarfile.LNKTYPE),
        lambda held: linked(held, tarfile.FIFOTYPE),
        lambda held: more(held, "images/more.tar.gz"),
        lambda held: more(held, "../evil"),
        lambda held: [*held, held[-1]],
        lambda held: held[:-1],
        lambda held: held[1:],
        lambda held: [*held[1:], held[0]],
        lambda held: [(held[0][0], b"{" * 2000), *held[1:]],
        lambda held: [(held[0][0], b"[]"), *held[1:]],
        lambda held: [(held[0][0], b" " * (2**20 + 1)), *held[1:]],
    ],
)
def test_members_that_are_not_those_of_the_manifest_are_refused(
    bundle: Path, refused: Callable[[str], None], change: Callable[[Members], Members]
) -> None:
    rewrite(bundle, change(members(bundle)))
    refused("lab.bundle")


def entry(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["files"][name].update(changes)


def moved(told: dict[str, Any], name: str) -> None:
    told["files"][name] = told["files"].pop(OPERATOR)
    told["images"]["operator"]["file"] = name


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(format=2),
        lambda told: told.update(images={}),
        lambda told: told["images"].pop("practice"),
        lambda told: told["images"].update(extra=told["images"]["operator"]),
        lambda told: told.update(platform=None),
        lambda told: moved(told, "../../evil"),
        lambda told: moved(told, "images/../../evil"),
        lambda told: moved(told, "/tmp/evil"),
        lambda told: moved(told, "images/..\x1b[2J"),
        lambda told: told["images"]["operator"].update(reference="--privileged:1"),
        lambda told: told["images"]["operator"].update(reference="evil:latest"),
        lambda told: told["images"]["operator"].update(more="x"),
        entry(OPERATOR, sha256="0" * 64),
        entry(OPERATOR, sha256="../evil"),
        entry(OPERATOR, size=-1),
        entry(OPERATOR, size=True),
        entry(OPERATOR, size=3),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    bundle: Path, refused: Callable[[str], None], change: Callable[[dict[str, Any]], None]
) -> None:
    with_manifest(bundle, change)
    refused("lab.bundle")


@pytest.mark.parametrize("name", ["../../evil", "images/../../evil", "/tmp/workshop-evil", "images/.hidden"])
def test_a_name_that_leads_elsewhere_is_refused_even_when_all_agree_on_it(
    bundle: Path, refused: Callable[[str], None], name: str
) -> None:
    with_manifest(bundle, lambda told: moved(told, name))
    rewrite(bundle, renamed(members(bundle), name))
    refused("the entry of")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_plain_file_is_refused_even_when_all_agree_on_it(
    bundle: Path, refused: Callable[[str], None], kind: bytes
) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    with_manifest(bundle, entry(OPERATOR, sha256=empty, size=0, unpacked=0))
    rewrite(bundle, linked(members(bundle), kind))
    refused("does not match its manifest")


def test_a_file_that_unpacks_to_more_than_it_says_is_stopped(bundle: Path, tmp_path: Path) -> None:
    (first, text), *others = members(bundle)
    bomb = gzip.compress(bytes(2**26))
    rewrite(bundle, [(first, text), *((m, bomb if m.name == OPERATOR else d) for m, d in others)])
    digest = hashlib.sha256(bomb).hexdigest()
    with_manifest(bundle, entry(OPERATOR, sha256=digest, size=len(bomb), unpacked=1000))
    state = tmp_path / "state" / "bundle"
    with pytest.raises(UsageError) as caught:
        open_bundle(bundle, state, pinned(), AMD64, quiet)
    assert "unpacks to more" in caught.value.why
    assert not state.exists()


def test_no_message_carries_a_terminal_code(bundle: Path) -> None:
    rewrite(bundle, more(members(bundle), "images/\x1b[2Jevil"))
    with pytest.raises(UsageError) as caught:
        verify(bundle, AMD64, quiet)
    assert "\x1b" not in caught.value.why
