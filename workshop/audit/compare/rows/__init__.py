"""The rows of the comparison: each is told from what was seen, and none knows the systems' names."""

from workshop.audit.compare.evidence import Row
from workshop.audit.compare.rows import credential, login, outcome

ROWS = (
    Row("issuer", "token issuer", "Who issues the client's token?", login.issuer),
    Row("credential", "upstream token", "How is the upstream credential got?", credential.got),
    Row("kept", "kept where", "Where is it kept, and can it be read there?", credential.kept),
    Row("passthrough", "token passed on", "Does the client's token reach the upstream?", credential.reaches),
    Row("pkce", "PKCE", "Is a code worth nothing without its verifier?", login.pkce),
    Row("consent", "consent", "Is a person asked about this client?", login.consent),
    Row("audience", "audience", "Is a token for somebody else refused?", login.audience),
    Row("challenge", "challenge", "What is a request without a token told?", login.challenge),
    Row("registration", "registration", "Can a client introduce itself?", login.registration),
    Row("iss", "iss (RFC 9207)", "Does the authorization response name its issuer?", login.iss),
    Row("refresh", "refresh", "Can a login be renewed without a person?", login.refresh),
    Row("prefix", "tool prefix", "What stands before the tools' own names?", outcome.prefix),
    Row("cleanup", "cleanup", "What is left when it is taken away?", outcome.cleanup),
    Row("findings", "probe findings", "What does `workshop probe` find?", outcome.findings),
    Row("answered", "answered", "Did the agent answer the part's question?", outcome.answered),
)
