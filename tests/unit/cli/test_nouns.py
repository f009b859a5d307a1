"""The remaining nouns: what each sends, and how lists are shown."""

import json

import pytest

from tests.unit.cli.fake_service import Answer, page, problem

SESSION = {"session_id": "demo", "status": "idle", "queued_runs": 0, "updated_at": "2026-01-01T10:00:00Z"}
RUNS = [{"run_id": f"run_{n}", "session_id": "demo", "status": "completed", "step": n} for n in range(1, 4)]


def sent(service, method: str = "POST") -> tuple[str, object]:
    seen = service.last(method)
    return seen.path, seen.body


def test_a_list_is_a_table(service, kheish) -> None:
    service.on("GET", "/v1/runs", page(*RUNS))
    lines = kheish("runs", "list").out.splitlines()
    assert lines[0].split() == ["RUN", "SESSION", "STATUS", "STEP", "SUBMITTED", "INPUT"]
    assert lines[1].split() == ["run_1", "demo", "completed", "1"]


def test_a_list_as_json_is_the_page(service, kheish) -> None:
    service.on("GET", "/v1/runs", page(*RUNS))
    assert json.loads(kheish("runs", "list", "--json").out) == page(*RUNS)


def test_a_quiet_list_is_ids(service, kheish) -> None:
    service.on("GET", "/v1/runs", page(*RUNS))
    assert kheish("runs", "list", "-q", "--status", "completed").out == "run_1\nrun_2\nrun_3\n"
    assert service.last("GET").query == {"status": "completed", "limit": "50"}


@pytest.mark.parametrize("mode", [(), ("--json",), ("-q",)])
@pytest.mark.parametrize("noun", ["approvals", "deliveries", "runs"])
def test_nothing_of_a_session_that_is_not_there_is_an_error(service, kheish, noun, mode) -> None:
    service.on("GET", f"/v1/{noun}", page())
    service.on("GET", "/v1/sessions/nope", problem(404, "session_not_found", "there is no session nope"))
    service.on("GET", "/v1/sessions/demo", SESSION)
    result = kheish(noun, "list", "--session-id", "nope", *mode)
    assert (result.code, result.out) == (1, "")
    assert "there is no session nope" in result.err and "sessions create nope" in result.err
    assert kheish(noun, "list", "--session-id", "demo", *mode).code == 0


def test_a_session_of_which_something_is_found_is_not_asked_for(service, kheish) -> None:
    service.on("GET", "/v1/runs", page(*RUNS))
    assert kheish("runs", "list", "--session-id", "demo").code == 0
    assert len(service.seen) == 1


def test_nothing_of_a_run_that_is_not_there_is_an_error(service, kheish) -> None:
    service.on("GET", "/v1/approvals", page())
    service.on("GET", "/v1/runs/nope", problem(404, "run_not_found", "there is no run nope"))
    assert kheish("approvals", "list", "--run-id", "nope").code == 1


def test_more_pages_are_mentioned(service, kheish) -> None:
    service.on("GET", "/v1/runs", page(RUNS[0], next_cursor="c9", total=7))
    assert "1 of 7 shown; add --all, or --cursor c9" in kheish("runs", "list", "--limit", "1").err


def test_all_pages_are_merged(service, kheish) -> None:
    service.on("GET", "/v1/runs", [page(RUNS[0], next_cursor="c1"), page(RUNS[1])])
    assert kheish("runs", "list", "--all", "-q").out == "run_1\nrun_2\n"


def test_sessions_create_sends_only_what_was_given(service, kheish) -> None:
    service.on("POST", "/v1/sessions", Answer(201, SESSION))
    assert kheish("sessions", "create", "demo", "-q").out == "demo\n"
    assert sent(service) == ("/v1/sessions", {"session_id": "demo"})
    assert kheish("sessions", "create", "--route", "r", "--model", "m", "--persona", "p").code == 0
    policy = {"route_id": "r", "generation": {"model": "m"}}
    assert sent(service)[1] == {"persona_id": "p", "route_policy": policy}


