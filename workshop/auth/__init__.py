"""An OAuth 2.1 kit for servers: authorization server, resource guard, keys, stores, account linking.

It contains no MCP server, and knows none of the programs that use it. The names below are its public face:
the variations import nothing else of it. A name's module is imported when the name is first used, so that a
server loads only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workshop.auth.browser import form_page as form_page
    from workshop.auth.browser import refuse_other_sites as refuse_other_sites
    from workshop.auth.clients import SECRET_METHODS as SECRET_METHODS
    from workshop.auth.clients import check_credentials as check_credentials
    from workshop.auth.clients import client_auth_method as client_auth_method
    from workshop.auth.clients import client_name as client_name
    from workshop.auth.clients import new_client_secret as new_client_secret
    from workshop.auth.clients import read_credentials as read_credentials
    from workshop.auth.clients import read_document as read_document
    from workshop.auth.clients import redirect_uris as redirect_uris
    from workshop.auth.clients import refused_client as refused_client
    from workshop.auth.config import Upstream as Upstream
    from workshop.auth.config_reader import LOOPBACK_HOSTS as LOOPBACK_HOSTS
    from workshop.auth.config_reader import SecretFile as SecretFile
    from workshop.auth.config_reader import SecretText as SecretText
    from workshop.auth.config_reader import Url as Url
    from workshop.auth.config_reader import check_header as check_header
    from workshop.auth.config_reader import wrong_setting as wrong_setting
    from workshop.auth.consent import ConsentForm as ConsentForm
    from workshop.auth.guards import BearerGuard as BearerGuard
    from workshop.auth.guards import Cors as Cors
    from workshop.auth.guards import HostGuard as HostGuard
    from workshop.auth.guards import caller_of as caller_of
    from workshop.auth.http import OAuthError as OAuthError
    from workshop.auth.http import PageError as PageError
    from workshop.auth.http import Parameters as Parameters
    from workshop.auth.http import RedirectError as RedirectError
    from workshop.auth.http import RefusedError as RefusedError
    from workshop.auth.http import bounded_body as bounded_body
    from workshop.auth.http import early_error as early_error
    from workshop.auth.http import form_parameters as form_parameters
    from workshop.auth.http import private_json as private_json
    from workshop.auth.http import query_parameters as query_parameters
    from workshop.auth.http import redirect as redirect
    from workshop.auth.http import with_headers as with_headers
    from workshop.auth.json_rpc import read_tool_call as read_tool_call
    from workshop.auth.keys import InternalTokens as InternalTokens
    from workshop.auth.keys import load_signing_key as load_signing_key
    from workshop.auth.limits import ClientGoneError as ClientGoneError
    from workshop.auth.limits import Patience as Patience
    from workshop.auth.limits import TokenBucket as TokenBucket
    from workshop.auth.linking.pages import Connect as Connect
    from workshop.auth.linking.pages import IdentityProvider as IdentityProvider
    from workshop.auth.linking.pages import own_registration as own_registration
    from workshop.auth.linking.records import CONNECTED as CONNECTED
    from workshop.auth.linking.records import Asked as Asked
    from workshop.auth.linking.records import Elicitations as Elicitations
    from workshop.auth.linking.records import Grants as Grants
    from workshop.auth.linking.records import RequestState as RequestState
    from workshop.auth.linking.targets import Control as Control
    from workshop.auth.linking.targets import Resources as Resources
    from workshop.auth.linking.targets import Target as Target
    from workshop.auth.openapi_tools import ApiRequest as ApiRequest
    from workshop.auth.openapi_tools import Operation as Operation
    from workshop.auth.outbound import Outbound as Outbound
    from workshop.auth.outside_tokens import OutsideIssuer as OutsideIssuer
    from workshop.auth.outside_tokens import OutsideTokens as OutsideTokens
    from workshop.auth.redirect_rules import redirect_uri_matches as redirect_uri_matches
    from workshop.auth.resource_server import Challenge as Challenge
    from workshop.auth.routes import Endpoint as Endpoint
    from workshop.auth.store import StoreFullError as StoreFullError
    from workshop.auth.upstream import Trouble as Trouble
    from workshop.auth.upstream import UpstreamError as UpstreamError
    from workshop.auth.upstream import UpstreamProvider as UpstreamProvider
    from workshop.auth.upstream_api import ApiAnswer as ApiAnswer
    from workshop.auth.upstream_api import api_of as api_of
    from workshop.auth.upstream_api import call_api as call_api
    from workshop.auth.upstream_api import count_items as count_items
    from workshop.auth.upstream_api import github_app as github_app
    from workshop.auth.vault import SealedRecords as SealedRecords
    from workshop.auth.vault import Vault as Vault
    from workshop.auth.vault import digest as digest
    from workshop.auth.vault import random_token as random_token
    from workshop.auth.vault import same_secret as same_secret
    from workshop.core.encoding import s256 as s256

_NAMES = {
    "browser": "form_page refuse_other_sites",
    "clients": "check_credentials client_auth_method client_name new_client_secret "
    "read_credentials read_document redirect_uris refused_client SECRET_METHODS",
    "config": "Upstream",
    "config_reader": "check_header LOOPBACK_HOSTS SecretFile SecretText Url wrong_setting",
    "consent": "ConsentForm",
    "guards": "BearerGuard caller_of Cors HostGuard",
    "http": "bounded_body early_error form_parameters OAuthError PageError Parameters "
    "private_json query_parameters redirect RedirectError RefusedError with_headers",
    "json_rpc": "read_tool_call",
    "keys": "InternalTokens load_signing_key",
    "limits": "ClientGoneError Patience TokenBucket",
    "linking.pages": "Connect IdentityProvider own_registration",
    "linking.records": "Asked CONNECTED Elicitations Grants RequestState",
    "linking.targets": "Control Resources Target",
    "openapi_tools": "ApiRequest Operation",
    "outbound": "Outbound",
    "outside_tokens": "OutsideIssuer OutsideTokens",
    "redirect_rules": "redirect_uri_matches",
    "resource_server": "Challenge",
    "routes": "Endpoint",
    "store": "StoreFullError",
    "upstream": "s256 Trouble UpstreamError UpstreamProvider",
    "upstream_api": "api_of ApiAnswer call_api count_items github_app",
    "vault": "digest random_token same_secret SealedRecords Vault",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the names have types of their own, above
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE_OF)
