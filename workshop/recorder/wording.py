"""What each kind of hop is for, in a sentence, and where that is written."""

from dataclasses import dataclass

_MINUTE = 60.0

PHASES = {
    "refusal": "Refused at the door",
    "discovery": "Who issues tokens?",
    "registration": "The agent introduces itself",
    "approval": "A person approves",
    "visit": "A call waits for a person",
    "token": "From code to token",
    "calls": "The calls",
}


@dataclass(frozen=True)
class Words:
    """Title, sentence and references of one kind of hop, and the phase it belongs to."""

    phase: str
    title: str
    sentence: str
    references: tuple[str, ...] = ()


_MCP_DISCOVERY = "MCP authorization, Authorization Server Discovery"
_WHO = "MCP elicitation, Phishing"
_SWAP = "MCP authorization, Access Token Privilege Restriction"

WORDS = {
    "challenge": Words(
        "refusal",
        "No way in without a token",
        "The {server} refuses the request and names the document that says where a token can be had.",
        ("RFC 9728 §5.1", "RFC 6750 §3", _MCP_DISCOVERY),
    ),
    "resource-metadata": Words(
        "discovery",
        "What is this resource, and who issues tokens for it?",
        "The protected-resource metadata names the resource and its authorization server.",
        ("RFC 9728 §3", _MCP_DISCOVERY),
    ),
    "server-metadata": Words(
        "discovery",
        "Where are the authorization server's endpoints?",
        "The issuer's own metadata lists its endpoints and offers PKCE with S256, or the agent would stop.",
        ("RFC 8414 §3", "RFC 7636 §4.2", _MCP_DISCOVERY),
    ),
    "register": Words(
        "registration",
        "The agent registers itself",
        "It gets a client id and no secret: a program on a laptop could not keep one.",
        ("RFC 7591 §3", "RFC 8252 §8.4"),
    ),
    "ask-first": Words(
        "approval",
        "Does the server still know this client?",
        "The agent asks before it sends a person there: a forgotten client id would end on an error page.",
        ("RFC 6749 §4.1.2.1",),
    ),
    "authorize": Words(
        "approval",
        "The browser carries the request",
        "Who asks, for which resource, where the code may go, and the hash of a secret: the PKCE challenge.",
        ("RFC 6749 §4.1.1", "RFC 7636 §4.3", "RFC 8707 §2"),
    ),
    "consent": Words(
        "approval",
        "The person says yes to this agent",
        "The {receiver} asks whether this agent may act for the person, and sends the browser on to sign in.",
        ("MCP security best practices, Confused Deputy Problem",),
    ),
    "sign-in": Words(
        "approval",
        "The person signs in",
        "At the {receiver} itself. The agent never sees this page, nor any password.",
        ("RFC 6749 §4.1.1",),
    ),
    "issuer-callback": Words(
        "approval",
        "The sign-in is done",
        "The {receiver} brings the result back to itself. Now it makes a code for the client that asked.",
        ("RFC 6749 §4.1.2",),
    ),
    "visit": Words(
        "approval",
        "The browser opens the link",
        "The {receiver} tells nothing about it yet: first it wants to know who has opened it.",
        (_WHO,),
    ),
    "own-authorize": Words(
        "approval",
        "Now the {server} is a client of the authorization server",
        "With its own client id, state and PKCE challenge, to learn who is at the browser.",
        (_WHO, "RFC 6749 §4.1.1"),
    ),
    "own-consent": Words(
        "approval",
        "The person says yes to the {server}",
        "The {receiver} asks whether the {server} may learn who this person is.",
    ),
    "own-callback": Words(
        "approval",
        "The {server} learns who opened the link",
        "It trades this code itself, and compares: only the person who made the call may go on.",
        (_WHO, "RFC 6749 §4.1.2"),
    ),
    "connect": Words(
        "approval",
        "The person says yes to the connection",
        "The page has named the account and what is wanted there. Only now the browser is sent on to it.",
        ("MCP security best practices, Confused Deputy Problem",),
    ),
    "upstream-authorize": Words(
        "approval",
        "Now the {server} is the client",
        "The browser is sent on with the {server}'s own client id and state; the agent has no part in it.",
        ("RFC 6749 §4.1.1",),
    ),
    "upstream-consent": Words(
        "approval",
        "The person signs in",
        "The agent never sees this page, nor any password.",
        ("RFC 6749 §4.1.1",),
    ),
    "upstream-callback": Words(
        "approval",
        "The upstream's code goes to the {server}",
        "The {server} takes this code for itself, and makes another one for the agent.",
        ("RFC 6749 §4.1.2",),
    ),
    "upstream-token": Words(
        "approval",
        "The {server} fetches the upstream's token",
        "This is the other token of this story. It stays in the {server}.",
        ("RFC 6749 §4.1.3",),
    ),
    "upstream-user": Words(
        "approval",
        "The {server} asks who has approved",
        "With the upstream's token, which only the {server} has.",
    ),
    "callback": Words(
        "approval",
        "The code comes back to the agent",
        "The browser brings a code that works once, the agent's own state, and the issuer's name.",
        ("RFC 6749 §4.1.2", "RFC 9207 §2", "RFC 8252 §7.3"),
    ),
    "page": Words(
        "approval", "The browser opens a page", "A page of the {receiver}, on the way to the approval."
    ),
    "token": Words(
        "token",
        "The code becomes an access token",
        "The agent shows the secret behind the hash: where it is checked, a stolen code is worth nothing.",
        ("RFC 6749 §4.1.3", "RFC 7636 §4.5", "RFC 8707 §2.2"),
    ),
    "refresh": Words(
        "token",
        "A refresh token brings a new access token",
        "No person is needed. The old refresh token is spent with it.",
        ("RFC 6749 §6", "RFC 9700 §4.14"),
    ),
    "mcp": Words(
        "calls",
        "An MCP request",
        "The agent asks, and the server answers.",
        ("MCP transports, Streamable HTTP",),
    ),
    "upstream-mcp": Words(
        "calls",
        "The token swap",
        "The {server} has checked the agent's token, and sends the upstream's own in its place.",
        (_SWAP,),
    ),
    "upstream-call": Words(
        "calls", "The {server} asks the upstream", "Its own request, with a token that the agent never has."
    ),
}