@pytest.mark.parametrize(
    ("argv", "target", "body"),
    [
        (("set-route", "demo", "--route", "r"), "route-policy", {"route_policy": {"route_id": "r"}}),
        (("set-route", "demo", "--clear"), "route-policy", {"route_policy": None}),
        (("set-persona", "demo", "ops"), "persona", {"persona_id": "ops"}),
        (("set-persona", "demo", "--clear"), "persona", {"persona_id": None}),
        (("set-permission-mode", "demo", "plan"), "permission-mode", {"permission_mode": "plan"}),
        (
            ("set-capability-scope", "demo", '{"skill_allow": ["git"]}'),
            "capability-scope",
            {"capability_scope": {"skill_allow": ["git"]}},
        ),
        (("set-capability-scope", "demo", "--clear"), "capability-scope", {"capability_scope": None}),
        (("set-credential-scope", "demo", "{}"), "credential-scope", {"credential_scope": {}}),
        (("set-credential-scope", "demo", "--clear"), "credential-scope", {"credential_scope": None}),
        (("set-permission-mode", "demo", "inherit"), "permission-mode", {"permission_mode": None}),
    ],
)
def test_session_settings(service, kheish, argv, target, body) -> None:
    service.on("GET", "/v1/sessions/demo", SESSION | {"revision": 3})
    service.on("PUT", f"/v1/sessions/demo/{target}", SESSION)
    assert kheish("sessions", *argv).code == 0
    assert sent(service, "PUT") == (f"/v1/sessions/demo/{target}", body)
    assert service.last("PUT").headers["if-match"] == '"3"'


@pytest.mark.parametrize(
    "argv",
    [
        ("set-route", "demo"),
        ("set-persona", "demo"),
        ("set-persona", "demo", "x", "--clear"),
        ("set-capability-scope", "demo"),
        ("set-credential-scope", "demo", "{}", "--clear"),
        ("set-credential-scope", "demo", "skill_allow=git"),
    ],
)
def test_settings_without_a_value_are_refused(kheish, argv) -> None:
    assert kheish("sessions", *argv).code == 2


def test_a_session_shows_its_scopes_and_what_comes_of_them(service, kheish) -> None:
    scopes = {"capability_scope": {"skill_allow": ["a"]}, "effective_capability_scope": {"skill_deny": ["*"]}}
    service.on("GET", "/v1/sessions/demo", SESSION | scopes)
    shown = kheish("sessions", "get", "demo").out
    assert "effective_capability_scope" in shown and "skill_deny" in shown


def test_interrupt_and_end(service, kheish) -> None:
    interrupted = {"interrupted": True, "run_id": "run_1", "session": SESSION}
    service.on(
        "POST", "/v1/sessions/demo/interrupt", [interrupted, {"interrupted": False, "session": SESSION}]
    )
    service.on("POST", "/v1/sessions/demo/end", SESSION | {"status": "ended"})
    assert kheish("sessions", "interrupt", "demo").out == "run_1\n"
    assert "Nothing was running" in kheish("sessions", "interrupt", "demo").err
    assert kheish("sessions", "end", "demo", "--reason", "done").code == 0
    assert sent(service)[1] == {"reason": "done"}
    assert kheish("sessions", "end", "demo", stdin="n\n", tty=True).code == 1


def test_cancel(service, kheish) -> None:
    service.on("POST", "/v1/runs/run_1/cancel", RUNS[0] | {"status": "cancelled"})
    assert kheish("runs", "cancel", "run_1", "-q").out == "run_1\n"


def test_a_run_is_retried_as_it_was_or_with_other_words(service, kheish) -> None:
    service.on("POST", "/v1/runs/run_1/retry", Answer(202, RUNS[1] | {"status": "queued"}))
    assert kheish("runs", "retry", "run_1", "-q").out == "run_2\n"
    assert sent(service) == ("/v1/runs/run_1/retry", {})
    assert (
        kheish("runs", "retry", "run_1", "--content", "-", "--idempotency-key", "k", stdin="more").code == 0
    )
    assert sent(service)[1] == {"content": "more"}
    assert service.last("POST").headers["idempotency-key"] == "k"
    service.on("POST", "/v1/runs/run_1/retry", problem(409, "run_state_conflict", "the run is still queued"))
    assert kheish("runs", "retry", "run_1").code == 6


def test_task_output_is_just_the_text(service, kheish) -> None:
    view = {"retrieval_status": "success", "output_text": "line\x1b[2J\n", "output_truncated": True}
    service.on("GET", "/v1/sessions/demo/tasks/t1/output", view)
    result = kheish("tasks", "output", "demo", "t1", "--tail-bytes", "9", "--full")
    assert (result.code, result.out) == (0, "line\n")
    assert service.last("GET").query == {"full": "true", "tail_bytes": "9"}


