"""Hyperlinks where the terminal takes them, and the person's pager."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console as RichConsole
from rich.text import Text

from workshop.core.screen import link, markdown_shown, pager, show_in_pager, takes_hyperlinks


@pytest.mark.parametrize(
    ("environment", "taken"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4200"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "?"}, False),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.4"}, True),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.3a"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "dumb", "WT_SESSION": "1"}, False),
        ({"TERM": "dumb", "FORCE_HYPERLINK": "1"}, True),
        ({"TERM": "xterm-kitty", "FORCE_HYPERLINK": "0"}, False),
    ],
)
def test_only_a_terminal_that_takes_hyperlinks_gets_them(environment: dict[str, str], *, taken: bool) -> None:
    assert takes_hyperlinks(environment) is taken


def links(text: str) -> list[tuple[str, str]]:
    shown = link(Text(text))
    return [(text[span.start : span.end], str(span.style).removeprefix("link ")) for span in shown.spans]


def test_addresses_and_existing_files_are_links_and_commands_are_not(tmp_path: Path) -> None:
    file = tmp_path / "trace.html"
    file.touch()
    assert links("Open http://localhost:8080/mcp, or (https://a.example/b).") == [
        ("http://localhost:8080/mcp", "http://localhost:8080/mcp"),
        ("https://a.example/b", "https://a.example/b"),
    ]
    assert links(f"Wrote `{file}`; see {file}") == [(str(file), file.as_uri())] * 2
    assert links("`workshop up` writes `missing/file.html`, `/etc/none` and and/or") == []
    assert links(f"`{'x/' * 5000}`") == []


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({"PAGER": "cat"}, []),
        ({"PAGER": ""}, []),
        ({"PAGER": "no-such-pager -x"}, []),
        ({"PAGER": "an 'open quote"}, []),
        ({"PAGER": "sh -c 'cat >file'"}, ["sh", "-c", "cat >file"]),
    ],
)
def test_the_pager_is_the_persons_own_or_none(environment: dict[str, str], command: list[str]) -> None:
    assert pager(environment) == command


def test_less_shows_styles_whatever_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert pager({}) == ["less", "-RFX"]
    assert pager({"LESS": "-i"}) == ["less", "-R"]


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("[`by-hand.md`](by-hand.md) shows", "by-hand.md shows"),
        ("[a.md](a.md), [`b.md`](b.md)", "a.md, b.md"),
        ("[by hand](by-hand.md)", "by hand (by-hand.md)"),
    ],
)
def test_a_link_whose_text_is_its_address_is_shown_once(markdown: str, shown: str) -> None:
    console = RichConsole(width=60)
    with console.capture() as captured:
        console.print(markdown_shown(markdown, hyperlinks=False))
    assert captured.get().strip() == shown


def test_ctrl_c_belongs_to_the_pager_from_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, file = subprocess.Popen, tmp_path / "action"

    def started(*words: object, **options: object) -> object:
        process = real(*words, **options)  # type: ignore[call-overload]  # as it was called
        os.kill(os.getpid(), signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", started)
    program = f"import signal; open({str(file)!r}, 'w').write(str(signal.getsignal(signal.SIGINT)))"
    before = signal.getsignal(signal.SIGINT)
    try:
        show_in_pager("text", [sys.executable, "-c", program])
    except KeyboardInterrupt:
        pytest.fail("the pager had started")
    assert "default_int_handler" in file.read_text("utf-8"), "the pager does not inherit that it is ignored"
    assert signal.getsignal(signal.SIGINT) is before
