"""Asking the person in the middle of a run, at a real terminal."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass

import anyio
import pytest

from workshop.agent import events as on
from workshop.agent.view import View
from workshop.core.console import Console

QUESTION = "Open localhost in your browser?"


@dataclass
class Terminal:
    """A console at a terminal, and the person's side of it."""

    console: Console
    person: int

    async def until(self, text: str) -> str:
        """What is on the screen, once `text` is."""
        shown = b""
        with anyio.fail_after(60):
            while text.encode() not in shown:
                shown += await anyio.to_thread.run_sync(os.read, self.person, 4096, abandon_on_cancel=True)
        return shown.decode()

    async def answered(self, typed: str) -> bool | None:
        """What `View.agrees` makes of `typed`, in the middle of a step."""
        said: list[bool | None] = []
        with View(self.console) as view:
            view.observe(on.ToolCalled("look", {}))

            async def ask() -> None:
                said.append(await view.agrees(QUESTION))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await self.until(f"{QUESTION} [y/N]")
                os.write(self.person, typed.encode())
            view.observe(on.ToolReturned("look", "done", is_error=False))
        return said[0]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    person, program = os.openpty()
    with (
        os.fdopen(program, "w", encoding="utf-8") as screen,
        os.fdopen(os.dup(program), encoding="utf-8") as keyboard,
    ):
        monkeypatch.setattr("sys.stdin", keyboard)
        yield Terminal(Console(io.StringIO(), screen), person)
    os.close(person)


@pytest.mark.parametrize(("typed", "agreed"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False)])
async def test_only_a_yes_is_one(terminal: Terminal, typed: str, agreed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert await terminal.answered(typed) is agreed


async def test_another_answer_is_asked_again_and_the_decision_is_shown(terminal: Terminal) -> None:
    said: list[bool | None] = []
    with View(terminal.console) as view:

        async def ask() -> None:
            said.append(await view.agrees(QUESTION))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await terminal.until("[y/N]")
            os.write(terminal.person, b"maybe\n")
            assert "Answer y for yes or n for no" in await terminal.until(f"{QUESTION} [y/N]")
            os.write(terminal.person, b"n\n")
            await terminal.until("The page is not opened")
    assert said == [False]


async def test_the_end_of_the_keyboard_is_a_no(terminal: Terminal) -> None:
    assert await terminal.answered("\x04") is False


async def test_nothing_spins_over_what_the_person_types(terminal: Terminal) -> None:
    with View(terminal.console) as view:
        view.observe(on.ToolCalled("look", {}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.agrees, QUESTION)
            shown = await terminal.until("[y/N]")
            with anyio.move_on_after(0.3):  # it spins 12 times a second
                shown += await terminal.until("look")
            os.write(terminal.person, b"\n")
        assert "look" in await terminal.until("look"), "and then it goes on"
    assert "look" not in shown.partition("[y/N]")[2]


async def test_nobody_is_asked_where_nobody_is(terminal: Terminal) -> None:
    with View(Console(io.StringIO(), io.StringIO())) as view:
        assert await view.agrees(QUESTION) is None
    terminal.console.asks = False  # --no-input
    with View(terminal.console) as view:
        assert await view.agrees(QUESTION) is None