def test_waiting_for_a_task_goes_on_until_it_ends(service, kheish) -> None:
    done = {"retrieval_status": "success", "output_text": "done"}
    service.on("GET", "/v1/sessions/demo/tasks/t1/output", [{"retrieval_status": "timeout"}, done])
    assert kheish("tasks", "output", "demo", "t1", "--wait").out == "done\n"
    assert service.last("GET").query == {"wait": "true", "timeout_ms": "20000"}


def test_a_task_that_goes_on_times_out(service, kheish) -> None:
    service.on("GET", "/v1/sessions/demo/tasks/t1/output", {"retrieval_status": "timeout"})
    assert kheish("tasks", "output", "demo", "t1", "--wait", "--timeout", "0.1").code == 3


def test_tasks_list_get_stop(service, kheish) -> None:
    task = {"task_id": "t1", "status": "in_progress", "command": "sleep 9"}
    service.on("GET", "/v1/sessions/demo/tasks", page(task))
    service.on("GET", "/v1/sessions/demo/tasks/t1", task)
    service.on("POST", "/v1/sessions/demo/tasks/t1/stop", task)
    assert "sleep 9" in kheish("tasks", "list", "demo").out
    assert kheish("tasks", "get", "demo", "t1", "-q").out == "t1\n"
    assert kheish("tasks", "stop", "demo", "t1", "--reason", "enough").code == 0
    assert sent(service)[1] == {"reason": "enough"}


def test_a_persona_is_imported_from_markdown(service, kheish, tmp_path) -> None:
    (tmp_path / "Night Ops.md").write_text("# Night operator\n\nCalm.\n")
    service.on("POST", "/v1/personas", Answer(201, {"persona_id": "night-ops"}))
    assert kheish("personas", "import", "Night Ops.md").code == 0
    soul = "# Night operator\n\nCalm.\n"
    assert sent(service)[1] == {"persona_id": "night-ops", "soul": soul, "display_name": "Night operator"}
    assert kheish("personas", "import", "Night Ops.txt").code == 2


def test_a_persona_is_created_and_updated(service, kheish) -> None:
    service.on("POST", "/v1/personas", Answer(201, {"persona_id": "p"}))
    service.on("GET", "/v1/personas/p", Answer(200, {"persona_id": "p", "revision": 1}, {"ETag": '"1"'}))
    service.on("PUT", "/v1/personas/p", {"persona_id": "p", "revision": 2})
    assert kheish("personas", "create", "p").code == 2
    assert kheish("personas", "create", "p", "--soul-file", "-", "--owner", "sre", stdin="calm").code == 0
    assert sent(service)[1] == {"persona_id": "p", "display_name": "p", "owner": "sre", "soul": "calm"}
    assert kheish("personas", "update", "p", "--soul", "calmer").code == 0
    assert sent(service, "PUT")[1] == {"soul": "calmer"}


def test_routes(service, kheish) -> None:
    service.on("POST", "/v1/routes", Answer(201, {"route_id": "r"}))
    service.on("GET", "/v1/routes/r", {"route_id": "r", "revision": 1})
    service.on("PUT", "/v1/routes/r", {"route_id": "r", "revision": 2})
    service.on("DELETE", "/v1/routes/r", Answer(204))
    url = "http://127.0.0.1:9/v1"
    argv = (
        "--driver",
        "openai",
        "--endpoint",
        url,
        "--model",
        "m",
        "--auth-ref",
        "s",
        "--fallback",
        "x",
        "--default",
    )
    assert kheish("routes", "create", "r", *argv, "--option", "context_tokens=8192").code == 0
    assert sent(service)[1] == {
        "route_id": "r",
        "driver": "openai",
        "base_url": url,
        "model": "m",
        "auth_ref": "s",
        "fallbacks": ["x"],
        "options": {"context_tokens": 8192},
        "default": True,
    }
    assert kheish("routes", "set-default", "r").code == 0
    assert sent(service, "PUT")[1] == {"default": True}
    assert kheish("routes", "delete", "r").code == 0
    assert service.last("DELETE").headers["if-match"] == '"1"'


