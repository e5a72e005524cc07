"""OAuth scopes as GitHub's OAuth apps have them (docs.github.com, "Scopes for OAuth apps")."""

import re

KNOWN = {
    "repo": "Read and write your repositories, private ones too",
    "public_repo": "Read and write your public repositories",
    "read:org": "See the organizations you belong to",
    "write:org": "Change membership of your organizations",
    "admin:org": "Manage your organizations",
    "user": "Read and change your profile",
    "read:user": "Read your profile",
    "user:email": "Read your e-mail address",
    "user:follow": "Follow and unfollow people",
    "gist": "Write gists",
    "notifications": "Read your notifications",
    "project": "Read and write your projects",
    "read:project": "Read your projects",
    "workflow": "Change workflow files",
    "delete_repo": "Delete repositories",
}
_INCLUDES = {
    "repo": {"public_repo"},
    "user": {"read:user", "user:email", "user:follow"},
    "admin:org": {"write:org", "read:org"},
    "write:org": {"read:org"},
    "project": {"read:project"},
}


def parse(text: str) -> tuple[str, ...]:
    """The known scopes in `text` (separated by spaces or commas), without those another one includes."""
    asked = dict.fromkeys(scope for scope in re.split(r"[\s,]+", text) if scope in KNOWN)
    included = {inner for scope in asked for inner in _INCLUDES.get(scope, ())}
    return tuple(scope for scope in asked if scope not in included)


def grants(scopes: tuple[str, ...], wanted: str) -> bool:
    """Whether one of `scopes` is `wanted` or includes it."""
    return any(wanted == scope or wanted in _INCLUDES.get(scope, ()) for scope in scopes)
