"""The practice GitHub of a class: a user for each seat, and a record that only the seat itself can read."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.servers.practice.conftest import (
    CONTROL,
    SECRET,
    URL,
    Clock,
    Practice,
    read_form,
    text_of,
)
from tests.servers.practice.process import Process
from workshop.core.errors import UsageError
from workshop.core.seats import record_key, seat_numbers
from workshop.servers.practice import catalog
from workshop.servers.practice.app import create_app
from workshop.servers.practice.client import fingerprint, read_requests
from workshop.servers.practice.config import RECORD_SECRET, PracticeConfig
from workshop.servers.practice.recorder import Recorder
from workshop.servers.practice.tokens import Tokens

ROOM = "the secret of one room"


def key_of(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {record_key(ROOM, user)}"}


@pytest.fixture
async def room(config: PracticeConfig, anyio_backend: str) -> AsyncIterator[Practice]:
    app = create_app(config.with_seats(30, {RECORD_SECRET: f"{ROOM}\n"}), Clock())
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=URL) as browser,
    ):
        practice = Practice(app, config, Clock(), browser)
        practice.tokens = Tokens(ROOM)
        yield practice


async def log_in(room: Practice, user: str) -> str:
    """An access token of this user, with a browser of its own."""
    async with room.another_browser() as browser:
        visitor = Practice(room.app, room.config, room.clock, browser)
        code = (await visitor.decide(user, login=user))["code"]
        token: str = (await visitor.exchange(code))["access_token"]
        return token


async def record(room: Practice, headers: dict[str, str], **query: str) -> httpx2.Response:
    return await room.browser.get("/practice/requests", headers=headers, params=query)


def test_the_number_of_a_seat_stays_when_there_are_more_seats() -> None:
    assert seat_numbers(3) == ["01", "02", "03"]
    assert seat_numbers(120)[::119] == ["01", "120"]


@pytest.mark.parametrize("count", [30, 300])
def test_no_two_seats_have_the_same_answer_to_the_question(count: int) -> None:
    logins = [f"seat-{number}" for number in seat_numbers(count)]
    found = catalog.with_seats(catalog.load(), logins)
    assert found.repositories == catalog.with_seats(catalog.load(), logins).repositories, (
        "the same on each machine"
    )
    answers = set()
    for login in logins:
        own = [repository for repository in found.repositories if repository.owner == login]
        assert len(own) == 4
        busiest = max(own, key=lambda repository: len(repository.open_issues))
        newest = max(busiest.open_issues, key=lambda issue: issue.created_at)
        assert len(busiest.open_issues) == 4
        answers.add((busiest.name, newest.title))
    assert len(answers) == count
    assert len({repository.id for repository in found.repositories}) == len(found.repositories)
    assert len({user.id for user in found.users.values()}) == len(found.users)


def test_without_seats_the_data_is_unchanged() -> None:
    assert catalog.with_seats(catalog.load(), ()) == catalog.load()


async def test_the_page_has_the_button_of_the_seat_that_the_app_names_and_otherwise_all(
    room: Practice,
) -> None:
    named = read_form((await room.browser.get(room.page_url(login="seat-07"))).text)
    assert named.buttons == [("user", "seat-07"), ("user", "deny")]
    every = read_form((await room.browser.get(room.page_url(login="learner"))).text)
    assert len(every.buttons) == 31
    assert ("user", "learner") not in every.buttons


async def test_only_a_seat_can_log_in(room: Practice) -> None:
    form = await room.form()
    answer = await room.browser.post("/login/oauth/authorize", data={**form, "user": "learner"})
    assert (answer.status_code, "Unknown practice user" in answer.text) == (400, True)


async def test_each_seat_finds_its_own_newest_issue(room: Practice) -> None:
    titles = []
    for user in ("seat-01", "seat-08"):
        async with room.mcp(await log_in(room, user)) as client:
            arguments = {"owner": user, "repo": "trail-mapper", "state": "OPEN"}
            found = await client.call_tool("list_issues", arguments)
            assert json.loads(text_of(await client.call_tool("get_me", {})))["login"] == user
            titles.append(json.loads(text_of(found))["issues"][0]["title"])
    assert titles == ["GPX export drops waypoint 2", "KML export drops waypoint 3"]


async def test_the_key_of_one_seat_shows_its_own_record_and_no_other(room: Practice) -> None:
    for user in ("seat-01", "seat-02"):
        token = await log_in(room, user)
        await room.browser.get("/user", headers={"Authorization": f"Bearer {token}"})
    found = (await record(room, key_of("seat-01"))).json()["requests"]
    assert [(each["method"], each["path"]) for each in found] == [
        ("GET", "/login/oauth/authorize"),
        ("POST", "/login/oauth/authorize"),
        ("POST", "/login/oauth/access_token"),
        ("GET", "/user"),
    ]
    assert found[1]["form"]["user"] == "seat-01"
    assert "seat-02" not in json.dumps(found)


async def test_attack_nothing_but_a_seats_own_key_shows_a_record(room: Practice) -> None:
    token = await log_in(room, "seat-02")
    forged = Tokens(SECRET).issue("seat-02", ("repo",))
    keys = ["", record_key(ROOM, "seat-31"), record_key(SECRET, "seat-02"), record_key(ROOM, "learner"), "é"]
    for key in [*keys, token, forged, "seat-02", ROOM]:
        headers = {b"Authorization": f"Bearer {key}".encode()} if key else {}
        answer = await room.browser.get("/practice/requests", headers=headers)
        assert answer.status_code == 401, key
        assert "seat-02" not in answer.text
    basic = {"Authorization": key_of("seat-02")["Authorization"].replace("Bearer", "Basic")}
    assert (await record(room, basic)).status_code == 401
    assert "seat-02" not in (await room.browser.get("/")).text.replace("seat-01 to seat-30", "")
    # The app's secret is in every seat's namespace: a token that is made with it is not valid.
    assert (await room.browser.get("/user", headers={"Authorization": f"Bearer {forged}"})).status_code == 401


async def test_attack_no_seat_can_switch_or_reset_what_all_share(room: Practice) -> None:
    token = await log_in(room, "seat-02")
    for path in ("faults", "switches", "reset"):
        body = {"target": "mcp", "fault": "500", "skip_consent": True}
        answer = await room.browser.post(
            f"/practice/{path}", json=body, headers={**CONTROL, **key_of("seat-01")}
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "Nothing can be switched here")
    assert (await room.browser.get("/user", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_a_credential_of_nobody_is_shown_to_whoever_has_it(room: Practice) -> None:
    """The agent's own token that a proxy passes on by mistake names no user, and must not go unnoticed."""
    await room.browser.post("/mcp/", headers={"Authorization": "Bearer the-agents-own-token"})
    assert (await record(room, key_of("seat-01"))).json()["requests"] == []
    digest = fingerprint("the-agents-own-token")
    (found,) = (await record(room, key_of("seat-01"), sha256=digest)).json()["requests"]
    assert (found["path"], found["headers"]["authorization"]["sha256"]) == ("/mcp/", digest)
    # A fingerprint opens no record of another seat.
    token = await log_in(room, "seat-02")
    await room.browser.get("/user", headers={"Authorization": f"Bearer {token}"})
    assert (await record(room, key_of("seat-01"), sha256=fingerprint(token))).json()["requests"] == []


