"""The ways a request to the authorization server ends badly, each with its own kind of answer."""

from collections.abc import Mapping


class OAuthError(Exception):
    """Answered as JSON (RFC 6749 section 5.2, RFC 7591 section 3.2.2)."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status
        self.headers = dict(headers or {})


class PageError(Exception):
    """Answered as a page to the person: the client cannot be trusted with a redirect."""

    def __init__(self, title: str, text: str, *, status: int = 400) -> None:
        super().__init__(title)
        self.title = title
        self.text = text
        self.status = status


class RedirectError(Exception):
    """Answered by sending the browser back to the client with `error` (RFC 6749 section 4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
