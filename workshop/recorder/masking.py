"""What may be shown of a message: harmless fields unchanged, secrets as labels, and nothing else.

A label stands for a secret: the same secret has the same label everywhere in a trace.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from workshop.recorder.model import Request

SHORTEST_SWEPT = 8
"""Shorter values are masked in place but not searched for elsewhere: they occur in ordinary words."""
DIGEST = "sha256:"
"""Prefix of a fingerprint in the upstream's record, which stores nothing else of a credential."""

# The tokens of GitHub and of the practice GitHub, JSON Web Tokens, and whatever follows `Bearer`.
_KINDS_BY_SHAPE = (
    (
        "github-token",
        re.compile(r"(?:gh[oprsu]_|github_pat_)\w{16,}|practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}"),
    ),
    ("token", re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
    ("token", re.compile(r"(?<=Bearer )[\w.~+/=-]{8,}")),
)
LABEL = re.compile(r"⟨([a-z-]+)-(\d+)⟩")
LONGEST_TEXT = 600
_UNPRINTABLE = re.compile(r"[^\x21-\x7e⟨⟩]")

# Lists of what is harmless, because a parameter or header that nobody thought of may be a secret.
_OPEN_PARAMETERS = frozenset(
    {
        *("client_id", "client_name", "code_challenge", "code_challenge_method", "decision", "display"),
        *("error", "error_description", "error_uri", "grant_type", "iss", "login", "prompt", "redirect_uri"),
        *("page", "per_page"),
        *("resource", "response_mode", "response_type", "scope", "token_type", "token_type_hint", "user"),
    }
)
KIND_OF_PARAMETER = {
    "access_token": "token",
    "client_assertion": "client-secret",
    "client_secret": "client-secret",
    "code": "code",
    "code_verifier": "verifier",
    "elicitation_id": "link",
    "elicitationId": "link",
    "id_token": "token",
    "refresh_token": "refresh-token",
    "state": "state",
    "token": "token",
}
_OPEN_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "allow", "cache-control", "connection", "content-length"),
        *("content-security-policy", "content-type", "date", "expires", "host", "last-modified"),
        *("mcp-method", "mcp-name", "mcp-protocol-version", "origin", "pragma", "referrer-policy"),
        *("retry-after", "server", "transfer-encoding", "user-agent", "vary", "www-authenticate"),
        *("x-content-type-options", "x-frame-options", "x-mcp-readonly", "x-mcp-toolsets", "x-oauth-scopes"),
    }
)
_ADDRESSES = frozenset({"location", "referer", "content-location"})
_SECRET_KEY = re.compile(
    r"(?:^|_|-)(?:token|secret|password|verifier|assertion|cookie|api_?key|ticket)$", re.IGNORECASE
)
_CREDENTIAL_HEADER = re.compile(r"(?:^|-)(?:credential|key|pat|secret|token)$")
# A secret of 128 bits has 22 characters in base64url, so a shorter part is shown.
_WORDS_OF_A_PATH = re.compile(
    r".{0,21}|_WORD(?:[-_.]_WORD)*".replace("_WORD", r"(?:[A-Z]?[a-z]+|[A-Z]+|\d{1,4})")
)
_SESSION_CLAIMS = frozenset({"tsid", "sid"})


def fingerprint(value: str) -> str:
    """SHA-256 in hexadecimal digits, as in the practice GitHub's record."""
    # JSON can contain half of a surrogate pair.
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


class Labels:
    """Assigns labels such as `⟨code-1⟩`, numbered for each kind in order of first use."""

    def __init__(self) -> None:
        self._by_digest: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._values: dict[str, str] = {}

    def of(self, kind: str, value: str) -> str:
        """The label of a secret; an empty value is shown as empty."""
        if not value:
            return "(empty)"
        if value.startswith(DIGEST):
            return self.of_digest(kind, value.removeprefix(DIGEST))
        label = self.of_digest(kind, fingerprint(value))
        if len(value) >= SHORTEST_SWEPT:
            # A URL in a body or header has the value in its quoted form.
            self._values |= {value: label, quote(value, safe="", errors="replace"): label}
        return label

    def of_digest(self, kind: str, digest: str) -> str:
        """The label of a secret whose fingerprint alone is known."""
        if digest not in self._by_digest:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._by_digest[digest] = f"⟨{kind}-{self._counts[kind]}⟩"
        return self._by_digest[digest]

    def sweep(self, text: str) -> str:
        """The text, with labels for every labelled value and for everything that looks like a token."""
        # The longest first: a value may contain another one.
        for value in sorted(self._values, key=len, reverse=True):
            if value in text:
                text = text.replace(value, self._values[value])
        for kind, shape in _KINDS_BY_SHAPE:
            text = shape.sub(lambda found, kind=kind: self.of(kind, found.group()), text)  # type: ignore[misc]
        return text


_LISTED = {fingerprint(word): word for word in ("all", "closed", "open")}  # a `state` that is no secret


def masked_url(url: str, labels: Labels) -> str:
    """A URL with its query parameters masked, without user, password and fragment."""
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(not a URL)"
    path = masked_path(parts.path, labels)
    return urlunsplit((parts.scheme, netloc, path, masked_query(parts.query, labels), ""))


def masked_path(path: str, labels: Labels) -> str:
    """A path; a long part that does not consist of words is treated as a secret, as in a link."""
    parts = path.split("/")
    return "/".join(
        part if _WORDS_OF_A_PATH.fullmatch(part) else labels.of("link", unquote(part)) for part in parts
    )


