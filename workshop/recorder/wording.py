"""The purpose of each kind of request, in a sentence, its specification, and its hop of the handshake."""

from dataclasses import dataclass

from workshop.core import hops

_MINUTE = 60.0

_PHASES = {
    hops.REFUSAL: "refusal",
    hops.RESOURCE: "discovery",
    hops.ISSUER: "discovery",
    hops.REGISTRATION: "registration",
    hops.CONSENT: "approval",
    hops.SIGN_IN: "approval",
    hops.CODE: "approval",
    hops.TOKEN: "token",
    hops.SWAP: "calls",
}
WAITING = "visit"
"""The phase of requests that happen while a call waits for a person."""


@dataclass(frozen=True)
class Words:
    """Title, sentence and references of one kind of request, and the number of its hop."""

    hop: int
    title: str
    sentence: str
    references: tuple[str, ...] = ()

    @property
    def phase(self) -> str:
        """The part of the handshake, as a trace's file names it."""
        return _PHASES[self.hop]


_MCP_DISCOVERY = "MCP authorization, Authorization Server Discovery"
_WHO = "MCP elicitation, Phishing"
_SWAP = "MCP authorization, Access Token Privilege Restriction"

WORDS = {
    "challenge": Words(
        hops.REFUSAL,
        "A request without a token is refused",
        "The {server} names the document that lists its authorization server.",
        ("RFC 9728 §5.1", "RFC 6750 §3", _MCP_DISCOVERY),
    ),
    "resource-metadata": Words(
        hops.RESOURCE,
        "What is this resource, and who issues its tokens?",
        "The protected-resource metadata names the resource and its authorization server.",
        ("RFC 9728 §3", _MCP_DISCOVERY),
    ),
    "server-metadata": Words(
        hops.ISSUER,
        "Where are the authorization server's endpoints?",
        "The issuer's metadata lists its endpoints and PKCE with S256; without that, the agent would stop.",
        ("RFC 8414 §3", "RFC 7636 §4.2", _MCP_DISCOVERY),
    ),
    "register": Words(
        hops.REGISTRATION,
        "The agent registers itself",
        "It gets a client ID and no secret, because a program on a laptop cannot protect one.",
        ("RFC 7591 §3", "RFC 8252 §8.4"),
    ),
    "ask-first": Words(
        hops.CONSENT,
        "Does the server still know this client?",
        "The agent checks before it sends a person there: an unknown client ID ends on an error page.",
        ("RFC 6749 §4.1.2.1",),
    ),
    "authorize": Words(
        hops.CONSENT,
        "The browser sends the authorization request",
        "It names the client, the resource, the redirect URI, and the hash of a secret: the PKCE challenge.",
        ("RFC 6749 §4.1.1", "RFC 7636 §4.3", "RFC 8707 §2"),
    ),
    "consent": Words(
        hops.CONSENT,
        "The person approves this agent",
        "The {receiver} asks whether the agent may act for the person, and redirects the browser to sign in.",
        ("MCP security best practices, Confused Deputy Problem",),
    ),
    "sign-in": Words(
        hops.SIGN_IN,
        "The person signs in",
        "The page is the {receiver}'s own. The agent never sees it, nor any password.",
        ("RFC 6749 §4.1.1",),
    ),
    "issuer-callback": Words(
        hops.SIGN_IN,
        "The sign-in is done",
        "The {receiver} gets the result and makes a code for the client that asked.",
        ("RFC 6749 §4.1.2",),
    ),
    "visit": Words(
        hops.SIGN_IN,
        "The browser opens the link",
        "The {receiver} does not show anything yet: it first checks who has opened the link.",
        (_WHO,),
    ),
    "own-authorize": Words(
        hops.SIGN_IN,
        "The {server} is now a client of the authorization server",
        "It uses its own client ID, state and PKCE challenge to find out who is at the browser.",
        (_WHO, "RFC 6749 §4.1.1"),
    ),
    "own-consent": Words(
        hops.SIGN_IN,
        "The person approves the {server}",
        "The {receiver} asks whether the {server} may read the person's identity.",
    ),
    "own-callback": Words(
        hops.SIGN_IN,
        "The {server} finds out who opened the link",
        "It exchanges this code and compares: only the person who made the call may continue.",
        (_WHO, "RFC 6749 §4.1.2"),
    ),
    "connect": Words(
        hops.SIGN_IN,
        "The person approves the connection",
        "The page named the account and the requested permissions. The browser is redirected only now.",
        ("MCP security best practices, Confused Deputy Problem",),
    ),
    "upstream-authorize": Words(
        hops.SIGN_IN,
        "The {server} is now the client",
        "The browser is redirected with the {server}'s own client ID and state; the agent takes no part.",
        ("RFC 6749 §4.1.1",),
    ),
    "upstream-consent": Words(
        hops.SIGN_IN,
        "The person signs in",
        "The agent never sees this page, nor any password.",
        ("RFC 6749 §4.1.1",),
    ),
    "upstream-callback": Words(
        hops.SIGN_IN,
        "The upstream's code goes to the {server}",
        "The {server} uses this code itself, and makes another one for the agent.",
        ("RFC 6749 §4.1.2",),
    ),
    "upstream-token": Words(
        hops.SIGN_IN,
        "The {server} fetches token 2",
        "Token 2 is the upstream's. It stays in the {server}.",
        ("RFC 6749 §4.1.3",),
    ),
    "upstream-user": Words(
        hops.SIGN_IN,
        "The {server} asks who has approved",
        "With token 2, which only the {server} has.",
    ),
    "callback": Words(
        hops.CODE,
        "The code reaches the agent",
        "The browser delivers a code that works once, the agent's own state, and the issuer's name.",
        ("RFC 6749 §4.1.2", "RFC 9207 §2", "RFC 8252 §7.3"),
    ),
    "page": Words(
        hops.SIGN_IN, "The browser opens a page", "A page of the {receiver} that leads to the approval."
    ),
    "token": Words(
        hops.TOKEN,
        "The code becomes token 1",
        "The agent proves that it knows the secret behind the hash, so a stolen code is useless.",
        ("RFC 6749 §4.1.3", "RFC 7636 §4.5", "RFC 8707 §2.2"),
    ),
    "refresh": Words(
        hops.TOKEN,
        "A refresh token is exchanged for a new token 1",
        "No person is needed. The old refresh token can no longer be used.",
        ("RFC 6749 §6", "RFC 9700 §4.14"),
    ),
    "mcp": Words(
        hops.SWAP,
        "An MCP request",
        "The agent sends a request, and the server answers it.",
        ("MCP transports, Streamable HTTP",),
    ),
    "upstream-mcp": Words(
        hops.SWAP,
        "The token swap",
        "The {server} has verified token 1, the agent's, and sends token 2, the upstream's, instead.",
        (_SWAP,),
    ),
    "upstream-call": Words(
        hops.SWAP,
        "The {server} calls the upstream",
        "Its own request, with token 2, which the agent never has.",
    ),
}


