"""A lesson's Markdown as HTML: headings with anchors, commands line by line, no HTML of its own."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

_SHELL = frozenset({"sh", "bash", "shell", "console"})
_FOLDER = re.compile(r"(\d+)_\w+")


def lesson_html(markdown: str, base: str) -> Markup:
    """The lesson; the pages of parts are below `base`, such as `/TOKEN/part/4`.

    A link to another part's lesson leads to its page, one to a file of the checkout becomes plain text, and
    any HTML in the text stays text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("fence", _fence)
    tokens = parser.parse(markdown)
    _add_anchors(tokens)
    for token in tokens:
        _turn_links(token.children or [], base)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - HTML is off in the parser


def _fence(_self: object, tokens: Sequence[Token], at: int, _options: object, _env: object) -> str:
    """A code block; of commands, each line is an element of its own, which can be copied."""
    token = tokens[at]
    lines = token.content.rstrip("\n").split("\n")
    # A command that goes on in the next line cannot be copied line by line.
    if token.info.strip() not in _SHELL or any(line.endswith("\\") or "<<" in line for line in lines):
        return str(Markup("<pre tabindex=0><code>{}</code></pre>\n").format(token.content.rstrip("\n")))
    shown = Markup("\n").join(_command(line) for line in lines)
    return str(Markup("<pre class=commands tabindex=0><code>{}</code></pre>\n").format(shown))


def _command(line: str) -> Markup:
    command = line.partition("  #")[0].strip()
    if not command or command.startswith("#"):
        return escape(line)
    return Markup('<span class=command data-command="{}">{}</span>').format(command, line)


def _add_anchors(tokens: Sequence[Token]) -> None:
    """Give each heading the anchor that GitHub gives it; a repeated one is numbered."""
    known: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = known[name] = known.get(name, -1) + 1
            heading.attrSet("id", f"{name}-{count}" if count else name)


def _turn_links(tokens: Sequence[Token], base: str) -> None:
    shown = True
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href") or ""), base)
            shown = bool(target)
            token.attrs = {"href": target, "rel": "noreferrer"} if shown else {"class": "file"}
        if token.type in ("link_open", "link_close") and not shown:
            token.tag = "span"
        if token.type == "image":
            # The policy of the page allows no images; the file is not served either.
            token.attrs = {"src": "", "alt": ""}


def _target(href: str, base: str) -> str:
    """Where a link leads on the page; empty for a file, which the page does not show."""
    parts = urlsplit(href)
    if parts.scheme in ("http", "https") or href.startswith("#"):
        return href
    path = PurePosixPath(parts.path)
    folder = _FOLDER.fullmatch(path.parent.name)
    if path.name != "README.md" or folder is None or parts.scheme or parts.netloc:
        return ""
    return f"{base.rpartition('/')[0]}/{int(folder[1])}" + (f"#{parts.fragment}" if parts.fragment else "")
