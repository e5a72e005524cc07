"""What every variation runs on: programs, ports, secrets, the script that prepares it, and their end."""

import json
import os
import stat
import textwrap
from pathlib import Path
from typing import Any

import httpx2
import pytest

from workshop.agent.token_store import Login, TokenStore
from workshop.core.console import Progress
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.instance import Instance, Record
from workshop.core.ports import bind_loopback, free_port, is_free
from workshop.course import environment
from workshop.course.lessons import (
    Lesson,
    Variation,
    find_lessons,
    find_variation,
    variation_of,
    variations_of,
)
from workshop.course.variation_run import Edition, prepare, programs_of, start, stop_all, variation_running
from workshop.servers.practice.tokens import Tokens

SERVER = """
    import sys
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from workshop.core.serving import main

    def create_app(config):
        if config["edition"] == "broken":
            sys.exit("I cannot go on")
        def answer(request):
            return JSONResponse(config)
        return Starlette(routes=[Route("/health", answer), Route("/mcp", answer)])

    if __name__ == "__main__":
        main(create_app)
"""
PREPARE = """
    import json, sys
    config = json.load(open(sys.argv[2]))
    if "--cleanup" in sys.argv and config["fails"]:
        sys.exit("Error: There is nothing to clean\\n  It was never made\\n  Hint: Make it")
    print("✓ asked", config["server"])
"""
PART = """
    title = "Tiny"
    summary = "Only its configuration"
    question = "What?"
    expect = []

    [headers]
    x-github-pat = "pat-{user}"

    [[workloads]]
    name = "tiny-other"
    run = "server.py"
    local_port = {other}
    config = {{ edition = "plain" }}

    [[workloads]]
    name = "tiny"
    run = "server.py"
    local_port = {tiny}
    [workloads.config]
    edition = "{{edition}}"
    other = "{{url:tiny-other}}/api"
    files = ["{{secret:client-secret}}", "{{secret:signing-key}}", "{{secret:pat-mentor}}"]
    nested = {{ store = "{{directory}}/store", exercises = "{{exercises}}" }}
"""
PREPARED = """
    [prepare]
    run = "set_up.py"
    config = { server = "{url:tiny}", fails = true }
"""


def tiny(tmp_path: Path, *, more: str = "", part: str = PART) -> Variation:
    folder = tmp_path / "parts" / "04_any" / "variations" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    text = part.replace("{user}", "{{user}}").format(tiny=free_port(), other=free_port()) + more
    (folder / "part.toml").write_text(textwrap.dedent(text))
    (folder / "server.py").write_text(textwrap.dedent(SERVER))
    (folder / "set_up.py").write_text(textwrap.dedent(PREPARE))
    return Variation(4, folder, "tiny", Lesson(4, folder.parents[1]))


