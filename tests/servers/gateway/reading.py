"""Read what a gateway answered: forms, redirects, tokens, cookies, challenges."""

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = named.get("action", "")
        if tag == "input":
            self.fields[named["name"]] = named.get("value", "")
        if tag == "button" and "name" in named:
            self.buttons.append((named["name"], named["value"]))


def form_in(page: httpx2.Response) -> tuple[str, dict[str, str]]:
    """Where the page's form goes, and its hidden fields."""
    reader = _Form()
    reader.feed(page.text)
    return str(page.url.join(reader.action)), reader.fields


def origin_of(url: str) -> dict[str, str]:
    """The header with which a browser sends a form to its own site."""
    parts = urlsplit(url)
    return {"Origin": f"{parts.scheme}://{parts.netloc}"}


def query_of(response: httpx2.Response) -> dict[str, str]:
    """The parameters of the address a response redirects to."""
    return dict(parse_qsl(urlsplit(response.headers["location"]).query, keep_blank_values=True))


def decoded(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT, unverified."""
    header, claims, _ = token.split(".")
    return _json(header), _json(claims)


def _json(part: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return values


def cookies_of(response: httpx2.Response) -> list[str]:
    return [value for name, value in response.headers.multi_items() if name == "set-cookie"]


def challenge_of(response: httpx2.Response) -> dict[str, str]:
    """The parameters of the one Bearer challenge."""
    header = response.headers["www-authenticate"]
    assert header.startswith("Bearer ")
    return dict(re.findall(r'(\w+)="([^"]*)"', header))
