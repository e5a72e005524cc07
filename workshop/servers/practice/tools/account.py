"""`get_me` and `search_users`."""

from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from workshop.servers.practice import shapes
from workshop.servers.practice.data import User
from workshop.servers.practice.tools.offer import Page, PerPage, as_text, offer, page_of, visit_of


def get_me(context: Context) -> str:
    """Who am I? The profile of the person this connection acts for: start here when the login is needed."""
    visit = visit_of(context)
    return as_text(shapes.me(visit.catalog, visit.caller, visit.url))


def search_users(
    context: Context,
    *,
    query: Annotated[str, Field(description="Words to find in a login, a name or a place, e.g. 'mentor'")],
    sort: Annotated[
        Literal["followers", "repositories", "joined"] | None, Field(description="What to sort by")
    ] = None,
    order: Annotated[Literal["asc", "desc"] | None, Field(description="Sort order")] = None,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """Find people by login, name or place."""
    visit = visit_of(context)
    words = [word for word in query.lower().split() if ":" not in word]
    found = [user for user in visit.catalog.users if all(word in _text(user) for word in words)]
    if sort:
        keys = {
            "followers": lambda user: len(user.followers),
            "repositories": lambda user: visit.catalog.public_count(user.login),
            "joined": lambda user: user.created_at.timestamp(),
        }
        found.sort(key=keys[sort], reverse=order != "asc")
    shown = [shapes.person(user, visit.url) for user in page_of(found, page, perPage)]
    return as_text({"total_count": len(found), "incomplete_results": False, "items": shown})


def _text(user: User) -> str:
    return f"{user.login} {user.name} {user.location}".lower()


TOOLS = (
    offer(get_me, "context", "Get my user profile"),
    offer(search_users, "users", "Search users"),
)
