"""What the embedded gateway and ToolHive's proxy answer to the same questions, and where they differ.

One list, asked of both. Where the two answers differ, `name` is a line of the list in
part 4's `differences.md`, which `test_differences.py` holds to this one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.toolhive_real import mcp_questions as mcp
from tests.toolhive_real import questions as ask
from tests.toolhive_real.places import Change, Place, Visitor, unchanged, with_field, with_server
from workshop.toolhive.manifests import Resource, Resources

Ask = Callable[[Place, Visitor], Awaitable[str]]


@dataclass(frozen=True)
class Question:
    """One question and both answers."""

    name: str
    ask: Ask
    gateway: str
    toolhive: str
    change: Change = unchanged
    """What is changed in the manifests for it."""

    @property
    def differs(self) -> bool:
        return self.gateway != self.toolhive

    def answer(self, kind: str) -> str:
        """The answer of a kind of proxy."""
        return self.gateway if kind == "gateway" else self.toolhive


def _same(name: str, question: Ask, answer: str, change: Change = unchanged) -> Question:
    return Question(name, question, answer, answer, change)


def with_filter(resources: Resources) -> Resources:
    """`get_me` is called `who_am_i`, and of all others only `list_issues` is there."""
    spec = {"toolsOverride": {"get_me": {"name": "who_am_i"}}, "toolsFilter": ["who_am_i", "list_issues"]}
    tools = Resource("MCPToolConfig", "a-filter", {"spec": spec}, __file__)
    changed = with_field(resources, "MCPRemoteProxy", "toolConfigRef", {"name": tools.name})
    return Resources((*changed.all, tools))


def for_two_at_once(resources: Resources) -> Resources:
    """Two clients may register at once."""
    return with_server(resources, "registrationRateLimit", {"maxTokens": 2, "refillPeriod": "1h"})


def for_two_in_all(resources: Resources) -> Resources:
    """Two clients may be registered."""
    return with_server(resources, "storage", {"type": "memory", "maxDCRClients": 2})


def with_documents(resources: Resources) -> Resources:
    """Clients may name a document of theirs."""
    return with_server(resources, "cimd", {"enabled": True})


def with_baseline(resources: Resources) -> Resources:
    """Every client may ask for two scopes, whatever it registered."""
    return with_server(resources, "baselineClientScopes", ["email", "offline_access"])


def with_secrets(resources: Resources) -> Resources:
    """Clients may register for a secret."""
    allowed = with_server(resources, "allowConfidentialClientRegistration", value=True)
    return with_server(allowed, "insecureAllowConfidentialOverLoopbackHTTP", value=True)


QUESTIONS = (
    _same(
        "What it is called",
        ask.resource_document,
        "http://localhost:8080/ of http://localhost:8080, ['header']",
    ),
    _same("Members and parameters without a value", ask.empty_values, "201, 200"),
    _same("S256", ask.pkce, "['S256']"),
    _same("A client's address as its id", ask.client_documents, "not taken"),
    _same("A client's address as its id, enabled", ask.client_documents, "taken", with_documents),
    _same("Scopes that every client gets", ask.baseline_scope, "openid email offline_access", with_baseline),
    _same(
        "A redirect to another machine by plain http", ask.registered_redirects, "400 invalid_redirect_uri"
    ),
    _same("A redirect URI with a scheme of the application's own", ask.private_redirect, "201"),
    _same("A client with a secret", ask.confidential_clients, "none; 400, 400, 400"),
    _same(
        "A client with a secret, where they are allowed",
        ask.confidential_clients,
        "client_secret_basic client_secret_post none; 201, 201, 400",
        with_secrets,
    ),
    _same("Their secrets", ask.client_secrets, "right 200, wrong 401, other way 401, none 401", with_secrets),
    _same("Registrations at once", ask.registrations_at_once, "201 201 429, says when", for_two_at_once),
    _same("Registrations in all", ask.registrations_at_once, "201 201 503, says when", for_two_in_all),
    _same("Consent page", ask.consent, "asks"),
    _same("A no", ask.denial, "redirect, access_denied"),
    _same("The consent form, sent by another site", ask.foreign_form, "403"),
    _same("The consent form from nowhere", ask.opaque_origin, "403"),
    _same("The consent form without an Origin", ask.form_without_origin, "403"),
    _same("The callback's port", ask.other_port, "taken"),
    _same("127.0.0.1 for localhost", ask.other_spelling, "400"),
    _same("A login for another server", ask.other_resource, "redirect, invalid_target"),
    _same("A login for no server by name", ask.no_resource, "200"),
    _same("Audience", ask.audience, "['http://localhost:8080/'] of http://localhost:8080"),
    _same("Another verifier", ask.wrong_verifier, "400 invalid_grant"),
    _same("A code for another server", ask.redeem_for_another, "400 invalid_target"),
    _same("A forged token", ask.forged, "401 invalid_token"),
    _same("The swap", mcp.swap, "practice token of learner, practice token of mentor"),
    _same("What is not one JSON-RPC message", mcp.envelopes, "400 -32600"),
    _same("What is not JSON", mcp.no_json, "400 -32700"),
    _same("A body without POST, and a header that Connection names", mcp.framing, "400, 400"),
    _same("GET and DELETE without sessions", mcp.without_post, "405, 405"),
    _same("A session that nobody opened", mcp.unknown_session, "404 -32001"),
    _same(
        "What a filter lists", mcp.filtered_list, "list_issues who_am_i, list_issues who_am_i", with_filter
    ),
    _same("A hidden tool", mcp.hidden_tool, "2025-11-25: -32602, 2026-07-28: -32602", with_filter),
    Question(
        "A 401 without a token",
        ask.challenge,
        "401, says where, no error, no offline_access",
        "401, says where, invalid_request, asks for offline_access",
    ),
    Question(
        "The metadata at the endpoint's path",
        ask.endpoint_resource,
        "http://localhost:8080/mcp; authorize: 200",
        "http://localhost:8080/; authorize: redirect, invalid_target",
    ),
    Question(
        "A scope for the refresh token", ask.unregistered_offline_access, "200", "redirect, invalid_scope"
    ),
    Question(
        "Schemes that have a meaning already",
        ask.unsafe_redirects,
        "none",
        "javascript data file intent ms-msdt web+app",
    ),
    Question("Grants for machines", ask.grants, "none", "token-exchange"),
    Question(
        "A login without PKCE",
        ask.no_pkce,
        "before consent, invalid_request",
        "after the login, redirect, server_error",
    ),
    Question(
        "Statuses of refusals",
        ask.refusals,
        "consent 403, callback 403, client 400",
        "consent 400, callback 400, client 401",
    ),
    Question("`iss` in the answer", ask.issuer_in_answer, "sent", "not sent"),
    Question(
        "Claims",
        ask.claims,
        "at+jwt: aud client_id email exp iat iss jti name scope scp sub tsid",
        "JWT: aud client_id email exp iat iss jti name scp sub tsid",
    ),
    Question("Another spelling of the address", ask.host, "421", "200"),
    Question("A token in the address", ask.token_in_the_address, "400", "200"),
    Question(
        "A code used twice",
        ask.second_redemption,
        "400 invalid_grant; the token then: 401",
        "400 invalid_grant; the token then: 200",
    ),
    Question(
        "A refresh token used twice",
        ask.refresh,
        "200; the old one: 200; the new one after that: 200",
        "200; the old one: 400 invalid_grant; the new one after that: 200",
    ),
    Question("Revocation", ask.revocation, "announced, 400", "not announced, 404"),
    Question("Bytes that are not UTF-8", mcp.no_utf_8, "400 -32700", "400 -32020"),
    Question(
        "A renamed tool",
        mcp.renamed_tool,
        "2025-11-25: answered, 2026-07-28: answered",
        "2025-11-25: answered, 2026-07-28: -32020",
        with_filter,
    ),
    Question(
        "What you take back at GitHub",
        mcp.revoked_at_github,
        "401 with its own challenge; refresh: 400 invalid_grant",
        "401 with GitHub's challenge; refresh: 200",
    ),
    Question(
        "Memory",
        mcp.restart,
        "the login stands",
        "401 invalid_token, says where to log in; refresh: 401 invalid_client",
    ),
)
"""Those of one change are asked in this order of one proxy, and the last ones end logins."""
