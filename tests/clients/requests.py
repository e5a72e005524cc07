"""What clients send that cannot run here, as their source or public reports show (November 2026).

Facts only, each with its source. A replay is not the client: `workshop help clients` says which is which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BOTH_GRANTS = ["authorization_code", "refresh_token"]
LOOPBACK = "http://127.0.0.1:50123"


@dataclass(frozen=True)
class ClientRequests:
    """The requests of one client: registration, authorization and token.

    `redirect_uri` is the one it uses in the end, which may have another port than it registered. `scope` says
    which scopes it asks for, and `resource` whether it names the server by its URL or not at all. `form` is
    what it adds to each token request.
    """

    name: str
    source: str
    registration: Mapping[str, object]
    redirect_uri: str
    scope: Literal["metadata", "metadata and offline_access", "none"] = "metadata"
    resource: Literal["url", "none"] = "url"
    form: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def confidential(self) -> bool:
        return self.registration.get("token_endpoint_auth_method", "none") != "none"


def _registers(name: str, *redirect_uris: str, **more: object) -> dict[str, object]:
    return {
        "client_name": name,
        "redirect_uris": list(redirect_uris),
        "grant_types": BOTH_GRANTS,
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        **more,
    }


VSCODE = ("https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/")
CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
CLAUDE_AI = "https://claude.ai/api/mcp/auth_callback"

CLIENTS = (
    ClientRequests(
        "VS Code",
        "microsoft/vscode src/vs/base/common/oauth.ts, fetchDynamicRegistration; issue 278512 for the port",
        _registers(
            "Visual Studio Code",
            *VSCODE,
            "http://127.0.0.1:33418/",
            client_uri="https://code.visualstudio.com",
            application_type="native",
        ),
        "http://127.0.0.1:59656/",
    ),
    ClientRequests(
        # Where the document that the 401 names has another `resource` than the URL, it drops that document.
        "VS Code, without the resource",
        "microsoft/vscode src/vs/base/common/oauth.ts, fetchResourceMetadata, and extHostMcp",
        _registers("Visual Studio Code", *VSCODE, client_uri="https://code.visualstudio.com", scope=""),
        "https://vscode.dev/redirect",
        scope="none",
        resource="none",
    ),
    ClientRequests(
        "Cursor",
        "erp-mafia/accounted 2225, soflyy/agent-connector-for-wp 111, different-ai/openwork 3059",
        _registers(
            "Cursor",
            CURSOR,
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ),
        CURSOR,
    ),
    ClientRequests(
        "Windsurf",
        "no public source shows its requests; supabase/mcp 183 has the scope",
        _registers("Windsurf", f"{LOOPBACK}/callback", scope=None, contacts=[], logo_uri=""),
        f"{LOOPBACK}/callback",
    ),
    ClientRequests(
        "Zed",
        "zed-industries/zed crates/context_server/src/oauth.rs, dcr_registration_body",
        _registers("Zed", f"{LOOPBACK}/callback"),
        f"{LOOPBACK}/callback",
        headers={"accept": "application/json"},
    ),
    ClientRequests(
        "Codex",
        "openai/codex codex-rs/rmcp-client/src/perform_oauth_login.rs; its issue 30460 has an address",
        _registers("Codex", f"{LOOPBACK}/callback/6MFBM1In3Ey-"),
        f"{LOOPBACK}/callback/6MFBM1In3Ey-",
    ),
    ClientRequests(
        "Gemini CLI",
        "google-gemini/gemini-cli packages/core/src/mcp/oauth-provider.ts",
        _registers("Gemini CLI MCP Client", "http://localhost:7777/oauth/callback", scope=""),
        "http://localhost:7777/oauth/callback",
        scope="none",
        headers={"accept": "application/json, application/x-www-form-urlencoded"},
    ),
    ClientRequests(
        "goose",
        "block/goose crates/goose/src/oauth/mod.rs",
        _registers("goose", f"{LOOPBACK}/oauth_callback"),
        f"{LOOPBACK}/oauth_callback",
    ),
    ClientRequests(
        "ChatGPT",
        "danielealbano/android-remote-control-mcp 166, kunickiaj/codemem 1286",
        _registers("ChatGPT", "https://chatgpt.com/connector/oauth/OUbdUMlL15Ct"),
        "https://chatgpt.com/connector/oauth/OUbdUMlL15Ct",
        scope="metadata and offline_access",
    ),
    ClientRequests(
        "claude.ai and Claude Desktop's connectors",
        "anthropics/claude-ai-mcp 1043: the registration comes from the maker's servers in both cases",
        _registers("Claude", CLAUDE_AI, token_endpoint_auth_method="client_secret_post"),
        CLAUDE_AI,
    ),
    ClientRequests(
        "Claude Code's desktop app",
        "RevenueCat/ai-toolkit 58",
        _registers("Claude Code", "claude://claude.ai/mcp-auth-callback/sdk"),
        "claude://claude.ai/mcp-auth-callback/sdk",
        scope="metadata and offline_access",
        form={"client_secret": ""},
    ),
)
# VS Code's versions of 2025, and where a server announces no grant types.
UNWANTED_GRANT = _registers("Visual Studio Code", *VSCODE, grant_types=[*BOTH_GRANTS, DEVICE])
