"""The page of `workshop room status --page`: who may read it, and what it shows."""

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from workshop.core.errors import DeadlineError
from workshop.course.page import room as page_of_room
from workshop.course.page.room import RoomPage
from workshop.lab.room.status import Problem, RoomStatus, SeatStatus, SharedStatus

PORT = 23457
BAD = "</td><script>alert(1)</script>"


def state(person: str = "Ann", *problems: Problem) -> RoomStatus:
    seat = SeatStatus("01", "monday-01", person, 4, 2, ("3/one", "4/two"), "", 1, 4, problems)
    return RoomStatus("monday", [seat], [SharedStatus("practice-github", 1, 1, [])])


class Cluster:
    """Answers with each of these states in turn, then with the last one; an error is raised."""

    def __init__(self, *states: RoomStatus | DeadlineError) -> None:
        self.states = list(states)
        self.looks = 0

    def look(self) -> RoomStatus:
        self.looks += 1
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(found, DeadlineError):
            raise found
        return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_of_room, "_LOOK_SECONDS", 0.001)


async def contents(page: RoomPage, number: int) -> list[str]:
    """The HTML of the first changes."""
    found = []
    async for text in page._changes():
        if text.startswith("event: room\n"):
            found.append(json.loads(text.splitlines()[1].removeprefix("data: "))["html"])
        if len(found) == number:
            break
    return found


@pytest.fixture
async def http() -> AsyncIterator[tuple[RoomPage, httpx2.AsyncClient]]:
    page = RoomPage("monday", Cluster(state()).look, PORT)
    transport = httpx2.ASGITransport(app=page.app())
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://localhost:{PORT}") as client:
        yield page, client


async def test_the_printed_address_shows_the_room_under_a_strict_policy(
    http: tuple[RoomPage, httpx2.AsyncClient],
) -> None:
    page, client = http
    answer = await client.get(page.url)
    assert answer.status_code == 200
    assert "Room monday" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert (await client.post(page.url)).status_code == 405


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/wrong-token/", {}, 404),
        ("/wrong-token/events", {}, 404),
        ("/", {}, 404),
        ("TOKEN/", {"Host": f"attacker.example:{PORT}"}, 421),
        ("TOKEN/", {"Origin": "https://attacker.example"}, 403),
        ("TOKEN/events", {"Origin": "null"}, 403),
    ],
)
async def test_nobody_else_reads_it(
    http: tuple[RoomPage, httpx2.AsyncClient], path: str, headers: dict[str, str], status: int
) -> None:
    page, client = http
    answer = await client.get(path.replace("TOKEN", page.base), headers=headers)
    assert answer.status_code == status
    assert "monday" not in answer.text


@pytest.mark.usefixtures("quick")
async def test_it_shows_each_seat_and_what_changes() -> None:
    problem = Problem("FailedCreate: exceeded quota", "The quota is used up")
    first, second = await contents(RoomPage("monday", Cluster(state(), state("Ann", problem)).look, PORT), 2)
    assert "1 seats, 1 in part 4; 2 checks passed; nothing is wrong" in first
    assert "<td>Ann</td><td>4</td><td>2</td>" in first
    assert "1 of 4" in first
    assert "FailedCreate" not in first
    assert "Seat 01 (Ann): FailedCreate: exceeded quota" in second
    assert "→ The quota is used up" in second
    assert "practice-github: 1 of 1 pods ready" in second


@pytest.mark.usefixtures("quick")
async def test_a_name_that_is_markup_is_shown_as_text() -> None:
    (shown,) = await contents(RoomPage("monday", Cluster(state(BAD, Problem(BAD, BAD))).look, PORT), 1)
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") == 4


@pytest.mark.usefixtures("quick")
async def test_a_cluster_that_stops_answering_leaves_the_last_state_and_a_note() -> None:
    silent = DeadlineError("The cluster's API server does not answer at https://127.0.0.1:6443")
    states = (silent, state(), silent, state())
    found = await contents(RoomPage("monday", Cluster(*states).look, PORT), 4)
    notes = ["does not answer" in html for html in found]
    tables = ["<td>Ann</td>" in html for html in found]
    assert notes == [True, False, True, False]
    assert tables == [False, True, True, True]


async def test_all_who_have_it_open_share_one_look() -> None:
    cluster = Cluster(state())
    page = RoomPage("monday", cluster.look, PORT)
    for _ in range(3):
        assert "Room monday" in (await page._update())["html"]
    assert cluster.looks == 1