async def test_200_logins_at_once(config: PracticeConfig, anyio_backend: str) -> None:
    app = create_app(config.with_seats(200, {RECORD_SECRET: ROOM}))
    async with app.router.lifespan_context(app), httpx2.AsyncClient() as browser:
        room = Practice(app, config, Clock(), browser)
        users = [f"seat-{number}" for number in seat_numbers(200)]
        tokens = await asyncio.gather(*(log_in(room, user) for user in users))
    callers = [Tokens(ROOM).verify(token) for token in tokens]
    assert [caller and caller.login for caller in callers] == users


def test_many_seats_share_the_memory_of_the_record() -> None:
    assert Recorder(30)._requests["seat-01"].maxlen == 500
    assert Recorder(200)._requests["seat-01"].maxlen == 100
    assert Recorder(1000)._requests["seat-02"].maxlen == 20


@pytest.mark.parametrize(
    ("seats", "environment", "named"),
    [(3, {}, RECORD_SECRET), (3, {RECORD_SECRET: " "}, RECORD_SECRET), (-1, {}, "-1")],
)
def test_seats_without_a_secret_are_refused(
    config: PracticeConfig, seats: int, environment: dict[str, str], named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        config.with_seats(seats, environment)
    assert named in caught.value.what


@pytest.fixture
def start_room(config_file: Path, port: int) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(config_file, "--seats", "3", **{RECORD_SECRET: ROOM}))
        started[-1].wait_until_it_serves(port)
        return started[-1]

    yield start
    for process in started:
        process.kill()


async def test_the_process_has_the_seats_and_reads_their_secret_from_its_environment(
    start_room: Callable[[], Process], port: int
) -> None:
    start_room()
    url, token = f"http://localhost:{port}", Tokens(ROOM).issue("seat-03", ("repo",))
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
        assert (await http.get(f"{url}/user")).json()["login"] == "seat-03"
    (found,) = await read_requests(url, record_key(ROOM, "seat-03"))
    assert (found.authorization or {})["user"] == "seat-03"
    with pytest.raises(httpx2.HTTPStatusError, match="401"):
        await read_requests(url)