def test_a_secret_comes_by_pipe_or_file_only(service, kheish, tmp_path, capsys) -> None:
    service.on("POST", "/v1/runtime/secrets", Answer(201, {"slot_id": "s", "state": "set"}))
    assert kheish("secrets", "set", "s", "--provider", "openai", stdin="sk-1\n").code == 0
    assert sent(service)[1] == {"slot_id": "s", "provider": "openai", "value": "sk-1"}
    (tmp_path / "key").write_text("sk-2\n")
    result = kheish("secrets", "set", "s", "--value-file", "key")
    assert sent(service)[1]["value"] == "sk-2"
    assert "sk-2" not in result.out + result.err
    assert kheish("secrets", "set", "s", stdin="\n").code == 2
    assert kheish("secrets", "set", "s", "sk-3").code == 2


def test_secrets_delete_reports_references(service, kheish) -> None:
    service.on("DELETE", "/v1/runtime/secrets/s", problem(409, "secret_in_use", "used by route r"))
    result = kheish("secrets", "delete", "s")
    assert result.code == 6
    assert "used by route r" in result.err


def test_a_new_token_alone_goes_to_standard_output(service, kheish) -> None:
    service.on("POST", "/v1/tokens", Answer(201, {"token_id": "tok_1", "token": "kh_new"}))
    result = kheish("tokens", "create", "ci", "--role", "viewer", "--expires-in-days", "3")
    assert result.out == "kh_new\n"
    assert "kh_new" not in result.err
    body = service.last().body
    assert (body["name"], body["role"], body["expires_at"][-1]) == ("ci", "viewer", "Z")


def test_a_token_is_revoked(service, kheish) -> None:
    service.on("DELETE", "/v1/tokens/tok_1", Answer(204))
    assert kheish("tokens", "revoke", "tok_1").code == 0


@pytest.mark.parametrize(
    ("argv", "address", "told"),
    [
        ("tokens revoke tok_1", "tokens/tok_1", {"token_id": "tok_1", "revoked": True}),
        ("secrets delete s", "runtime/secrets/s", {"slot_id": "s", "deleted": True}),
        ("routes delete r", "routes/r", {"route_id": "r", "deleted": True}),
        (
            "connectors delete slack ops",
            "runtime/connectors/slack/ops",
            {"kind": "slack", "name": "ops", "deleted": True},
        ),
        (
            "identities delete slack ops U1",
            "runtime/connectors/slack/ops/identities/U1",
            {"kind": "slack", "name": "ops", "external_id": "U1", "deleted": True},
        ),
        (
            "observations sources delete cam",
            "observation-sources/cam",
            {"source_id": "cam", "deleted": True},
        ),
        (
            "observations schedules delete cam osc_1",
            "observation-sources/cam/schedules/osc_1",
            {"source_id": "cam", "schedule_id": "osc_1", "deleted": True},
        ),
    ],
)
def test_what_is_gone_is_told_as_a_document(service, kheish, argv, address, told) -> None:
    service.on("GET", f"/v1/{address}", {"revision": 1})
    service.on("DELETE", f"/v1/{address}", Answer(204))
    result = kheish(*argv.split(), "--yes", "--json")
    assert (result.code, json.loads(result.out), result.err) == (0, told, "")
    assert kheish(*argv.split(), "--yes", "-q").out == f"{argv.split()[-1]}\n"


@pytest.mark.parametrize(
    ("argv", "setting", "body"),
    [
        (("set-model", "--route", "r", "--model", "m"), "model", {"route_id": "r", "model": "m"}),
        (("set-permission-mode", "plan"), "permission-mode", {"mode": "plan"}),
        (
            ("set-system-prompt", "be kind"),
            "system-prompt",
            {"settings": {"custom_prompt": "be kind"}},
        ),
        (("set-system-prompt", "--clear"), "system-prompt", {"settings": {}}),
    ],
)
def test_runtime_changes_expect_the_revision_they_saw(service, kheish, argv, setting, body) -> None:
    service.on("GET", "/v1/runtime", {"config": {"revision": 7}})
    service.on("POST", f"/v1/runtime/{setting}", {"config": {"revision": 8}})
    assert kheish("runtime", *argv).code == 0
    assert sent(service)[1] == body | {"expected_revision": 7}


