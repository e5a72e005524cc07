"""schemathesis holds a gateway to its OpenAPI description, with requests that follow it and that do not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.effort import looks
from tests.servers.gateway.harness import configured, in_thread, settings
from workshop.core.ports import free_port
from workshop.servers.gateway.app import create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_path(Path(__file__).with_name("openapi.yaml"))
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    config = configured(folder, settings(folder, port=free_port()))
    with in_thread(create_app(config), config.port) as url:
        yield url


@SCHEMA.parametrize()
@looks(40)
def test_the_gateway_answers_as_described(case: "Case[Any]", address: str) -> None:
    case.call_and_validate(base_url=address, checks=CHECKS, allow_redirects=False, timeout=60)
