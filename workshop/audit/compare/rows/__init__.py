"""The rows of the comparison: each is told from what was seen, and none knows the systems' names."""

from workshop.audit.compare.cell import Row
from workshop.audit.compare.rows import around, credential, issuing, login

ROWS = (
    Row("issuer", "token issuer", "Who issues the client's token?", issuing.issuer),
    Row("credential", "upstream token", "How is the upstream credential got?", credential.got),
    Row("kept", "kept where", "Where is it kept, and can it be read there?", credential.kept),
    Row("passthrough", "token passed on", "Does the client's token reach the upstream?", credential.reaches),
    Row("pkce", "PKCE", "Is a code worth nothing without its verifier?", login.pkce),
    Row("consent", "consent", "Is a person asked about this client?", login.consent),
    Row("audience", "audience", "Is a token for somebody else refused?", login.audience),
    Row("challenge", "challenge", "What is a request without a token told?", login.challenge),
    Row("registration", "registration", "Can a client introduce itself?", issuing.registration),
    Row("iss", "iss (RFC 9207)", "Does the authorization response name its issuer?", issuing.iss),
    Row("refresh", "refresh", "Can a login be renewed without a person?", issuing.refresh),
    Row("prefix", "tool prefix", "What stands before the tools' own names?", around.prefix),
    Row("cleanup", "cleanup", "What is left when it is taken away?", around.cleanup),
    Row("findings", "probe findings", "What does `workshop probe` find?", around.findings),
    Row("answered", "answered", "Did the agent answer the part's question?", around.answered),
)