def test_permissions_are_explained(service, kheish) -> None:
    service.on("POST", "/v1/runtime/permissions/check", {"decision": "ask", "reason": "rule bash"})
    result = kheish(
        "runtime", "permissions", "check", "bash", "--input", '{"command": "ls"}', "--mode", "plan"
    )
    assert "rule bash" in result.out
    assert sent(service)[1] == {"tool_name": "bash", "mode_override": "plan", "input": {"command": "ls"}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"n": ' + "9" * 5000 + "}", "a number that is too long"),
        ("[" * 90_000 + "]" * 90_000, "nested too deeply"),
        ("{", "is not JSON"),
    ],
)
def test_json_no_one_can_read_is_a_usage_error(service, kheish, given, said) -> None:
    result = kheish("runtime", "permissions", "check", "bash", "--input", given)
    assert (result.code, service.seen) == (2, [])
    assert result.err.startswith("error: --input") and said in result.err


def test_json_that_can_just_be_read_is_sent_or_a_usage_error(service, kheish) -> None:
    service.on("POST", "/v1/runtime/permissions/check", {})
    for depth in range(930, 1000, 3):  # the limit is near, and depends on who calls
        given = "[" * depth + "]" * depth
        assert kheish("runtime", "permissions", "check", "bash", "--input", given).code in (0, 2)


def test_the_matrix_is_a_table(service, kheish) -> None:
    modes = {"default": {"decision": "ask"}, "plan": {"decision": "deny"}}
    service.on("POST", "/v1/runtime/permissions/matrix", {"tools": {"bash": modes}})
    lines = kheish("runtime", "permissions", "matrix").out.splitlines()
    assert [line.split() for line in lines] == [["TOOL", "default", "plan"], ["bash", "ask", "deny"]]


def test_status_has_a_line_for_each_part(service, kheish) -> None:
    worker = {"host": "box/7/1", "pid": 41, "slots": 8, "alive": True, "draining": False}
    answer = {
        "status": "ready", "ready": True, "version": "9.9.9", "profile": "embedded", "uptime_seconds": 90,
        "runs": {"queued": 2, "running": 0, "waiting_for_approval": 1},
        "waiting": {"approvals": 1, "questions": 0},
        "workers": [worker | {"heartbeat_at": "2020-01-01T00:00:00Z"}, worker | {"pid": 42, "alive": False}],
        "runtime": {"default_route": "gpt", "model": "small", "permission_mode": "plan", "revision": 3},
        "provider_readiness": {"status": "error", "problems": ["no key"]},
        "health": {"ok": True, "warnings": []}, "deliveries": {"waiting": 0}, "a_later_part": {"of": ["x"]},
    }  # fmt: skip
    service.on("GET", "/v1/status", answer)
    lines = {line.split()[0]: " ".join(line.split()) for line in kheish("status").out.splitlines()}
    assert lines["service"] == "service ready, up 90 s"
    assert lines["runs"] == "runs 2 queued, 1 waiting for approval"
    assert (lines["waiting"], lines["deliveries"]) == ("waiting 1 approval", "deliveries none")
    assert "box process 41: alive, 8 slots, heard " in lines["workers"]
    assert lines["box"].startswith("box process 42: silent")
    assert lines["model"] == "model gpt/small; no key"
    assert lines["permissions"] == "permissions mode plan, settings revision 3"
    assert lines["a_later_part"] == "a_later_part of x"


def test_status_and_capabilities(service, kheish) -> None:
    warning = {"code": "queued_run_lag", "message": "3 runs wait long"}
    service.on("GET", "/v1/status", {"status": "ready", "health": {"ok": False, "warnings": [warning]}})
    service.on("GET", "/v1/capabilities", {"approvals": True})
    result = kheish("status")
    assert service.url in result.out
    assert "3 runs wait long" in result.err
    assert json.loads(kheish("capabilities", "--json").out) == {"approvals": True}


def test_doctor_finds_all_well(service, kheish) -> None:
    service.on("GET", "/readyz", "ready")
    service.on("GET", "/v1/status", {"status": "ready"})
    service.on("GET", "/v1/routes", page({"route_id": "welcome", "status": "ok"}))
    result = kheish("doctor")
    assert (result.code, result.out.count("✔")) == (0, 5)


def test_doctor_names_the_trouble(service, kheish) -> None:
    service.on("GET", "/readyz", "ready")
    service.on("GET", "/v1/status", {"status": "ready"})
    route = {"route_id": "r", "status": "error", "problems": ["no secret in slot s"]}
    service.on("GET", "/v1/routes", page(route))
    result = kheish("doctor")
    assert result.code == 1
    assert "no secret in slot s" in result.out


