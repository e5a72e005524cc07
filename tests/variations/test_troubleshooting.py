"""*When it fails* in the variations' READMEs: each entry is provoked in the test that this table names."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from workshop.core.paths import parts_dir

VARIATIONS = parts_dir() / "04_remote_oauth" / "variations"
HERE = Path(__file__).parent
# For each message of a README: the test (`FILE::TEST` is in `test_FILE.py`), and the text that it asserts, if
# that is another one.
PROVOKED: Mapping[str, Mapping[str, tuple[str, str] | str]] = {
    "worker": {
        "has no allowed_usernames": (
            "worker_server::test_a_wrong_configuration_is_reported",
            "has no `allowed_usernames`, so nobody could log in",
        ),
        "The weak edition works on loopback only": "worker_server::test_a_wrong_configuration_is_reported",
        "misdirected_request": "worker_real::test_health_answers_under_any_host_and_nothing_else_does",
        "redirect_uri_mismatch": (
            "worker_clients::test_what_github_refuses_reaches_the_client_with_its_reason"
        ),
        "server_error": "worker_clients::test_what_github_refuses_reaches_the_client_with_its_reason",
        "access_denied": "worker_server::test_only_those_who_are_allowed_get_a_code",
        "invalid_redirect_uri": "worker::test_step_3_dynamic_client_registration",
        "The application named a redirect URI that it has not registered": (
            "worker_clients::test_another_address_than_the_registered_one_ends_on_a_page"
        ),
        "invalid_client": "worker_clients::test_the_wrong_secret_gets_nothing_and_costs_nothing",
        "invalid_token": (
            "worker_clients::test_a_token_that_is_not_in_the_store_is_refused_and_the_way_named"
        ),
    },
    "elicitation": {
        "ResourceAlreadyExists": (
            "elicitation_construct::test_what_exists_already_is_no_error_and_stays",
            "already exists",
        ),
        "AccessDenied": (
            "elicitation_construct::test_another_control_secret_is_refused",
            "The control secret is needed",
        ),
        "The control secret is needed": "elicitation_construct::test_another_control_secret_is_refused",
        "Redirect URI mismatch": (
            "elicitation::test_a_callback_that_github_does_not_know_is_explained",
            "redirect_uri_mismatch",
        ),
        "The callback never completes": (
            "elicitation_attacks::test_who_closed_the_browser_halfway_can_start_again_at_once",
            "no longer valid",
        ),
        "No bearer token provided": (
            "elicitation::test_without_a_token_the_answer_names_the_document_to_read",
            "resource_metadata",
        ),
        "Tools return an error instead of data": (
            "elicitation::test_what_may_not_be_seen_is_an_error",
            "GitHub answered 404: Not Found",
        ),
        "The gateway does not answer": (
            "elicitation_construct::test_what_goes_wrong_is_reported_and_can_be_cleaned",
            "does not answer",
        ),
        "… is not an issuer": "elicitation_targets::test_an_oidc_provider_is_known_by_its_discovery_document",
        "has the alias … twice": "elicitation_targets::test_a_target_that_cannot_work_is_named",
        "The OpenAPI description cannot be used at …": (
            "elicitation_targets::test_a_target_that_cannot_work_is_named"
        ),
        "Identity mismatch": "elicitation_attacks::test_a_link_of_learners_connects_nothing_for_mentor",
    },
    "resource-server": {
        "refuses the token of the login that was just approved": (
            "resource_server_keycloak::test_without_the_mapper_the_login_works_and_the_token_is_worth_nothing"
        ),
        "auth needs …": "resource_server::test_what_is_missing_is_named",
        "auth must be a dict": "resource_server::test_what_is_no_dict_is_refused",
        "Unsupported auth type": "resource_server::test_another_type_is_refused",
        "503": (
            "resource_server_keycloak::test_while_the_keys_cannot_be_had_nobody_gets_in_and_nobody_is_blamed"
        ),
        "misdirected_request": (
            "resource_server_tokens::test_another_host_or_a_foreign_page_does_not_get_in",
            "421",
        ),
        "Cannot listen at …": (
            "resource_server::test_a_host_is_an_address_of_this_machine",
            r"Cannot listen at 192\.0\.2\.7",
        ),
    },
    "prefix-gateway": {
        "Missing required x-github-pat header": (
            "prefix_gateway_steps::test_step_9_the_callers_own_token_takes_the_place_of_the_identity"
        ),
        "github refuses your credential (HTTP 401)": (
            "prefix_gateway::test_a_credential_that_the_upstream_refuses_is_a_tool_error"
        ),
        "READY False": (
            "prefix_gateway_real::test_status_gives_the_reason_why_a_server_is_not_ready",
            "(False, 0)",
        ),
        "It refuses the discovery credential": (
            "prefix_gateway_real::test_status_gives_the_reason_why_a_server_is_not_ready"
        ),
        "Tools of one server are missing": (
            "prefix_gateway_real::test_status_gives_the_reason_why_a_server_is_not_ready",
            "The server behind gone_ gives no usable answer",
        ),
        "not reloaded: …": (
            "prefix_gateway_real::test_a_mistake_in_the_changed_file_changes_nothing_and_is_logged_once"
        ),
        "misdirected_request": ("service::test_metrics_are_on_their_own_port_and_count_refusals_by_reason"),
        "503": "service::test_without_the_providers_keys_nobody_is_let_in_or_blamed",
    },
}
_MARKED = r"`[^`]+`|\*[^*]+\*"


def messages(name: str) -> list[str]:
    """The marked words with which each entry of a README begins, once each."""
    page = (VARIATIONS / name / "README.md").read_text("utf-8")
    section = page.partition("\n## When it fails\n")[2].partition("\n## ")[0]
    heads = re.findall(rf"^- ((?:{_MARKED}|[^`*:])+):", section, re.MULTILINE)
    assert len(heads) == len(re.findall(r"^- ", section, re.MULTILINE)), "an entry without marked words"
    found = (text.strip("`*") for head in heads for text in re.findall(_MARKED, head))
    return list(dict.fromkeys(found))


def source_of(file: str, test: str) -> str:
    """The text of a test, with its parameters."""
    text = (HERE / f"test_{file}.py").read_text("utf-8")
    (found,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test
    )
    decorators = (ast.get_source_segment(text, each) or "" for each in found.decorator_list)
    return "\n".join([*decorators, ast.get_source_segment(text, found) or ""])


@pytest.mark.parametrize("name", PROVOKED)
def test_every_entry_is_in_the_table(name: str) -> None:
    assert sorted(messages(name)) == sorted(PROVOKED[name])


@pytest.mark.parametrize(
    ("message", "provoked"),
    [pytest.param(*entry, id=f"{name}: {entry[0]}") for name in PROVOKED for entry in PROVOKED[name].items()],
)
def test_the_test_of_an_entry_asserts_its_message(message: str, provoked: tuple[str, str] | str) -> None:
    test, asserted = (provoked, message) if isinstance(provoked, str) else provoked
    source = source_of(*test.split("::"))
    for part in asserted.split("…"):
        assert part.strip(" :") in source


def test_every_variation_has_entries() -> None:
    assert set(PROVOKED) == {path.parent.name for path in VARIATIONS.glob("*/README.md")}