def config_of(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(url, trust_env=False).json()
    return answer


def test_a_configuration_names_where_everything_is(tmp_path: Path) -> None:
    with variation_running(tiny(tmp_path), tmp_path / "variation", exercises=tmp_path / "mine") as running:
        config = config_of(running.url)
        other = running.endpoints["tiny-other"].removesuffix("/mcp")
        assert config["other"] == f"{other}/api"
        assert config["nested"] == {
            "store": f"{running.directory}/tiny/store",
            "exercises": str(tmp_path / "mine"),
        }
        secret, key, pat = (Path(path) for path in config["files"])
        assert [stat.S_IMODE(path.stat().st_mode) for path in (secret, key, pat)] == [0o600] * 3
        assert b"PRIVATE KEY" in key.read_bytes()
        caller = Tokens(secret.read_text()).verify(pat.read_text())
        assert caller is not None
        assert caller.login == "mentor"
        assert running.headers("mentor") == {"x-github-pat": pat.read_text()}
        assert running.headers() != running.headers("mentor")
        assert config["port"] == int(running.url.split(":")[2].removesuffix("/mcp"))


def test_what_runs_stays_and_another_edition_takes_its_place(tmp_path: Path, quiet: Progress) -> None:
    variation = tiny(tmp_path)
    try:
        first = start(variation, quiet)
        again = start(variation, quiet)
        assert (first.started, again.started) == (["tiny-other", "tiny"], [])
        weak = start(variation, quiet, weak=True)
        assert weak.started == ["tiny"]
        assert weak.url == first.url
        assert config_of(weak.url)["edition"] == "weak"
    finally:
        stop_all(quiet)


def test_a_taken_port_gives_way_to_a_free_one(tmp_path: Path, quiet: Progress) -> None:
    variation = tiny(tmp_path)
    wanted = variation.programs[1].port
    taken = bind_loopback(wanted)
    try:
        running = start(variation, quiet)
        assert running.url != f"http://localhost:{wanted}/mcp"
        assert config_of(running.url)["edition"] == "mended"
    finally:
        stop_all(quiet)
        for sock in taken:
            sock.close()


def test_a_port_that_is_lost_while_it_starts_gives_way_too(
    tmp_path: Path, quiet: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two variations that start at once both find the port free; one of them gets it."""
    variation = tiny(tmp_path)
    wanted = variation.programs[1].port
    taken = bind_loopback(wanted)
    looks = iter([True, True])  # what the first look at each preferred port says
    monkeypatch.setattr(
        "workshop.course.variation_run.is_free", lambda port: next(looks, None) or is_free(port)
    )
    try:
        running = start(variation, quiet)
        assert running.url != f"http://localhost:{wanted}/mcp"
        assert sorted(running.started) == ["tiny", "tiny-other"]
    finally:
        stop_all(quiet)
        for sock in taken:
            sock.close()


def test_one_that_does_not_start_leaves_none_running_and_reports_why(tmp_path: Path, quiet: Progress) -> None:
    broken = tiny(tmp_path, part=PART.replace('edition = "{{edition}}"', 'edition = "broken"'))
    with pytest.raises(WorkshopError, match="tiny") as failed:
        start(broken, quiet)
    assert "I cannot go on" in failed.value.why
    assert programs_of(broken).endpoints() == {}


def test_stopping_them_leaves_nothing_but_the_rest(tmp_path: Path, quiet: Progress, home: Path) -> None:
    kept = Instance.load().save(Record("embedded", "practice"))
    running = start(tiny(tmp_path), quiet)
    store = TokenStore(home / "default" / "logins")
    here, there = (login_at(url) for url in (running.url, "http://localhost:8080/mcp"))
    store.save(here)
    store.save(there)
    assert sorted(stop_all(quiet)) == ["tiny", "tiny-other"]
    assert store.all() == [there]
    assert Instance.load() == kept
    assert stop_all(quiet) == []


def login_at(url: str) -> Login:
    metadata = {"issuer": url, "authorization_endpoint": url, "token_endpoint": url}
    return Login.model_validate(
        {"resource": url, "issuer": url, "client": {"client_id": "x"}, "authorization_server": metadata}
    )


def test_status_logs_and_teardown_know_of_variations(tmp_path: Path, quiet: Progress, home: Path) -> None:
    running = start(tiny(tmp_path), quiet)
    report = environment.status()
    assert not report.up
    assert {(one.name, one.state) for one in report.variations} == {
        ("tiny", "running"),
        ("tiny-other", "running"),
    }
    assert {log.name for log in environment.logs()} == {"tiny", "tiny-other"}
    assert sorted(environment.teardown(quiet)) == ["tiny", "tiny-other"]
    with pytest.raises(httpx2.ConnectError):
        config_of(running.url)
    assert list(home.rglob("*secret*")) == []
    assert environment.status().variations == []


def test_the_script_that_prepares_it_is_run_and_its_failure_reported(tmp_path: Path, quiet: Progress) -> None:
    variation = tiny(tmp_path, more=PREPARED)
    with variation_running(variation, tmp_path / "variation") as running:
        lines = prepare(running, quiet, Edition())
        assert lines == [f"✓ asked {running.url.removesuffix('/mcp')}"]
        with pytest.raises(WorkshopError, match="There is nothing to clean") as failed:
            prepare(running, quiet, Edition(), "--cleanup")
        assert failed.value.why == "It was never made"
        assert failed.value.hint == "Make it"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('name = "tiny"\n', "has no workload `tiny`"),
        ('run = "server.py"\n', r"`workloads\.1\.run` in .* is missing"),
        ("local_port", r"`workloads\.1\.other_port` in .* is unknown"),
    ],
)
def test_a_part_toml_that_is_wrong_is_reported(tmp_path: Path, wrong: str, told: str) -> None:
    part = PART.replace(wrong, "other_port" if wrong == "local_port" else "")
    if wrong.startswith("name"):
        part = PART.replace(wrong, 'name = "another"\n')
    with pytest.raises(UsageError, match=told):
        _ = tiny(tmp_path, part=part).programs


def test_a_placeholder_that_nothing_stands_for_is_reported(tmp_path: Path, quiet: Progress) -> None:
    with pytest.raises(UsageError, match="does not name a workload"):
        start(tiny(tmp_path, part=PART.replace("{{url:tiny-other}}", "{{url:nobody}}")), quiet)


def test_the_variations_of_part_4_are_found_by_name() -> None:
    lesson = find_lessons()[3]
    names = [variation.name for variation in variations_of(lesson)]
    assert names == ["worker", "elicitation", "resource-server", "prefix-gateway"]
    assert find_variation("worker").command("run") == "workshop part 4 run --variation worker"
    with pytest.raises(UsageError, match="no variation `nothing`"):
        variation_of(lesson, "nothing")
    with pytest.raises(UsageError, match="Part 1 has no variations"):
        variation_of(find_lessons()[0], "worker")


def test_nothing_of_a_room_can_be_read_by_others(tmp_path: Path) -> None:
    with variation_running(tiny(tmp_path), tmp_path / "variation") as running:
        for folder, _, files in os.walk(running.directory):
            assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
            for name in files:
                if name != "log.txt":
                    assert stat.S_IMODE((Path(folder) / name).stat().st_mode) == 0o600, name
        assert json.loads((running.directory / "tiny" / "config.json").read_text())["edition"] == "mended"
