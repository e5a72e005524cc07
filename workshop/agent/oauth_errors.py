"""The ways a login fails, told to a person."""

import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth import OAuthFlowError, OAuthRegistrationError, OAuthTokenError

from workshop.core.console import plain
from workshop.core.errors import CredentialsError, DeadlineError, WorkshopError


class ForgottenClientError(WorkshopError):
    """The authorization server does not know the stored client identifier any more."""


@contextlib.contextmanager
def told(last_error: Callable[[], str]) -> Iterator[None]:
    """Turn what the SDK and the network raise during a login into our errors.

    `last_error` gives the OAuth error code of the last answer; bodies are not repeated, they are untrusted.
    """
    try:
        yield
    except OAuthRegistrationError as error:
        raise WorkshopError(
            "The authorization server did not register the agent",
            why=_reason(last_error(), error),
            hint="It may limit how often a client registers: wait a few seconds and run this again",
        ) from error
    except OAuthTokenError as error:
        raise CredentialsError(
            "The authorization server gave no token",
            why=_reason(last_error(), error),
            hint="Run this again and approve once more; `workshop logs` shows what the server wrote",
        ) from error
    except OAuthFlowError as error:
        raise WorkshopError(
            "The login was stopped: the servers' descriptions disagree", why=_cut(str(error))
        ) from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise DeadlineError(
            "The authorization server does not answer", hint="`workshop status` shows what runs"
        ) from error
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise WorkshopError(
            "The authorization server cannot be reached",
            why=_cut(str(error)),
            hint="`workshop status` shows what runs",
        ) from error


def _reason(code: str, error: Exception) -> str:
    return f"It answered `{code}`" if code else _cut(str(error).partition(":")[0])


def _cut(text: str) -> str:
    return plain(" ".join(text.split())[:300])


def refused_again(server_url: str, response: httpx2.Response) -> CredentialsError:
    """The server refuses what a login has just given us."""
    return CredentialsError(
        f"{urlsplit(server_url).netloc} refuses the token of the login that was just approved",
        why=f"It still answers {response.status_code} {response.reason_phrase}".strip(),
        hint="The upstream account may lack a permission, or the proxy does not swap tokens: see its log",
    )


def unknown_client(client_id: str) -> CredentialsError:
    """A client that was registered by hand is refused, and another is not what was asked for."""
    return CredentialsError(
        f"The authorization server does not take the client {_cut(client_id)!r}",
        why="It refused its identifier, its secret, or its redirect URI",
        hint="Compare them with what is registered there",
    )


def not_answered(seconds: float, *, forgotten: bool) -> DeadlineError:
    """Nobody approved; `forgotten` when the stored client was dropped in case the page did not know it."""
    hint = "Run this again, open the address it prints, and approve"
    if forgotten:
        hint += ". The stored registration was dropped in case the server had forgotten it"
    return DeadlineError(
        f"Nobody approved the login within {seconds:g} seconds",
        why="The browser never came back to this computer; over SSH or in a container it cannot",
        hint=hint,
    )


def unavailable(response: httpx2.Response) -> WorkshopError:
    """The token endpoint fails; the refresh token is kept for later."""
    return WorkshopError(
        "The login cannot be refreshed now",
        why=f"The authorization server answered {response.status_code} {response.reason_phrase}".strip(),
        hint="Run this again in a moment; the stored login is kept",
    )
