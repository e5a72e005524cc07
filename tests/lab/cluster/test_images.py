"""Images are pulled, built and loaded where they are missing or another build, and left alone otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.cluster.fake_engine import FakeEngine, archive_of
from tests.lab.tools.fakes import FakeTools
from workshop.core.errors import WorkshopError
from workshop.lab.cluster.images import Images
from workshop.lab.cluster.recipes import BASE_LABEL, LABEL, recipes_for
from workshop.lab.pins import Archive, Pins, pinned
from workshop.lab.tools.clusters import Kind
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

PINS = pinned()
OPERATOR_IN_NODE = PINS.operator
SERVER_IN_NODE = f"docker.io/{PINS.mcp_server}"


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "KIND_EXPERIMENTAL_PROVIDER", "WORKSHOP_BUILD_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    return FakeTools(tmp_path / "fakes", monkeypatch)


@pytest.fixture
def engine(fakes: FakeTools) -> FakeEngine:
    return FakeEngine(fakes)


@pytest.fixture
def kind() -> Kind:
    return Kind(Runner())


def images(folder: Path, pins: Pins = PINS) -> Images:
    return Images(Docker(Runner()), pins, folder / "images")


def quiet(_told: str) -> None:
    pass


def built(engine: FakeEngine, name: str = "mcp_server", image_id: str = "sha256:aa") -> None:
    """The engine has what these pins build, and not what the first of it was built on."""
    for recipe in recipes_for(name, PINS):
        engine.has(recipe.tag, image_id, labels={LABEL: recipe.made_of(), BASE_LABEL: image_id})


def test_an_image_is_pulled_for_the_engines_platform_only_when_it_is_absent(
    engine: FakeEngine, tmp_path: Path
) -> None:
    engine.has(PINS.operator, "sha256:aa")
    names = ("operator", "proxy_runner")
    assert not images(tmp_path).fetched(names)
    images(tmp_path).fetch(names, quiet)
    (pull,) = engine.did("docker", "pull")
    assert pull[-1] == PINS.proxy_runner
    assert "linux/amd64" in pull


def test_an_image_of_another_platform_is_pulled_again(engine: FakeEngine, tmp_path: Path) -> None:
    engine.has(PINS.operator, "sha256:aa", architecture="arm64")
    images(tmp_path).fetch(["operator"], quiet)
    assert engine.did("docker", "pull")


def test_an_image_is_built_once_and_again_when_its_files_change(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    images(tmp_path).fetch(["mcp_server"], quiet)
    assert engine.did("docker", "pull", PINS.python)  # a build would not try without a stale login
    (build,) = engine.fakes.calls("docker", "build")
    assert build.argv[build.argv.index("--build-arg") + 1] == "PYTHON_IMAGE"
    assert "HTTPS_PROXY" in build.argv
    assert not [word for word in build.argv if "proxy.example" in word or PINS.python in word]
    assert build.env["PYTHON_IMAGE"] == PINS.python
    label = build.argv[build.argv.index("--label") + 1]
    engine.has(PINS.mcp_server, "sha256:aa", labels=dict([label.split("=", 1)]))
    assert images(tmp_path).fetched(["mcp_server"])
    engine.has(PINS.mcp_server, "sha256:aa", labels={LABEL: "other files"})
    assert not images(tmp_path).fetched(["mcp_server"])


def test_what_the_practice_image_stands_on_is_built_first(engine: FakeEngine, tmp_path: Path) -> None:
    images(tmp_path).fetch(["practice"], quiet)
    tags = [build[build.index("--tag") + 1] for build in engine.did("docker", "build")]
    assert tags == [PINS.mcp_server, PINS.practice]


def test_nothing_is_built_while_the_files_and_the_bases_are_the_same(
    engine: FakeEngine, tmp_path: Path
) -> None:
    built(engine, "practice")
    names = ("mcp_server", "practice")
    assert images(tmp_path).fetched(names)
    images(tmp_path).fetch(names, quiet)
    assert not engine.did("docker", "build")


def test_what_stands_on_an_image_is_built_anew_when_that_has_become_another(
    engine: FakeEngine, tmp_path: Path
) -> None:
    built(engine, "practice")
    (server, _) = recipes_for("practice", PINS)
    engine.has(PINS.mcp_server, "sha256:new", labels={LABEL: server.made_of()})
    assert images(tmp_path).fetched(["mcp_server"])
    assert not images(tmp_path).fetched(["practice"])
    images(tmp_path).fetch(["mcp_server", "practice"], quiet)
    (build,) = engine.did("docker", "build")
    assert build[build.index("--tag") + 1] == PINS.practice
    assert f"{BASE_LABEL}=sha256:new" in build


def test_an_image_on_another_pull_of_python_is_built_anew(engine: FakeEngine, tmp_path: Path) -> None:
    built(engine)
    engine.has(PINS.python, "sha256:another")
    assert not images(tmp_path).fetched(["mcp_server"])


def test_an_image_of_the_same_name_that_somebody_else_built_is_built_anew(
    engine: FakeEngine, tmp_path: Path
) -> None:
    engine.has(PINS.mcp_server, "sha256:foreign")
    assert not images(tmp_path).fetched(["mcp_server"])


def test_an_image_built_elsewhere_is_pulled_not_built(engine: FakeEngine, tmp_path: Path) -> None:
    pins = Pins.load({"mcp-server": "lab.example/mcp-server:1"})
    images(tmp_path, pins).fetch(["mcp_server"], quiet)
    assert engine.did("docker", "pull", "lab.example/mcp-server:1")
    assert not engine.did("docker", "build")


def test_the_build_network_is_a_choice(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_BUILD_NETWORK", "host")
    images(tmp_path).fetch(["mcp_server"], quiet)
    (build,) = engine.did("docker", "build")
    assert build[build.index("--network") + 1] == "host"


def test_the_node_is_given_what_it_lacks_by_an_archive_of_one_platform(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    built(engine)
    engine.has(PINS.operator, "sha256:bb")
    engine.saves({PINS.operator: "sha256:bb"})
    engine.node_has({SERVER_IN_NODE: "sha256:aa"})
    names = ("operator", "mcp_server")
    assert not images(tmp_path).loaded(kind, names)
    assert images(tmp_path).load(kind, names, quiet) == (PINS.operator,)
    (save,) = engine.did("docker", "save")
    assert save[save.index("--platform") + 1] == "linux/amd64"
    (load,) = engine.did("docker", "exec", "import")
    assert load[:4] == ["docker", "exec", "--interactive", f"{PINS.cluster_name}-control-plane"]
    assert not list((tmp_path / "images").glob("load-*"))


def test_images_that_the_node_lacks_come_in_one_archive(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    built(engine, "practice")
    engine.saves({PINS.mcp_server: "sha256:aa", PINS.practice: "sha256:aa"})
    told: list[str] = []
    names = ("mcp_server", "practice")
    assert images(tmp_path).load(kind, names, told.append) == (PINS.mcp_server, PINS.practice)
    (save,) = engine.did("docker", "save")
    assert save[-2:] == [PINS.mcp_server, PINS.practice]
    assert len(engine.imports()) == 1
    assert told == [f"loading {PINS.mcp_server}, {PINS.practice}"]


def test_what_was_saved_while_there_was_no_node_is_loaded_from_that_archive(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    built(engine)
    engine.saves({PINS.mcp_server: "sha256:aa"})
    found = images(tmp_path)
    found.save(["mcp_server"], quiet)
    assert list((tmp_path / "images").glob("load-*/images.tar"))
    assert found.load(kind, ["mcp_server"], quiet) == (PINS.mcp_server,)
    assert (len(engine.did("docker", "save")), len(engine.imports())) == (1, 1)
    assert not list((tmp_path / "images").glob("load-*"))


def test_what_cannot_be_saved_early_is_an_error_of_the_load_that_tries_again(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    built(engine)
    engine.fakes.on("docker", "save", code=1, stderr="no space left on device")
    found = images(tmp_path)
    found.save(["mcp_server"], quiet)
    with pytest.raises(WorkshopError, match="docker save"):
        found.load(kind, ["mcp_server"], quiet)
    del found
    assert not list((tmp_path / "images").glob("load-*")), "nothing stays of an archive that nobody loads"


def test_kind_loads_what_the_nodes_own_import_refuses(engine: FakeEngine, kind: Kind, tmp_path: Path) -> None:
    engine.has(PINS.operator, "sha256:aa")
    engine.saves({PINS.operator: "sha256:aa"})
    engine.fakes.on("docker", "exec", "import", stderr="flag provided but not defined: -local", code=1)
    images(tmp_path).load(kind, ["operator"], quiet)
    (load,) = engine.did("kind", "load")
    assert load[-2:] == ["--name", PINS.cluster_name]
    engine.fakes.on("kind", "load", stderr="ERROR: no space left on device", code=1)
    with pytest.raises(WorkshopError, match="kind load") as caught:
        images(tmp_path).load(kind, ["operator"], quiet)
    assert "no space left" in caught.value.why


def test_an_image_of_the_same_name_and_another_build_is_loaded_anew(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    built(engine, image_id="sha256:new")
    engine.saves({PINS.mcp_server: "sha256:new"})
    engine.node_has({SERVER_IN_NODE: "sha256:old"})
    assert images(tmp_path).load(kind, ["mcp_server"], quiet) == (PINS.mcp_server,)
    engine.node_has({SERVER_IN_NODE: "sha256:new"})
    assert images(tmp_path).load(kind, ["mcp_server"], quiet) == ()
    assert len(engine.imports()) == 1


def test_with_dockers_containerd_store_an_image_is_recognised_by_its_configuration(
    fakes: FakeTools, kind: Kind, tmp_path: Path
) -> None:
    engine = FakeEngine(fakes, containerd_store=True)
    engine.has(PINS.operator, "sha256:index")
    engine.saves({PINS.operator: "sha256:config"})
    engine.node_has({OPERATOR_IN_NODE: "sha256:config"})
    images(tmp_path).load(kind, ["operator"], quiet)
    assert not engine.imports()
    assert images(tmp_path).loaded(kind, ["operator"])
    images(tmp_path).load(kind, ["operator"], quiet)
    assert len(engine.did("docker", "save")) == 1


def test_the_node_pulls_what_docker_has_not_kept_whole(fakes: FakeTools, kind: Kind, tmp_path: Path) -> None:
    engine = FakeEngine(fakes, containerd_store=True)
    engine.has(PINS.operator, "sha256:index")
    built(engine)
    told = "Error response from daemon: no suitable export target found: image was found but does not provide"
    fakes.on("docker", "save", stderr=told, code=1)
    with pytest.raises(WorkshopError, match="docker save"):
        images(tmp_path).load(kind, ["mcp_server"], quiet)
    assert not engine.did("docker", "exec", "crictl", "pull")
    engine.node_has({OPERATOR_IN_NODE: "sha256:config"})
    assert images(tmp_path).load(kind, ["operator"], quiet) == (PINS.operator,)
    assert engine.did("docker", "exec", "crictl", "pull", PINS.operator)
    assert images(tmp_path).loaded(kind, ["operator"])


def test_one_image_that_is_not_whole_does_not_keep_the_other_from_its_archive(
    fakes: FakeTools, kind: Kind, tmp_path: Path
) -> None:
    engine = FakeEngine(fakes, containerd_store=True)
    for reference in (PINS.operator, PINS.proxy_runner):
        engine.has(reference, "sha256:index")
    engine.saves({PINS.proxy_runner: "sha256:runner"})
    told = "Error response from daemon: no suitable export target found: image was found but does not provide"
    fakes.on("docker", "save", PINS.operator, stderr=told, code=1)
    images(tmp_path).load(kind, ["operator", "proxy_runner"], quiet)
    assert engine.did("docker", "exec", "crictl", "pull", PINS.operator)
    assert not engine.did("docker", "exec", "crictl", "pull", PINS.proxy_runner)
    assert len(engine.imports()) == 1


def test_with_a_mirror_the_node_pulls_what_the_engine_has_not(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    pins = Pins.load({"registry-mirror": "http://mirror.example:5000"})
    found = images(tmp_path, pins)
    assert found.fetched(["operator"])
    found.load(kind, ["operator"], quiet)
    assert engine.did("docker", "exec", "crictl", "pull", PINS.operator)
    assert not engine.did("docker", "pull", "--quiet")
    assert not found.fetched(["node_image"])
    engine.node_has({OPERATOR_IN_NODE: "sha256:whatever the mirror had"})
    assert found.loaded(kind, ["operator"])


def test_what_a_bundle_brought_is_neither_pulled_nor_built_nor_saved(
    engine: FakeEngine, kind: Kind, tmp_path: Path
) -> None:
    names = ("node_image", "operator", "mcp_server")
    archives = {
        str(getattr(PINS, name)): Archive(archive_of(tmp_path, f"{name}.tar"), f"sha256:{name}")
        for name in names
    }
    found = images(tmp_path, replace(PINS, archives=archives, prebuilt=frozenset({"mcp_server"})))
    found.fetch(names, quiet)
    assert [call[-1] for call in engine.did("docker", "load")] == [str(tmp_path / "node_image.tar")]
    engine.node_has({OPERATOR_IN_NODE: "sha256:operator", SERVER_IN_NODE: "sha256:another"})
    assert found.load(kind, names[1:], quiet) == (PINS.mcp_server,)
    assert engine.imports() == ["archive of mcp_server.tar"]
    assert not [word for word in ("pull", "build", "save") if engine.did("docker", word)]


def test_a_cluster_without_a_node_is_reported(engine: FakeEngine, kind: Kind, tmp_path: Path) -> None:
    engine.fakes.on("kind", "get", "nodes", stdout="")
    with pytest.raises(WorkshopError, match="no cluster"):
        images(tmp_path).loaded(kind, ["operator"])


def test_the_plan_tells_each_command_once(engine: FakeEngine, tmp_path: Path) -> None:
    planned, names = images(tmp_path), ["node_image", "operator", "mcp_server", "practice"]
    lines = [*planned.plan_fetch(names), *planned.plan_save(names[1:]), *planned.plan_load(names[1:])]
    assert lines[0] == f"docker pull {PINS.node_image}"
    assert len([line for line in lines if f"--tag {PINS.mcp_server}" in line]) == 1
    assert len([line for line in lines if line.startswith("kind load image-archive")]) == 1
    assert len([line for line in lines if line.startswith("docker save")]) == 1
    assert len(set(lines)) == len(lines)
    assert engine.fakes.argvs() == []


def test_a_note_of_ids_that_is_damaged_is_no_note(engine: FakeEngine, kind: Kind, tmp_path: Path) -> None:
    engine.has(PINS.operator, "sha256:index")
    engine.node_has({OPERATOR_IN_NODE: "sha256:config"})
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "image-ids.json").write_text("{")
    assert not images(tmp_path).loaded(kind, ["operator"])
    (tmp_path / "images" / "image-ids.json").write_text(json.dumps({"sha256:index": "sha256:config"}))
    assert images(tmp_path).loaded(kind, ["operator"])
