"""HTML pages, escaped, with headers that keep them out of frames, caches and referrers."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from workshop.auth.responses import NO_STORE
from workshop.core.encoding import csp_hash

_TEMPLATES = Path(__file__).with_name("templates")
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
_ENVIRONMENT.globals["style"] = Markup(_STYLE)  # noqa: S704 - our own file; escaping would change its hash
# No form-action: browsers apply it to the redirects after the form too, and these lead to the upstream, to
# whatever sign-in page it uses, and to the client. The page has no markup of others that could add a form.
_HEADERS = {
    **NO_STORE,
    "content-security-policy": (
        f"default-src 'none'; style-src '{csp_hash(_STYLE)}'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


def template_in(path: Path) -> Template:
    """A template of another server's, which may extend `base.html`."""
    return _ENVIRONMENT.from_string(path.read_text(encoding="utf-8"))


def page(template: str | Template, *, status: int = 200, **values: object) -> Response:
    """Render a template of this package, by its name, or another's."""
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(values), status, _HEADERS)


def form_page(template: str | Template, **values: object) -> Response:
    """A page with a form to ourselves, which a browser would send with `Origin: null` for `no-referrer`."""
    response = page(template, status=200, **values)
    response.headers["referrer-policy"] = "same-origin"
    return response


def error_page(title: str, text: str, *, status: int) -> Response:
    return page("error.html", status=status, title=title, text=text)
