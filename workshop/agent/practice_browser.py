"""Approve as a practice user, without a browser: submit the consent form, then the practice GitHub's."""

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx2

from workshop.agent.http import open_client
from workshop.agent.oauth_checks import ForgottenClientError
from workshop.core.browser import following, forms, press
from workshop.core.errors import CredentialsError, DeadlineError, WorkshopError
from workshop.core.outgoing import is_loopback
from workshop.core.text import one_line

_MAX_PAGES = 16
_PAGE_SECONDS = 10.0


async def approve_login(url: str, user: str) -> None:
    """Follow the authorization request at `url` to the callback, approving as practice user `user`.

    Raises CredentialsError for a page that is neither the gateway's consent page nor the practice GitHub's,
    so that no real account is approved unattended; ForgottenClientError if the request itself is refused.
    """
    redirect_uri = parse_qs(urlsplit(url).query).get("redirect_uri", [""])[0]
    async with _browser() as http:
        await _approve(http, http.build_request("GET", url), redirect_uri, user)


async def approve_page(url: str, user: str) -> None:
    """Follow the page at `url` to one with status 200 and without a form, approving as practice user `user`.

    Raises CredentialsError for a page on another machine, for a form without a practice page's buttons, and
    for a form that is refused.
    """
    async with _browser() as http:
        await _approve(http, http.build_request("GET", url), None, user)


@contextlib.asynccontextmanager
async def _browser() -> AsyncIterator[httpx2.AsyncClient]:
    try:
        async with open_client(_PAGE_SECONDS, sender="browser") as http:
            yield http
    except httpx2.TimeoutException as error:
        raise DeadlineError(
            "A page of the login did not answer in time", why=f"Waited {_PAGE_SECONDS:g} s"
        ) from error
    except (httpx2.InvalidURL, ValueError) as error:
        raise WorkshopError(
            "A page of the login leads to something that is not a URL", why=one_line(str(error), 300)
        ) from error
    except httpx2.RequestError as error:
        raise WorkshopError(
            "A page of the login cannot be reached", why=one_line(str(error), 300), hint="`workshop status`"
        ) from error


async def _approve(
    http: httpx2.AsyncClient, request: httpx2.Request, redirect_uri: str | None, user: str
) -> None:
    for number in range(_MAX_PAGES):
        # No account on another machine is approved unattended.
        if not is_loopback(str(request.url)):
            raise _not_practice(f"The login leads to {request.url.host}", user)
        response = await http.send(request)
        # A forgotten client is refused at the first page; later refusals are about the form.
        if number == 0 and response.is_client_error and redirect_uri is not None:
            raise ForgottenClientError
        if (onward := following(response)) is not None:
            request = onward
        elif _is_end(response, redirect_uri):
            return
        else:
            request = _submit(http, response, user)
    raise WorkshopError("The login does not end", why=f"It has more than {_MAX_PAGES} pages")


def _is_end(response: httpx2.Response, redirect_uri: str | None) -> bool:
    # A page for a tool call may end at any address, a login only at the agent's callback.
    if redirect_uri is None:
        return response.status_code == httpx2.codes.OK and not forms(response)
    return str(response.url).partition("?")[0] == redirect_uri


def _submit(http: httpx2.AsyncClient, response: httpx2.Response, user: str) -> httpx2.Request:
    request = press(http, response, ("decision", "approve"), ("user", user))
    if request is not None:
        return request
    users = [value for form in forms(response) for name, value in form.buttons if name == "user"]
    if users:
        names = one_line(", ".join(users), 200)
        raise CredentialsError(f"There is no practice user {user!r}", hint=f"There are: {names}")
    raise _not_practice(
        f"{response.url.host} answered {response.status_code} without the expected form", user
    )


def _not_practice(why: str, user: str) -> CredentialsError:
    return CredentialsError(
        f"Cannot approve as {user!r}: this is not the practice GitHub",
        why=why,
        hint="Leave out `--approve-as` and approve in the browser, or `workshop up --upstream practice`",
    )
