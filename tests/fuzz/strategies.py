"""What to throw: text that breaks parsers, JSON of any shape, and right requests made slightly wrong."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

from hypothesis import strategies as st

NASTY = (
    *("", " ", "\x00", "\r\nX-Forged: yes", "\u202e", "\ufeff", "\ud800", "a" * 3000, "%", "%00", "%zz"),
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "' OR 1=1 --", "../../etc"),
    *("null", "true", "[]", "-1", "1e400", "9" * 5000, "https://evil.test/", "//evil.test", "javascript:1"),
    *("http://localhost:8765/callback#x", "http://localhost:8765/callback/../x", "http://[", "http://[::1"),
    *("http://localhost:8765@evil.test/callback", "http://localhost:99999/callback", "http://localhost:/"),
    *("http://127.0.0.1:8765/callback", "HTTP://LOCALHOST:8765/callback", "http://localhost:1/callback"),
    *("code", "S256", "plain", "none", "openid", "repo admin:org", "authorization_code", "refresh_token"),
)
_HOSTILE = "\ud800\udfff\x00\x1b\x7f\u202e\ufeff<>&\"'\\\r\n\t%;=+ é٣a0"
texts = st.one_of(
    st.sampled_from(NASTY), st.text(_HOSTILE, max_size=12), st.text(st.characters(), max_size=40)
)
# What can be sent at all: a lone surrogate has no UTF-8.
sendable = texts.map(lambda text: text.encode("utf-8", "replace").decode())
_numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.just(10**400))
json_values = texts | st.recursive(
    _numbers | texts,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
media_types = st.sampled_from(
    [
        *("application/json", "application/x-www-form-urlencoded", "APPLICATION/JSON; charset=utf-16"),
        *(
            "application/x-www-form-urlencoded;",
            "multipart/form-data; boundary=x",
            "text/plain",
            "",
            ";",
            "é",
        ),
    ]
)


@st.composite
def almost(draw: st.DrawFn, right: Mapping[str, Any], values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A right document with up to three members dropped, replaced or added."""
    document = dict(right)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.sampled_from(sorted(right)), sendable))
        if draw(st.booleans()):
            document[name] = draw(values)
        else:
            document.pop(name, None)
    return document


@st.composite
def almost_form(draw: st.DrawFn, right: Mapping[str, str]) -> str:
    """A right form or query, encoded, with members changed, repeated, or its encoding broken."""
    pairs = list(draw(almost(right, sendable)).items())
    if pairs and draw(st.integers(0, 4)) == 0:
        pairs.append((draw(st.sampled_from(pairs))[0], draw(sendable)))
    encoded = urlencode(pairs)
    if draw(st.integers(0, 9)) == 0:
        encoded += draw(
            st.sampled_from(["&", "&&", "=", "&=%", "&a=%ff", "&a=%c0%af", "&" * 80, ";x=1", "&a"])
        )
    return encoded


def documents(right: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """JSON bodies: nearly right, of any other shape, badly encoded, too deep, too long, or not JSON."""
    return st.one_of(
        almost(right, json_values).map(encoded_json),
        json_values.map(encoded_json),
        st.binary(max_size=60),
        st.sampled_from(
            [b"[" * 20000, b'{"a":' * 20000, b"{}" * 40000, b'{"a":1,"a":2}', b"\xff\xfe{\x00}\x00"]
        ),
    )


def forms(right: Mapping[str, str]) -> st.SearchStrategy[bytes]:
    """Form bodies: nearly right, or no form at all."""
    return st.one_of(
        almost_form(right).map(str.encode),
        st.binary(max_size=60),
        st.sampled_from([b"a=" * 40000, b"&" * 200, b"%", b"\xff=\xff"]),
    )


paths = st.one_of(
    st.sampled_from(
        [
            *("/", "/mcp", "/health", "/oauth/", "/oauth/token/", "/oauth//token", "/oauth/authorize;x"),
            *("/.well-known/jwks.json", "/.well-known/oauth-authorization-server/mcp", "/.well-known/x"),
            *(
                "/.well-known/oauth-protected-resource",
                "/.well-known/openid-configuration/%00",
                "/OAUTH/TOKEN",
            ),
            *("/.well-known/oauth-protected-resource/mcp", "/oauth/%2e%2e/health", "/%", "//evil.test/mcp"),
        ]
    ),
    st.binary(max_size=20).map(lambda raw: "/" + quote_from_bytes(raw)),
)


def encoded_json(value: object) -> bytes:
    """Any value as a lenient writer sends it: NaN, infinities and lone surrogates included."""
    return json.dumps(value).encode()