METHODS = {
    "initialize": (
        "The session begins",
        "Both sides say which protocol version they speak, and what they can do.",
    ),
    "notifications/initialized": ("The session stands", "The agent is ready; no answer is expected."),
    "server/discover": (
        "What server is this?",
        "One question in place of a handshake: since 2026-07-28 every request stands alone.",
    ),
    "tools/list": ("Which tools are there?", "The list the model may choose from."),
    "tools/call": ("A tool is called", "The model asked for it; the agent carries it out."),
    "ping": ("Still there?", "Either side may ask."),
}
BUILT = (
    "The agent built this address and gave it to the browser. What browser, gateway and upstream say to "
    "each other from here on, the agent cannot see."
)
REMEMBERED = "Nothing was sent: the agent kept this document from its last login, as its server allows."
CUT_OFF = "No answer came."

SOUGHT = "The agent looks for this document here."
UNGUIDED = (
    "The {server} refuses the request and does not say where a token can be had: the agent has to guess."
)
CONFIDENTIAL = "It gets a client id, and a secret that a program on a laptop cannot keep."
NAMELESS = (
    "The browser brings a code that works once, and the agent's own state. It does not say whose code it is."
)
KEPT = "The {server} takes this code for itself. Nothing is made for the agent: it only calls again."
OPAQUE = "a text that says nothing by itself: only its issuer knows what it stands for"
LEAKED = "The agent's own token was passed on: this must not happen."
SENT_ALONG = (
    "The person's own token goes on",
    "The {server} has checked the agent's token and keeps it. In its place goes what came in `{header}`.",
)
SERVERS_OWN = (
    "The {server} uses a token of its own",
    "Neither the agent's token nor what was sent along with it: this one is the {server}'s.",
)
ASKED = "The answer is a link: the {server} needs the person at a page of its own before it can go on."
AGAIN = (
    "The tool {tool} is called again",
    "The same call once more: it goes on when the person has been at the page.",
    "The same call, and the same answer: the person is not through with the page.",
)

SAID = frozenset({"challenge", "mcp", "refresh", "register", "token"})
"""Kinds of hop whose headers and bodies are the point of them."""

SIGNS = {"equals": "=", "covers": "covers", "contains": "contains", "differs from": "≠"}
UNEQUAL = {"equals": "≠", "covers": "does not cover", "contains": "lacks", "differs from": "="}
"""How a comparison is written that holds, and one that does not."""


def span(seconds: float | None) -> str:
    """A duration for people, or an empty string for one that is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
