"""GitHub's reasons to refuse a login, with what helps: a fixed list, so that no foreign text is shown.

The gateway names a reason by its code, in parentheses; the agent finds the code again and shows these words.
Sources: docs.github.com, "Troubleshooting authorization request errors", "Troubleshooting OAuth app access
token request errors", and the REST API's statuses. A `userinfo_…` code is ours.
"""

import re
from dataclasses import dataclass

_CODE = re.compile(r"\(([a-z]+(?:_[a-z0-9]+)*)\)")


@dataclass(frozen=True)
class Refusal:
    """What GitHub did not accept, and what to do: two sentences without a full stop, in ASCII.

    OAuth's `error_description` has neither quotation marks nor backslashes (RFC 6749 section 4.1.2.1).
    """

    code: str
    meaning: str
    remedy: str

    @property
    def sentence(self) -> str:
        """The meaning with the code."""
        return f"{self.meaning} ({self.code})"


_KNOWN = (
    Refusal(
        "incorrect_client_credentials",
        "GitHub does not accept the client ID or the client secret of the OAuth app",
        "Compare GITHUB_OAUTH_CLIENT_ID and GITHUB_OAUTH_CLIENT_SECRET in `.env` with the app's page at "
        "GitHub, then run `workshop up`",
    ),
    Refusal(
        "redirect_uri_mismatch",
        "GitHub does not accept the callback of this gateway for the OAuth app",
        "Set the callback URL on the app's page at GitHub to http://localhost:8080/oauth/callback, or with "
        "the port that you chose",
    ),
    Refusal(
        "bad_verification_code",
        "GitHub does not accept the code: it is wrong, it was used before, or it is older than ten minutes",
        "Run the part again, and approve within ten minutes",
    ),
    Refusal(
        "application_suspended",
        "GitHub has suspended the OAuth app",
        "Ask GitHub's support for the reason, or create another OAuth app and write it into `.env`",
    ),
    Refusal(
        "unverified_user_email",
        "The account at GitHub has no verified e-mail address",
        "Verify the address in the account's settings, and run the part again",
    ),
    Refusal(
        "userinfo_401",
        "GitHub does not accept its own new token when it is asked who signed in",
        "Run the part again; the account may have withdrawn the approval in the meantime",
    ),
    Refusal(
        "userinfo_403",
        "GitHub does not allow the token to read who signed in",
        "Check the upstream's scopes in the manifest, and whether the account's organization restricts apps",
    ),
    Refusal(
        "userinfo_404",
        "GitHub has nothing at the address that is asked who signed in",
        "Check the upstream's userInfo address in the manifest",
    ),
    Refusal(
        "userinfo_429",
        "GitHub limits requests at the moment, so it did not answer who signed in",
        "Wait a few minutes, and run the part again",
    ),
)
_BY_CODE = {refusal.code: refusal for refusal in _KNOWN}


def known_refusal(code: object) -> Refusal | None:
    """The refusal with this code; None for any other value."""
    return _BY_CODE.get(code) if isinstance(code, str) else None


def refusal_in(text: str) -> Refusal | None:
    """The refusal whose code a text has in parentheses; None without one."""
    return next((_BY_CODE[code] for code in _CODE.findall(text) if code in _BY_CODE), None)
