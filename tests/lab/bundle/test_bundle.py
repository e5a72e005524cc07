"""A bundle has all that a cluster needs, and gives it back without any network."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.bundle.conftest import NODE, make_bundle, members, quiet, with_manifest
from tests.lab.cluster.fake_engine import FakeEngine
from workshop import __version__
from workshop.core.errors import PreflightError, UsageError, WorkshopError
from workshop.lab.bundle.create import bundling
from workshop.lab.bundle.read import open_bundle, verify
from workshop.lab.pins import Pins, pinned
from workshop.lab.tools.clusters import Helm
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

AMD64 = "linux/amd64"


def test_a_bundle_reports_what_it_holds_and_for_what(bundle: Path) -> None:
    manifest = verify(bundle, AMD64, quiet)
    assert (manifest.platform, manifest.workshop, manifest.toolhive) == (AMD64, __version__, "0.63.0")
    assert manifest.images["node_image"].source == pinned().node_image
    assert manifest.images["node_image"].reference == NODE
    assert manifest.images["operator"].reference == pinned().operator
    assert len({image.image_id for image in manifest.images.values()}) == 5
    assert next(member.name for member, _ in members(bundle)) == "manifest.json"


def test_a_bundle_tells_nothing_of_who_made_it(bundle: Path) -> None:
    for member, _ in members(bundle):
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


def test_each_image_is_saved_for_one_platform_under_a_name_that_survives(
    engine: FakeEngine, pins: Pins, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "lab.bundle", pins)
    saves = engine.did("docker", "save")
    assert [save[-1] for save in saves] == [NODE, *pinned().images()]
    assert all("linux/amd64" in save for save in saves)
    assert engine.did("docker", "tag") == [["docker", "tag", pinned().node_image, NODE]]


def test_an_opened_bundle_gives_sources_that_need_no_network(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "bundle"
    mirrored = replace(pinned(), registry_mirror="http://mirror.example")
    found = open_bundle(bundle, folder, mirrored, AMD64, quiet)
    assert Path(found.chart_operator).read_bytes() == b"chart_operator, packed"
    assert found.node_image == NODE
    assert set(found.archives) == {NODE, *pinned().images()}
    assert found.prebuilt == {"mcp_server", "practice"}
    assert found.registry_mirror is None
    operator = found.archives[found.operator]
    assert operator.image_id == f"sha256:{1:064d}"
    assert operator.path.read_bytes()[257:262] == b"ustar"  # unpacked: older nodes read no packed archives
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_unpacked_is_not_unpacked_again(bundle: Path, tmp_path: Path) -> None:
    told: list[str] = []
    first = open_bundle(bundle, tmp_path / "state", pinned(), AMD64, told.append)
    assert told
    told.clear()
    assert open_bundle(bundle, tmp_path / "state", pinned(), AMD64, told.append) == first
    assert not told
    Path(first.archives[first.operator].path).unlink()
    open_bundle(bundle, tmp_path / "state", pinned(), AMD64, told.append)
    assert told


def test_a_bundle_that_was_unpacked_whole_may_be_away(bundle: Path, tmp_path: Path) -> None:
    first = open_bundle(bundle, tmp_path / "state", pinned(), AMD64, quiet)
    bundle.unlink()
    assert open_bundle(bundle, tmp_path / "state", pinned(), AMD64, quiet) == first
    with pytest.raises(PreflightError, match="linux/arm64"):
        open_bundle(bundle, tmp_path / "state", pinned(), "linux/arm64", quiet)
    Path(first.archives[first.operator].path).unlink()
    with pytest.raises(UsageError, match="Cannot use"):
        open_bundle(bundle, tmp_path / "state", pinned(), AMD64, quiet)


def test_a_bundle_for_another_platform_is_refused(bundle: Path, tmp_path: Path) -> None:
    for use in (
        lambda: verify(bundle, "linux/arm64", quiet),
        lambda: open_bundle(bundle, tmp_path / "state", pinned(), "linux/arm64", quiet),
    ):
        with pytest.raises(PreflightError, match="linux/amd64") as caught:
            use()
        assert "linux/arm64" in caught.value.what
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("key", "value"), [("workshop", "0.0.9"), ("toolhive", "0.49.0")])
def test_a_bundle_for_another_version_is_refused(bundle: Path, key: str, value: str) -> None:
    with_manifest(bundle, lambda told: told.update({key: value}))
    with pytest.raises(UsageError, match="another version") as caught:
        verify(bundle, AMD64, quiet)
    assert value in caught.value.why


def test_a_full_disk_is_reported_before_anything_is_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_manifest(bundle, lambda told: told["files"]["images/operator.tar.gz"].update(unpacked=2**60))
    with pytest.raises(PreflightError, match="not enough disk space"):
        open_bundle(bundle, tmp_path / "state", pinned(), AMD64, quiet)


def test_ctrl_c_while_unpacking_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    def pressed(told: str) -> None:
        if "practice" in told:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_bundle(bundle, tmp_path / "state", pinned(), AMD64, pressed)
    assert not (tmp_path / "state").exists()


def test_a_failure_while_making_one_leaves_nothing(engine: FakeEngine, pins: Pins, tmp_path: Path) -> None:
    engine.fakes.on("docker", "save", code=1, stderr="no space left on device")
    target, runner = tmp_path / "usb" / "lab.bundle", Runner()
    target.parent.mkdir()
    with (
        pytest.raises(WorkshopError, match="docker save"),
        bundling(target, pins, Docker(runner), lambda home: Helm(runner, home)) as made,
    ):
        made.add_images(quiet)
    assert list(target.parent.iterdir()) == []


def test_what_a_killed_create_left_is_cleared_and_what_another_works_on_stays(
    engine: FakeEngine, pins: Pins, tmp_path: Path
) -> None:
    target, runner = tmp_path / "usb" / "lab.bundle", Runner()
    left = target.parent / ".workshop-bundle-killed"
    (left / "images").mkdir(parents=True)
    (left / "lock").touch()
    another = bundling(target.with_name("b"), pins, Docker(runner), lambda home: Helm(runner, home))
    with another as at_work:
        make_bundle(target, pins)
        assert set(target.parent.iterdir()) == {target, at_work.folder}
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_is_there_is_not_written_over(pins: Pins, tmp_path: Path) -> None:
    target, runner = tmp_path / "lab.bundle", Runner()
    target.write_text("thesis")
    with (
        pytest.raises(UsageError, match="already exists"),
        bundling(target, pins, Docker(runner), lambda home: Helm(runner, home)),
    ):
        pass
    assert target.read_text() == "thesis"


def test_a_folder_that_is_not_there_is_reported(pins: Pins, tmp_path: Path) -> None:
    target, runner = tmp_path / "none" / "lab.bundle", Runner()
    with (
        pytest.raises(UsageError, match="Cannot write"),
        bundling(target, pins, Docker(runner), lambda home: Helm(runner, home)),
    ):
        pass


def test_a_chart_given_as_a_folder_has_to_be_packed_first(
    engine: FakeEngine, pins: Pins, tmp_path: Path
) -> None:
    (tmp_path / "chart").mkdir()
    runner = Runner()
    unpacked = replace(pins, chart_crds=os.fspath(tmp_path / "chart"))
    with (
        pytest.raises(UsageError, match="folder"),
        bundling(tmp_path / "x", unpacked, Docker(runner), lambda home: Helm(runner, home)) as made,
    ):
        made.add_charts(quiet)
