"""The rows of the comparison: each is derived from evidence alone, without the system's name."""

from workshop.audit.compare.evidence import Row
from workshop.audit.compare.rows import credential, login, outcome

ROWS = (
    Row("issuer", "token issuer", "Who issues the client's token?", login.issuer),
    Row("credential", "upstream token", "How is the upstream token obtained?", credential.obtained),
    Row("kept", "stored where", "Where is it stored, and is it readable there?", credential.stored),
    Row("passthrough", "token passed on", "Does the client's token reach the upstream?", credential.reaches),
    Row("pkce", "PKCE", "Is a code useless without its verifier?", login.pkce),
    Row("consent", "consent", "Is a person asked about this client?", login.consent),
    Row("audience", "audience", "Is a token for another server refused?", login.audience),
    Row("challenge", "challenge", "How is a request without a token answered?", login.challenge),
    Row("registration", "registration", "Can a client register itself?", login.registration),
    Row("iss", "iss (RFC 9207)", "Does the authorization response name its issuer?", login.iss),
    Row("refresh", "refresh", "Can a login be renewed without a person?", login.refresh),
    Row("prefix", "tool prefix", "Which prefix do the tools' names have?", outcome.prefix),
    Row("cleanup", "cleanup", "What is left after removal?", outcome.cleanup),
    Row("findings", "probe findings", "What does `workshop probe` find?", outcome.findings),
    Row("answered", "answered", "Did the agent answer the part's question?", outcome.answered),
)