def masked_query(query: str, labels: Labels) -> str:
    """A query or form, masked, with its values unquoted where they remain readable."""
    pairs = parameters(query)
    return "&".join(f"{_word(name)}={_word(value)}" for name, value in masked_parameters(pairs, labels))


def parameters(query: str) -> list[tuple[str, str]]:
    """The name and value pairs of a query or form."""
    return parse_qsl(query, keep_blank_values=True)


def masked_parameters(pairs: Iterable[tuple[str, str]], labels: Labels) -> list[tuple[str, str]]:
    """The parameters with secret and unknown values as labels."""
    return [(name, masked_parameter(name, value, labels)) for name, value in pairs]


def masked_parameter(name: str, value: str, labels: Labels) -> str:
    """One parameter's value: unchanged if it is known to be harmless, otherwise its label."""
    if name in _OPEN_PARAMETERS:
        return value[:LONGEST_TEXT]
    if name == "state" and (word := _LISTED.get(value.removeprefix(DIGEST), value)) in _LISTED.values():
        return word
    return labels.of(KIND_OF_PARAMETER.get(name, "value"), value)


def masked_headers(headers: Iterable[tuple[str, str]], labels: Labels) -> tuple[tuple[str, str], ...]:
    """Header fields in order; a value that is not known to be harmless is not shown."""
    return tuple((name, _header(name.lower(), value, labels)) for name, value in headers)


def _header(name: str, value: str, labels: Labels) -> str:
    if name in ("authorization", "proxy-authorization"):
        scheme, _, credential = value.partition(" ")
        return f"{scheme} {labels.of('token', credential)}" if credential else labels.of("token", value)
    if name == "cookie":
        return "; ".join(_cookie(pair.strip(), labels) for pair in value.split(";"))
    if name == "set-cookie":
        pair, *attributes = value.split(";")
        return ";".join([_cookie(pair.strip(), labels), *attributes])
    if is_credential(name) or name == "mcp-session-id":
        kind = "github-token" if "github" in name else "secret"
        return labels.of(kind if is_credential(name) else "session", value)
    if name in _ADDRESSES:
        return masked_url(value, labels)
    return value[:LONGEST_TEXT] if name in _OPEN_HEADERS else "(not shown)"


def is_credential(header: str) -> bool:
    """Whether a header of this name, in lower case, contains a credential other than `authorization`."""
    return bool(_CREDENTIAL_HEADER.search(header))


def _cookie(pair: str, labels: Labels) -> str:
    name, _, value = pair.partition("=")
    # Quotes are allowed around the value (RFC 6265 section 4.1.1), and a client may leave them out.
    value = value.strip('"')
    return f"{name}={labels.of('cookie', value)}"


def _word(text: str) -> str:
    return _UNPRINTABLE.sub("_", text).replace("&", "%26")


def masked_json(value: Any, labels: Labels, key: str = "") -> Any:  # noqa: ANN401 - JSON is what it is
    """JSON with the values of keys that name a secret as labels, and long texts cut."""
    if isinstance(value, Mapping):
        return {str(name): masked_json(inner, labels, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked_json(inner, labels, key) for inner in value[:50]]  # enough to read
    return _masked_text(value, labels, key) if isinstance(value, str) else value


def _masked_text(value: str, labels: Labels, key: str) -> str:
    # The server's own state between two calls, which the client only returns (MCP 2026-07-28).
    if key == "requestState":
        return labels.of("state", value)
    if key == "url" and "://" in value:  # the page of a URL elicitation
        return cut(masked_url(value, labels))
    if _SECRET_KEY.search(key) or KIND_OF_PARAMETER.get(key) == "link":
        return labels.of(KIND_OF_PARAMETER.get(key, "value"), value)
    return cut(value)


def masked_claims(claims: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    """The claims of a token, with session identifiers as labels."""
    shown = masked_json(claims, labels)
    hidden = {name: labels.of("session", str(claims[name])) for name in claims if name in _SESSION_CLAIMS}
    return {**shown, **hidden}


def masked_body(body: bytes, media_type: str, labels: Labels) -> str:
    """A readable body: a form with one line for each field, indented JSON, or the title of a page."""
    text = body.decode("utf-8", "replace")
    if not text:
        return ""
    if "x-www-form-urlencoded" in media_type:
        return "\n".join(f"{name}={value}" for name, value in masked_parameters(parameters(text), labels))
    if "json" in media_type:
        try:
            return json.dumps(masked_json(json.loads(text), labels), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return "(labelled as JSON, but not valid JSON)"
    if "html" in media_type:
        # Only the title, because the forms of a page contain tokens.
        found = re.search(r"<title>([^<]{1,200})</title>", text)
        return f"(a page: {' '.join(found[1].split())})" if found else "(a page)"
    return "(not shown)"


def media_type(headers: Iterable[tuple[str, str]]) -> str:
    """The media type of a message, in lower case, without its parameters."""
    found = next((value for name, value in headers if name.lower() == "content-type"), "")
    return found.partition(";")[0].strip().lower()


def decoded(request: Request) -> bytes:
    """The body of a response without its content coding."""
    if not request.header("content-encoding"):
        return bytes(request.body)
    from workshop.core.http_client import UnusableAnswerError, unpacked

    try:
        return unpacked(bytes(request.body), request.header("content-encoding"))
    except UnusableAnswerError:  # cut, too large, or in a coding that was not asked for
        return b""


def cut(text: str, most: int = LONGEST_TEXT) -> str:
    """The text; if it was cut, its original length is added."""
    return text if len(text) <= most else f"{text[:most]}… [{len(text)} characters]"
