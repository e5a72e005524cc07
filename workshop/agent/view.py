"""Show a run as it happens: each event becomes a line of progress."""

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from workshop.agent import events as on
from workshop.core import hops
from workshop.core.console import Console, Progress, Step
from workshop.core.errors import WorkshopError
from workshop.core.text import counted, one_line, unbroken, yes_or_no


async def typed_line() -> str:
    """The next line from the terminal; empty at its end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def settle(text: str) -> None:
        if not answer.done():
            answer.set_result(text)

    def read() -> None:
        # Not `sys.stdin.read`: a thread that waits in it holds a lock that the interpreter needs to exit.
        try:
            text = os.read(sys.stdin.fileno(), 1024).decode("utf-8", "replace")
        except (OSError, ValueError):
            text = ""
        with contextlib.suppress(RuntimeError):  # the loop may have ended before the person typed
            loop.call_soon_threadsafe(settle, text)

    threading.Thread(target=read, daemon=True).start()
    return await answer


_SHOWN_ID = 24
_SHOWN_NAME = 80
_SHOWN_ARGUMENTS = 120
_SHOWN_TEXT = 300
_SHOWN_TOOLS = 60
_MINUTE, _HOUR = 60, 3600
_OF_A_PERSON = ("approval", "page")
_APPROVE = {
    "browser": "your browser opens to approve the login. If it does not, open this address:",
    "printed": "open this address in a browser on this computer to approve the login:",
    "practice user": "approving as practice user {user}, without a browser",
    "practice deny": "declining on the practice GitHub's page, without a browser",
}
_PRACTICE = "  without a browser: stop with Ctrl-C, and add `--approve-as {user}` to the command"
_DENIES = "deny"  # a choice on the practice GitHub's page, not a user
_WANTED = "{server} needs you at a page before it can answer. Its message: {message}"
_OPENING = {
    "browser": "Your browser opens {host}; the agent waits until you are done there",
    "printed": "Open that address in a browser on this computer; the agent waits until you are done there",
    "practice user": "Going there as practice user {user}, without a browser",
}

_SENTENCES: Mapping[type[on.Event], str] = {
    on.Asked: "Question: {question}",
    on.ModelAnnounced: "Model: {name}",
    on.LoginRequired: "{url} answered {status}: it requires a login",
    on.ResourceDiscovered: "the resource is {resource}; {issuer} issues its tokens",
    on.ServerDiscovered: "{issuer} lists its endpoints, and supports PKCE",
    on.ClientRegistered: "registered as client {client_id}",
    on.ClientForgotten: "  {issuer} no longer knows this client; registering again",
    on.Approved: "the code came back to the agent",
    on.TokenReceived: "exchanged the code for token 1{lifetime}, scope: {scope}",
    on.TokenRefreshed: "refreshed token 1{lifetime}; no approval needed",
    on.LoginReused: "  a login at {issuer} is stored; the agent tries it first",
    on.ToolsFound: "{count}: {names}",
    on.Warned: "Warning: {text}",
}
_HOPS: Mapping[type[on.Event], int] = {
    on.LoginRequired: hops.REFUSAL,
    on.ResourceDiscovered: hops.RESOURCE,
    on.ServerDiscovered: hops.ISSUER,
    on.ClientRegistered: hops.REGISTRATION,
    on.ApprovalNeeded: hops.CONSENT,
    on.Approved: hops.CODE,
    on.TokenReceived: hops.TOKEN,
    on.TokenRefreshed: hops.TOKEN,
}
_WAIT = f"hop {hops.SIGN_IN}  wait for the sign-in"
_FROM_HERE = f"  hop {hops.SWAP}  from here on, each request carries token 1"


class View:
    """An observer that prints to a console; a context manager, so that a failed step is shown as failed."""

    def __init__(self, console: Console, *, practice: str = "") -> None:
        """`practice` is the user that can approve; it is empty unless the upstream is the practice GitHub."""
        self._console = console
        self._practice = practice
        self._stack = contextlib.ExitStack()
        self._progress: Progress | None = None
        self._open: list[tuple[str, Step, contextlib.AbstractContextManager[Step]]] = []

    def __enter__(self) -> Self:
        self._progress = self._stack.enter_context(self._console.progress())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            _, _, step = self._open.pop()
            step.__exit__(kind, error, trace)
        self._stack.close()

    def observe(self, event: on.Event) -> None:
        """Show one event; each text in it is foreign."""
        match event:
            case on.Connecting(target):
                self._begin("connect", f"Connect to {one_line(target, _SHOWN_TEXT)}")
            case on.Connected(_, server, protocol):
                self._end("connect", ", ".join(filter(None, (_name(server), f"MCP {_name(protocol)}"))))
            case on.ApprovalNeeded():
                self._stop("approval", "another approval is needed")
                self._approve(event)
                bound = None if event.way == "practice user" else event.seconds
                self._begin("approval", _WAIT, bound=bound)
            case on.Approved():
                self._end("approval", "the browser came back")
                self._say(_sentence(event))
            case on.PageRequested() | on.PageOpened():
                self._show_page(event)
            case on.ModelAsked(turn):
                self._begin("model", f"Model, turn {turn}")
            case on.ModelReplied(_, calls):
                self._end("model", f"asks for {counted(calls, 'tool call')}" if calls else "answers")
            case on.ToolCalled(name, arguments):
                self._begin("call", f"Call {_name(name)}({_arguments(arguments)})")
            case on.ToolReturned(_, text, is_error):
                self._end("page", "the tool goes on")
                self._end("call", one_line(text), failed=is_error)
            case _:
                self._say_sentence(event)

    def _say_sentence(self, event: on.Event) -> None:
        if isinstance(event, on.ClientForgotten):
            self._stop("approval", "the client is not known there")
        self._say(_sentence(event))
        if isinstance(event, on.TokenReceived):
            self._say(_FROM_HERE)

    def _approve(self, event: on.ApprovalNeeded) -> None:
        if event.way == "practice user":
            way = "practice deny" if event.user == _DENIES else event.way
            self._say(_numbered(event, _APPROVE[way].format(user=event.user)))
        else:  # also with --quiet, because somebody has to open it
            self._tell(_numbered(event, _APPROVE[event.way]), f"  {event.url}")
            if self._practice and event.way == "printed":
                self._tell(_PRACTICE.format(user=self._practice))

    def _show_page(self, event: on.PageRequested | on.PageOpened) -> None:
        if isinstance(event, on.PageRequested):
            self._tell(_WANTED.format(**_values(event)), f"  {event.url}")
        else:
            show = self._say if event.way == "practice user" else self._tell
            show(_OPENING[event.way].format(**_values(event)))
            if event.way != "practice user":
                self._begin("page", "Wait for you at that page", bound=event.seconds)

    async def agrees(self, question: str) -> bool | None:
        """Ask the person at the terminal; None means that nobody can be asked."""
        if self._progress is None or not self._console.can_ask:
            return None
        for _, step, _ in self._open:
            step.pause()
        with self._progress.paused():
            agreed = await self._answer(question)
        for _, step, _ in self._open:
            step.resume()
        self._say("" if agreed else "The page is not opened; the tool call goes on without it")
        return agreed

    async def _answer(self, question: str) -> bool:
        while True:
            self._console.tell(unbroken(f"{question} [y/N]"), "bold")
            # The end of the input is an empty line, which is a no.
            if (answer := yes_or_no(await typed_line())) is not None:
                return answer
            self._console.tell("Answer y for yes or n for no")

    def _say(self, text: str) -> None:
        if self._progress and text:
            self._progress.say(unbroken(text))

    def _tell(self, *lines: str) -> None:
        for line in lines:
            if self._progress:
                self._progress.tell(unbroken(line))

    def _begin(self, kind: str, label: str, *, bound: float | None = None) -> None:
        if self._progress is None:
            return
        if kind in _OF_A_PERSON:  # their time is not the connection's, nor the tool's
            for _, step, _ in self._open:
                step.pause()
        opened = self._progress.step(unbroken(label), bound=bound)
        self._open.append((kind, opened.__enter__(), opened))

    def _end(self, kind: str, detail: str, *, failed: bool = False) -> None:
        """End the innermost step of this kind, and stop what was begun inside it and has not ended."""
        failure = WorkshopError(detail) if failed else None
        self._close(kind, detail, failure)

    def _stop(self, kind: str, detail: str) -> None:
        """Show a step of this kind as stopped, if there is one."""
        self._close(kind, detail, KeyboardInterrupt())

    def _close(self, kind: str, detail: str, failure: BaseException | None) -> None:
        while any(name == kind for name, _, _ in self._open):
            name, step, opened = self._open.pop()
            if name != kind:
                opened.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
                continue
            step.note(unbroken(detail))
            opened.__exit__(type(failure) if failure else None, failure, None)
            if kind in _OF_A_PERSON:
                for _, outer, _ in self._open:
                    outer.resume()
            return


def _sentence(event: on.Event) -> str:
    values = _values(event)
    if "seconds" in values:
        values["lifetime"] = _lifetime(values["seconds"])
    if isinstance(event, on.ToolsFound):
        values = {"count": counted(len(event.names), "tool"), "names": _names(event.names)}
    if isinstance(event, on.ClientRegistered):
        values = {"client_id": one_line(event.client_id, _SHOWN_ID)}
    return _numbered(event, _SENTENCES.get(type(event), "").format(**values))


def _numbered(event: on.Event, text: str) -> str:
    """The text, with the number of its hop of the handshake if it is one."""
    number = _HOPS.get(type(event))
    return f"  hop {number}  {text}" if number else text


def _values(event: on.Event) -> dict[str, Any]:
    """The fields of an event, each text on one line."""
    fields = vars(event).items()
    return {name: one_line(value, _SHOWN_TEXT) if isinstance(value, str) else value for name, value in fields}


def _name(text: str) -> str:
    return one_line(text, _SHOWN_NAME)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(_name(name) for name in names[:_SHOWN_TOOLS])
    more = len(names) - _SHOWN_TOOLS
    return f"{shown} and {more} more" if more > 0 else shown


def _arguments(arguments: Mapping[str, Any]) -> str:
    try:
        shown = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items()
        )
    except RecursionError:
        return "…"
    return one_line(shown, _SHOWN_ARGUMENTS)


def _lifetime(seconds: int | None) -> str:
    if seconds is None:
        return ""
    if seconds >= _HOUR:
        return f", valid for {seconds // _HOUR} h"
    return f", valid for {seconds // _MINUTE} min" if seconds >= _MINUTE else f", valid for {seconds} s"
