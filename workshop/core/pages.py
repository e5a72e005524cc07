"""What the HTML pages have in common: their Jinja environment, and the look of those that a login shows."""

from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.encoding import csp_hash
from workshop.core.hops import hop

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")
STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
"""The style of every page that a browser is shown during a login, whichever program sends it."""
PAGE_POLICY = f"default-src 'none'; style-src '{csp_hash(STYLE)}'; base-uri 'none'; frame-ancestors 'none'"
"""The content security policy of these pages.

It has no form-action: browsers apply that to the redirects after a form too, and these lead to the upstream,
to whatever login page it uses, and to the client. No page has markup of others that could add a form.
"""


def page_environment(templates: Path) -> "Environment":
    """Return an environment for this folder that escapes all values and fails on an undefined one.

    A template may extend `base.html`, the frame of a login's pages; a value `hop` is the number of their hop.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader([templates, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # a page would look at the dates of its files each time
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup(STYLE)  # noqa: S704 - our own file; escaping would change its hash
    environment.globals["hop_label"] = lambda number: hop(number).label
    return environment
