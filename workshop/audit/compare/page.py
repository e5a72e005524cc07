"""The comparison as one HTML page: the table, then what was seen; no network, no script, no other file."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup, escape

from workshop.audit.compare.comparison import Comparison
from workshop.audit.compare.rows import ROWS
from workshop.core.encoding import csp_hash
from workshop.core.errors import UsageError
from workshop.core.pages import page_environment
from workshop.core.paths import write_private

_TEMPLATES = Path(__file__).with_name("templates")
_SIGNS = {"good": "✓", "bad": "✗", "plain": "", "unseen": "?"}
_TOLD = {"good": "as it should be: ", "bad": "a weakness: ", "plain": "", "unseen": ""}


def to_html(comparison: Comparison, now: datetime | None = None) -> str:
    """The page; whatever a system said is escaped."""
    style = (_TEMPLATES / "compare.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("compare.html")
        .render(
            comparison=comparison,
            rows=ROWS,
            signs=_SIGNS,
            told=_TOLD,
            style=Markup(style),  # noqa: S704 - our own file; escaping would change its hash
            policy=f"default-src 'none'; style-src '{csp_hash(style)}'; base-uri 'none'; form-action 'none'",
            began=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )
    )


def check_target(path: Path) -> None:
    """Raise UsageError, before anything runs, for a file that could not be written in the end."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"`{path}` is not an HTML file", hint="Write `--html compare.html`")
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "It is a folder" if path.is_dir() else "Its folder does not exist"
        raise UsageError(f"Cannot write the page to `{path}`", why=why)


def write(comparison: Comparison, path: Path) -> None:
    """Write the page, over what was there, readable by its owner only."""
    try:
        write_private(path, to_html(comparison).encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"Cannot write the page to `{path}`", why=error.strerror or str(error)) from error


@cache
def _environment() -> Environment:
    made = page_environment(_TEMPLATES)
    made.filters["codes"] = _codes
    return made


def _codes(text: str) -> Markup:
    """Text, escaped, with what stands between backticks as code."""
    pieces = str(escape(text)).split("`")
    if len(pieces) % 2 == 0:  # one without a partner is only a character
        return Markup("`").join(map(Markup, pieces))
    shown = (f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
    return Markup("".join(shown))  # noqa: S704 - escaped just above
