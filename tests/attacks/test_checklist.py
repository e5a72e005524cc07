"""Every line of the checklist has a test, or a reason why it has none.

The lines: R resource server, A authorization server, C client (MCP 2025-11-25 and 2026-07-28), T attacks.
Most tests carry the number of their line in their name; `ELSEWHERE` names those that do not.
"""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
_NUMBERS = (
    *(
        *range(1, 13),
        14,
        15,
        16,
        19,
        *range(21, 28),
        *range(29, 38),
        *range(40, 44),
        45,
        46,
        48,
        *range(50, 53),
    ),
    *(*range(54, 62), 63, *range(65, 70), *range(71, 79), 80, 81, *range(83, 88), *range(89, 95), 98, 99),
    *(*range(101, 109), *range(110, 116), 117, 118, *range(120, 124)),
)
LINES = [
    *(f"r{number}" for number in range(1, 14)),
    *(f"a{number}" for number in range(1, 16)),
    *(f"c{number}" for number in range(1, 17)),
    *(f"t{number:02}" for number in _NUMBERS),
]

_CLIENT_SUITE = "conformance/test_client.py::test_the_agent_passes_what_a_revision_requires_of_a_client"
ELSEWHERE: dict[str, list[str]] = {
    "r3": ["attacks/test_resource_server.py::test_t78_no_token_gets_a_challenge_without_an_error_code"],
    "r5": [
        "attacks/test_resource_server.py::test_t81_to_t83_a_well_signed_token_with_a_wrong_claim_is_refused",
        "attacks/test_resource_server.py::test_t82_the_token_of_another_gateway_is_refused",
    ],
    "r6": [
        "attacks/test_relay.py::test_t92_the_remote_server_sees_its_own_token_and_no_other_credential",
        "attacks/test_resource_server.py::test_t84_what_is_not_an_access_token_of_ours_is_refused",
    ],
    "r7": ["attacks/test_resource_server.py::test_t85_a_token_in_the_url_or_the_body_is_no_token"],
    "r8": [
        "attacks/test_resource_server.py::test_t78_every_path_and_method_of_the_relay_needs_a_token",
        "attacks/test_relay.py::test_t87_a_token_revoked_while_its_request_is_on_the_way_forwards_nothing",
        "attacks/test_framing.py::test_requests_in_a_row_are_each_asked_for_their_own_token",
    ],
    "r9": ["attacks/test_hosts.py::test_t90_a_foreign_origin_is_refused_before_anything_else"],
    "r10": ["attacks/test_sessions.py::test_t89_a_session_of_one_sign_in_is_not_found_for_another"],
    "a1": [
        "attacks/test_authorize.py::test_t09_no_code_challenge_is_refused",
        "attacks/test_authorize.py::test_t10_any_pkce_method_but_s256_is_refused",
        "attacks/test_token.py::test_t46_the_challenge_itself_is_no_verifier",
    ],
    "a4": [
        "attacks/test_authorize.py::test_t14_a_resource_that_is_not_ours_as_written_is_refused",
        "attacks/test_token.py::test_t56_another_resource_is_refused_and_the_code_still_good",
    ],
    "a5": [
        "attacks/test_authorize.py::test_t03_a_near_miss_of_a_registered_redirect_uri_is_refused",
        "attacks/test_authorize.py::test_t05_a_loopback_redirect_uri_may_have_another_port",
    ],
    "a7": [
        "attacks/test_token.py::test_t58_an_old_refresh_token_after_its_successor_was_used_kills_the_family"
    ],
    "a8": ["servers/gateway/test_config.py::test_a_wrong_setting_is_named"],
    "a11": [
        "attacks/test_token.py::test_the_issuer_in_the_answer_is_the_one_in_the_metadata",
        "attacks/test_consent.py::test_t41_a_denial_reaches_the_client_and_leaves_nothing_behind",
    ],
    "a14": [
        "attacks/test_consent.py::test_t24_the_page_reports_who_asks_for_what_and_where_the_browser_goes",
        "attacks/test_consent.py::test_t25_pages_stay_out_of_frames_caches_and_referrers",
        "attacks/test_consent.py::test_t26_a_wrong_csrf_token_approves_nothing",
        "attacks/test_consent.py::test_t29_a_ticket_cannot_be_moved_to_another_client",
        "attacks/test_consent.py::test_t40_under_https_the_cookie_is_secure_and_bound_to_the_host",
    ],
    "c1": ["agent/test_oauth.py::test_a_first_request_discovers_registers_asks_and_then_gets_through"],
    "c2": [_CLIENT_SUITE],
    "c3": [
        "agent/test_oauth_attacks.py::test_t105_metadata_of_another_resource_stops_the_login",
        "agent/test_oauth_attacks.py::test_t106_metadata_of_another_issuer_stops_the_login",
    ],
    "c4": ["agent/test_oauth_attacks.py::test_t107_a_server_without_s256_is_not_used"],
    "c5": ["agent/test_oauth.py::test_every_token_is_asked_for_the_resource_that_the_metadata_names"],
    "c6": ["agent/test_oauth_attacks.py::test_t108_a_callback_with_another_state_changes_nothing"],
    "c7": [
        "agent/test_client_identity.py::test_a_client_registered_by_hand_is_used_and_no_other_is_registered",
        "agent/test_client_identity.py::test_a_metadata_document_names_the_agent_where_it_is_taken",
        "agent/test_client_identity.py::test_where_no_metadata_document_is_taken_the_agent_registers",
    ],
    "c8": ["agent/test_oauth.py::test_t112_endless_step_up_stops_after_a_few_approvals", _CLIENT_SUITE],
    "c9": [
        "agent/test_oauth_attacks.py::test_t108_a_callback_that_cannot_be_trusted_ends_the_login",
        "agent/test_listener.py::test_an_issuer_that_promises_no_iss_may_leave_it_out",
    ],
    "c10": ["agent/test_token_store.py::test_after_a_change_of_issuer_the_latest_login_counts"],
    "c11": [_CLIENT_SUITE],
    "c12": [
        "agent/test_oauth.py::test_the_token_goes_to_the_server_it_was_issued_for_and_nowhere_else",
        "agent/test_token_store.py::test_a_login_is_not_used_for_another_server",
    ],
    "c13": [
        "agent/test_oauth_attacks.py::test_t104_an_authorization_endpoint_that_is_no_web_page_is_not_opened",
        "agent/test_approval.py::test_the_browser_gets_the_address_as_one_argument_and_no_shell_sees_it",
    ],
    "c14": [
        "agent/test_oauth_attacks.py::test_t114_metadata_that_redirects_to_another_host_is_not_followed",
        "agent/test_oauth_attacks.py::test_an_authorization_server_at_an_unsafe_address_is_not_fetched",
    ],
    "c15": [
        "agent/test_listener.py::test_it_answers_on_both_loopback_addresses",
        "agent/test_listener.py::test_what_is_not_a_small_get_for_localhost_is_refused",
    ],
    "c16": [_CLIENT_SUITE],
    "t122": [
        "core/test_settings.py::test_a_value_is_read_as_written",
        "core/test_settings.py::test_a_line_that_cannot_be_meant_is_refused_without_showing_it",
    ],
}

