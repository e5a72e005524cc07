"""The practice identity provider: an authorization server of its own, as a company has one.

It is the gateway's authorization server (OAuth 2.1, RFC 8414, RFC 7591, RFC 7009, RFC 9207) for a protected
resource that is somewhere else, with a sign-in page for the practice users in place of an upstream.

Different from Keycloak and its like, on purpose: no passwords, one protected resource, public clients only,
and no ID tokens: the access token (RFC 9068) identifies the person to the resource.
"""
