"""The nine hops of part 4's handshake: the one numbering that the screen, the pages and the traces share.

The lesson and `main.py` use the same numbers; `tests/core/test_hops.py` compares them all. The variations of
part 4 make the same handshake, so their hops have the same numbers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hop:
    """One hop: its number from 1, its name in a word, and what happens, in a sentence."""

    number: int
    name: str
    sentence: str

    @property
    def label(self) -> str:
        """The hop as a page or a heading shows it: `Hop 5 of 9: consent`."""
        return f"Hop {self.number} of {len(HOPS)}: {self.name}"


HOPS = tuple(
    Hop(number, name, sentence)
    for number, (name, sentence) in enumerate(
        (
            (
                "refusal",
                "The agent calls without a token; the proxy answers 401 and names a document to read.",
            ),
            ("resource", "That document names the resource, and the issuer of its tokens."),
            ("issuer", "The issuer's own document lists its endpoints, and offers PKCE."),
            ("registration", "The agent introduces itself, and gets a client ID but no secret."),
            ("consent", "The browser brings the hash of a new secret, and you decide about this agent."),
            ("sign-in", "You sign in at GitHub; the proxy fetches token 2 and keeps it."),
            ("code", "The browser brings the agent a code that works once."),
            ("token", "The agent exchanges the code, with the secret itself, for token 1."),
            ("swap", "Each call carries token 1; the proxy checks it and sends token 2 instead."),
        ),
        1,
    )
)
"""Every hop, in order."""
REFUSAL, RESOURCE, ISSUER, REGISTRATION, CONSENT, SIGN_IN, CODE, TOKEN, SWAP = range(1, 10)
"""The numbers of the hops, by name."""


def hop(number: int) -> Hop:
    """The hop with this number, 1 to 9."""
    return HOPS[number - 1]