def hop_number(kind: str, phase: str) -> int | None:
    """The number of the hop that a request of this kind and phase belongs to; None for an unknown kind.

    What happens while a call waits for a person is a late sign-in at the upstream.
    """
    if phase == WAITING:
        return hops.SIGN_IN
    return WORDS[kind].hop if kind in WORDS else None


def chapter(kind: str, phase: str) -> str:
    """The heading above a request of this kind and phase."""
    number = hop_number(kind, phase)
    waiting = ", while a call waits" if phase == WAITING else ""
    return f"{hops.hop(number).label}{waiting}" if number else phase


METHODS = {
    "initialize": (
        "The session begins",
        "Both sides state their protocol version and their capabilities.",
    ),
    "notifications/initialized": ("The session is ready", "The agent is ready; it expects no answer."),
    "server/discover": (
        "Which server is this?",
        "One request instead of a handshake: since 2026-07-28, every request is independent.",
    ),
    "tools/list": ("Which tools are there?", "The list from which the model may choose."),
    "tools/call": ("A tool is called", "The model requested the call; the agent makes it."),
    "ping": ("Is the other side alive?", "Either side may ask."),
}
BUILT = (
    "The agent built this address and gave it to the browser. It cannot see what browser, server and "
    "upstream exchange from here on."
)
REMEMBERED = "Nothing was sent: the agent has this document from its last login, as its server allows."
CUT_OFF = "There was no answer."
AWAITED = "The answer is not here yet."

SOUGHT = "The agent looks for this document here."
WITHOUT_METADATA = "The {server} does not name its authorization server: the agent has to guess."
CONFIDENTIAL = "It gets a client ID, and a secret that a program on a laptop cannot protect."
WITHOUT_ISSUER = (
    "The browser delivers a code that works once, and the agent's own state. The issuer is not named."
)
FOR_SERVER = "The {server} uses this code itself. The agent gets nothing: it only repeats its call."
OPAQUE = "an opaque string: only its issuer knows what it means"
LEAKED = "Token 1, the agent's, was passed on: this must not happen."
SENT_ALONG = (
    "The person's own token is passed on",
    "The {server} verified token 1, the agent's, and sends the value of `{header}` instead.",
)
SERVERS_OWN = (
    "The {server} uses its own token",
    "It is neither the agent's token nor the one that was sent with it: it belongs to the {server}.",
)
ASKED = "The answer is a link: the {server} needs the person at its own page before it can continue."
AGAIN = (
    "The tool {tool} is called again",
    "The same call again: it continues once the person has finished on the page.",
    "The same call, and the same answer: the person has not finished on the page.",
)

UNFOLDED = frozenset({"challenge", "mcp", "refresh", "register", "token"})
"""Kinds of request whose facts are shown in the terminal and unfolded on the page."""

SIGNS = {"equals": "=", "covers": "covers", "contains": "contains", "differs from": "≠"}
UNEQUAL = {"equals": "≠", "covers": "does not cover", "contains": "lacks", "differs from": "="}
"""The sign between two values whose comparison holds, and of one that does not."""


def span(seconds: float | None) -> str:
    """A readable duration; empty if it is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