EXCEPTIONS = {
    "r11": "None of the gateway's scopes (openid, profile, email, offline_access) is wider than another.",
    "r13": "GitHub's scopes decide what a tool may do: our challenge names the same ones each time.",
}


def test_every_line_of_the_checklist_has_a_test_or_a_reason() -> None:
    covered = _named_after_their_line() | ELSEWHERE.keys() | EXCEPTIONS.keys()
    assert [line for line in LINES if line not in covered] == []
    assert [line for line in (*ELSEWHERE, *EXCEPTIONS) if line not in LINES] == []
    assert EXCEPTIONS.keys() & (_named_after_their_line() | ELSEWHERE.keys()) == set()


def test_every_test_that_is_named_here_exists() -> None:
    existing = {f"{path.relative_to(TESTS).as_posix()}::{name}" for path, name in _tests()}
    named = [test for tests in ELSEWHERE.values() for test in tests]
    assert [test for test in named if test not in existing] == []


def test_the_reasons_stand_on_part_4_s_page_of_differences() -> None:
    page = TESTS.parent / "parts" / "04_remote_oauth" / "differences.md"
    section = page.read_text(encoding="utf-8").partition("\n## The checklist\n")[2].partition("\n## ")[0]
    assert [line for line in EXCEPTIONS if f"*{line.upper()}" not in section] == []


def test_t122_the_file_of_secrets_is_not_committed() -> None:
    assert ".env" in (TESTS.parent / ".gitignore").read_text(encoding="utf-8").splitlines()


def _tests() -> list[tuple[Path, str]]:
    files = TESTS.rglob("test_*.py")
    pattern = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
    return [(path, name) for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))]


def _named_after_their_line() -> set[str]:
    words = {word for _, name in _tests() for word in name.split("_")}
    return {word for word in words if re.fullmatch(r"[rac]\d{1,2}|t\d{2,3}", word)}
