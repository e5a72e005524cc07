"""The MCP side: each target's tools under its prefix, with the caller's own grant, or a link to get one."""

import json
import time
from dataclasses import dataclass
from typing import Any

from mcp import MCPError, UrlElicitationRequiredError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from results import Json, failed, is_list, shown

from workshop.auth import (
    CONNECTED,
    ApiRequest,
    Asked,
    Elicitations,
    Grants,
    Operation,
    Outbound,
    RequestState,
    Resources,
    StoreFullError,
    Target,
    UpstreamError,
    UpstreamProvider,
    call_api,
    caller_of,
    count_items,
)
from workshop.servers.variation.sdk import scope_of, tool_of
from workshop.servers.variation.service import timed_upstream

Context = ServerRequestContext[Any, Any]
SEPARATOR = "___"
QUESTION = "github"
MESSAGE = "This needs your account at {name}. Connect it on the gateway's own page; it checks that it is you."
UNAUTHORIZED = 401
ROUNDS = 10  # after so many the SDK's client gives up


@dataclass(frozen=True)
class Tools:
    """Answers `tools/list` and `tools/call`; the caller is the subject of the verified token.

    `wait_seconds`: how long a call is held while its person is at the page.
    """

    resources: Resources
    elicitations: Elicitations
    grants: Grants
    outbound: Outbound
    states: RequestState
    url: str
    wait_seconds: float

    def server(self) -> Server[Any]:
        return Server("elicitation-gateway", version="1.0.0", on_list_tools=self.list, on_call_tool=self.call)

    async def list(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        """Nothing before `construct.py` has set a target up."""
        named = [
            tool_of(operation, target.name + SEPARATOR + operation.name)
            for target in self.resources.targets().values()
            for operation in target.api.operations.values()
        ]
        short = [tool_of(target.api.operations[to], name) for name, (target, to) in self._aliases().items()]
        return ListToolsResult(tools=[*named, *short])

    async def call(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
        target, operation = self._find(params.name)
        try:
            request = operation.request(params.arguments or {})
        except ValueError as error:
            return _result(failed(str(error)))
        caller = caller_of(scope_of(ctx))
        asked = Asked(caller.subject, caller.client_id or "", target.name)
        if params.request_state is not None:
            waiting = await self._resumed(asked, target, params)
            if waiting is not None:
                return waiting
        try:
            answered = await self._answered(asked, target, operation, request)
            return self._ask(ctx, asked, target, params) if answered is None else _result(answered)
        except UpstreamError as error:
            return _result(failed(f"{_name_of(target)}: {error.trouble.value}"))
        except StoreFullError:
            return _result(failed("Too many people are connecting accounts; try again in ten minutes"))

    async def _answered(
        self, asked: Asked, target: Target, operation: Operation, request: ApiRequest
    ) -> Json | None:
        """The API's answer; None if the person has to connect an account first. Raises UpstreamError."""
        if target.provider is None:
            return await self._sent(target, operation, request, None)
        refresh = UpstreamProvider(target.provider, self.outbound, time.time).refresh
        tokens = await self.grants.current(asked, target.home, refresh)
        while tokens is not None:
            found = await self._sent(target, operation, request, tokens.access_token)
            if found is not None:
                return found
            refused, tokens = tokens, None
            if refused.refresh_token:
                tokens = await self.grants.renewed(asked, target.home, refused, refresh)
            if tokens is None or tokens.access_token == refused.access_token:
                self.grants.evict(asked, target.home, refused)
                return None
        return None

    async def _sent(
        self, target: Target, operation: Operation, request: ApiRequest, token: str | None
    ) -> Json | None:
        """What the tool shows of the API's answer; None if the API refuses the person's token."""
        server = target.api.server
        url, headers = server + request.address, request.headers
        with timed_upstream(target.name):
            answer = await call_api(
                self.outbound, url, token, method=request.method, headers=headers, body=request.body
            )
        if answer.status == UNAUTHORIZED and token is not None:
            return None
        total = await count_items(self.outbound, server, answer, token) if is_list(answer) else 0
        return shown(_name_of(target), operation, answer, total)

    def _aliases(self) -> dict[str, tuple[Target, str]]:
        """The further names of tools; no two targets have the same one."""
        targets = self.resources.targets().values()
        return {name: (target, to) for target in targets for name, to in target.aliases.items()}

    def _find(self, name: str) -> tuple[Target, Operation]:
        if alias := self._aliases().get(name):
            return alias[0], alias[0].api.operations[alias[1]]
        prefix, _, rest = name.partition(SEPARATOR)
        target = self.resources.targets().get(prefix)
        operation = target.api.operations.get(rest) if target else None
        if target is None or operation is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}")
        return target, operation

    def _ask(
        self, ctx: Context, asked: Asked, target: Target, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        link = self.elicitations.open(asked)
        url, message = f"{self.url}/connect?elicitation_id={link}", MESSAGE.format(name=_name_of(target))
        capabilities = ctx.session.client_capabilities
        if not (capabilities and capabilities.elicitation and capabilities.elicitation.url):
            advice = (
                f"{message} Your application cannot open it for you: open auth_url yourself, then call again."
            )
            return _result(
                {"status": "oauth_required", "auth_url": url, "elicitation_id": link, "message": advice}
            )
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            request = ElicitRequest(params=ElicitRequestURLParams(message=message, url=url))
            state = self.states.seal(_call(asked, params), link, 1)
            return InputRequiredResult(input_requests={QUESTION: request}, request_state=state)
        self.elicitations.when_settled(link, lambda: ctx.session.send_elicit_complete(link))
        raise UrlElicitationRequiredError(
            [ElicitRequestURLParams(message=message, url=url, elicitation_id=link)]
        )

    async def _resumed(
        self, asked: Asked, target: Target, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult | None:
        """None when the person is done; else a result, which may be: not yet, ask again."""
        opened = self.states.open(_call(asked, params), params.request_state or "")
        if opened is None:
            raise MCPError(INVALID_PARAMS, "Invalid or expired requestState")
        link, turn = opened
        if self.grants.get(asked, target.home) is not None:
            return None
        response = (params.input_responses or {}).get(QUESTION)
        if isinstance(response, ElicitResult) and response.action != "accept":
            return _result(failed("You did not want to connect the account, so this cannot be answered"))
        outcome = await self.elicitations.outcome(link, self.wait_seconds)
        if outcome is None and turn < ROUNDS:
            return InputRequiredResult(request_state=self.states.seal(_call(asked, params), link, turn + 1))
        if outcome != CONNECTED:
            return _result(failed("The account was not connected; call again for a new link"))
        return None


def _name_of(target: Target) -> str:
    """What people know the upstream by: the provider, or for an API that needs no account, the target."""
    return target.provider.name if target.provider else target.name


def _call(asked: Asked, params: CallToolRequestParams) -> Json:
    """What a `requestState` is good for: this person's call of this tool with these arguments."""
    return {"who": [asked.subject, asked.client_id], "tool": params.name, "with": params.arguments or {}}


def _result(found: Json) -> CallToolResult:
    text = json.dumps(found, ensure_ascii=False)
    return CallToolResult(content=[TextContent(text=text)], is_error=found["status"] != "success")