def test_doctor_without_a_service(service, kheish) -> None:
    service.stop()
    result = kheish("doctor")
    assert result.code == 1
    assert "python3 manage.py serve" in result.out


def test_identities(service, kheish) -> None:
    people = "/v1/runtime/connectors/slack/ops/identities"
    person = {"external_id": "U1", "principal": "alice", "role": "operator", "effective_role": ""}
    service.on("GET", people, page(person))
    lines = kheish("identities", "list", "slack", "ops").out.splitlines()
    assert lines[1].split() == ["U1", "alice", "operator", "nobody"]
    service.on("PUT", f"{people}/U1", Answer(201, person))
    assert kheish("identities", "set", "slack", "ops", "U1", "alice", "-q").out == "U1\n"
    assert sent(service, "PUT")[1] == {"principal": "alice", "role": "operator"}
    service.on("DELETE", f"{people}/U1", Answer(204))
    assert kheish("identities", "delete", "slack", "ops", "U1").code == 0
    assert kheish("identities", "delete", "slack", "ops", "U1", stdin="n\n", tty=True).code == 1


def test_a_person_nobody_mapped_is_looked_for_in_the_right_list(service, kheish) -> None:
    people = "/v1/runtime/connectors/slack/ops/identities"
    service.on("DELETE", f"{people}/U9", problem(404, "identity_not_found", "nobody"))
    assert "identities list slack ops" in kheish("identities", "delete", "slack", "ops", "U9").err


WHY = {
    "run_id": "run_2",
    "state": "waiting",
    "code": "behind_run",
    "sentence": "It is 1st in line behind run_1 in session demo for 5 min. It waits for apr_1.",
    "since": "2026-01-01T10:00:00Z",
    "because": [
        {"kind": "run", "id": "run_1", "sentence": "It waits.", "since": "2026-01-01T10:00:00Z"},
        {"kind": "approval", "id": "apr_1", "sentence": "Waits for apr_1\x1b[31m.", "since": None},
    ],
    "next": "Allow or deny it: approvals allow apr_1",
}


def test_why_is_a_sentence_its_chain_and_how_to_go_on(service, kheish) -> None:
    service.on("GET", "/v1/runs/run_2/why", WHY)
    shown = kheish("runs", "why", "run_2")
    lines = shown.out.splitlines()
    assert lines[0] == WHY["sentence"]
    assert lines[1].split() == ["BECAUSE", "ID", "SINCE", "WHAT"]
    assert lines[2].split()[:2] == ["run", "run_1"]
    assert lines[3].split() == ["approval", "apr_1", "Waits", "for", "apr_1."]
    assert shown.err == WHY["next"] + "\n"
    assert json.loads(kheish("runs", "why", "run_2", "--json").out) == WHY
    assert kheish("runs", "why", "run_2", "-q").out == "behind_run\n"


def test_search_is_a_table_of_hits(service, kheish) -> None:
    hit = {"kind": "run", "id": "run_1", "by": "text", "excerpt": "slow checkout", "session_id": "demo"}
    found = {"query": "slow", "jump": None, "items": [hit], "more": True, "text_window": 2000}
    service.on("GET", "/v1/search", found)
    shown = kheish("search", "slow", "--limit", "5")
    assert shown.out.splitlines()[1].split() == ["run", "run_1", "text", "demo", "slow", "checkout"]
    assert "There is more" in shown.err
    assert service.last("GET").query == {"q": "slow", "limit": "5"}
    assert kheish("search", "slow", "-q").out == "run_1\n"
    assert json.loads(kheish("search", "slow", "--json").out) == found


def test_an_empty_search_says_where_it_looked(service, kheish) -> None:
    service.on(
        "GET", "/v1/search", {"query": "x", "jump": None, "items": [], "more": False, "text_window": 2000}
    )
    shown = kheish("search", "x")
    assert (shown.code, shown.out) == (0, "")
    assert "newest 2000" in shown.err


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"file": "/c.toml", "written": [], "removed": []}, "/c.toml is in force as it is."),
        ({"file": "", "written": [], "removed": []}, "No file is configured"),
        ({"file": "/c.toml", "written": ["http/a"], "removed": []}, ""),
    ],
)
def test_a_reload_says_what_is_in_force(service, kheish, answer, told) -> None:
    service.on("POST", "/v1/runtime/connectors/reload", answer)
    result = kheish("connectors", "reload")
    assert result.err.startswith(told) and bool(result.err) is bool(told)
