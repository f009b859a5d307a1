"""A busy morning for the pictures: sessions, runs in every state, people asked for a word. All over HTTP."""

from collections.abc import Callable
from typing import Any

from kheish_site.cli.client import Client, path
from kheish_site.cli.transport import Problem

Json = Any

PERSONAS = {
    "responder": "You handle incidents: look first, propose one change, ask before you touch production.",
    "reviewer": "You review releases. Be brief, name risks, never approve your own work.",
}
LOW_RISK = [{"tool_name_pattern": "read_file", "behavior": "ask", "reason": "audits are watched"}]
TOKEN = "4f1c9a70e2d84b6c"  # noqa: S105 (an example of what no page may show)
BY_THEMSELVES = "bypassPermissions"


def call(name: str, **arguments: Json) -> Json:
    """Return a scripted tool call."""
    return {"name": name, "arguments": arguments}


def bash(command: str, description: str) -> Json:
    """Return a scripted command."""
    return call("bash", command=command, description=description)


class Scene:
    """Fills one service. ``run_ids`` holds what the pictures show, by name."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.run_ids: dict[str, str] = {}

    def set(self, crash: Callable[[], None]) -> None:
        """Make everything; ``crash`` kills the worker while a command runs, so that its effect is unknown."""
        self.set_what_stays(crash)
        self.go_on()

    def set_what_stays(self, crash: Callable[[], None]) -> None:
        """Make all that is over or waits, and so outlives its service."""
        self._personas()
        self._finished()
        self._unknown(crash)
        self._waiting()

    def _personas(self) -> None:
        for persona_id, soul in PERSONAS.items():
            body = {"persona_id": persona_id, "display_name": persona_id.title(), "soul": soul}
            self._client.request("POST", path("personas"), body)
        better = {"soul": PERSONAS["reviewer"] + "\nSay which tests were run, and which were not."}
        self._client.change(path("personas", "reviewer"), better)

    def _finished(self) -> None:
        """Runs that are over: some well, one badly."""
        self._session("customer-acme", persona_id="reviewer", permission_mode=BY_THEMSELVES)
        for number, asked in enumerate(
            (
                "Answer Acme's question about SSO limits.",
                "Summarise today's tickets.",
                "Check the SLA report.",
            )
        ):
            run_id = self._start(
                "customer-acme",
                asked,
                {
                    "text": "I look at the notes first.",
                    "tool_calls": [bash("ls -la; date", "See what is here")],
                },
                {
                    "text": "Two things to read at once.",
                    "tool_calls": [
                        call("glob_search", pattern="**/*.md"),
                        call("write_file", path=f"notes-{number}.md", content="# Acme\n\nSSO: 500 seats.\n"),
                    ],
                    "delay_ms": 700,
                },
                {"text": "Acme may have **500** SSO seats; the note is in the workspace.", "delay_ms": 400},
            )
            self._until(run_id, "completed")
            self.run_ids["finished"] = run_id
        self._session("invoice-in-789")
        fault = {"text": "", "fault": {"kind": "invalid", "message": "the model refused the request"}}
        self.run_ids["failed"] = self._start("invoice-in-789", "Reconcile invoice IN-789.", fault)
        self._until(self.run_ids["failed"], "failed")

    def _unknown(self, crash: Callable[[], None]) -> None:
        """A command that was running when its worker died: only a person can say what it did."""
        self._session("deploy-checkout", permission_mode=BY_THEMSELVES)
        command = bash("echo copying 1 of 3; sleep 30", "Deploy checkout")
        run_id = self._start(
            "deploy-checkout", "Deploy checkout 2026.11.4.", {"text": "Deploying.", "tool_calls": [command]}
        )
        self._until_kind(run_id, "task.started")
        crash()
        self._until(run_id, "waiting_for_operator")
        self.run_ids["unknown"] = run_id

    def _waiting(self) -> None:
        """Runs that wait for a person: a risky call, a wave, an audit of harmless ones, a question."""
        self._session("incident-4821", persona_id="responder")
        token = f"Bearer {TOKEN}"
        risky = bash(
            f"kubectl delete pod api-7f3d --namespace checkout --header 'Authorization: {token}'",
            "Pod api-7f3d is stuck in CrashLoopBackOff; deleting it lets the ReplicaSet start a fresh one",
        )
        self.run_ids["approval"] = self._start(
            "incident-4821",
            "INC-4821: checkout p95 latency is 1.9 s, the threshold is 1.5 s. Find the cause and fix it.",
            {
                "text": "Plan: look at the workspace, then at the pods.",
                "tool_calls": [call("todo_write", todos=_plan()), call("glob_search", pattern="**/*")],
                "delay_ms": 900,
            },
            {
                "text": "One pod restarts all the time. I propose to delete it.",
                "tool_calls": [risky],
                "delay_ms": 1200,
            },
            {"text": "The pod was deleted; p95 is 243 ms again."},
        )
        self._session("release-1.9", persona_id="reviewer")
        self.run_ids["wave"] = self._start(
            "release-1.9",
            "Draft the 1.9 changelog from the merged pull requests and tag the release.",
            {
                "text": "Three changes to make.",
                "tool_calls": [
                    call("write_file", path="CHANGELOG.md", content="# 1.9\n\n- Faster checkout\n"),
                    call("write_file", path="VERSION", content="1.9.0\n"),
                    bash("git tag -s v1.9.0 -m 'Release 1.9.0'", "Tag the release"),
                ],
            },
            {"text": "1.9.0 is tagged."},
        )
        self._session("nightly-audit", permission_rules=LOW_RISK)
        self.run_ids["low"] = self._start(
            "nightly-audit",
            "Check dependency advisories and open issues.",
            {
                "text": "I read the lock files.",
                "tool_calls": [
                    call("read_file", path=name)
                    for name in ("requirements.txt", "package-lock.json", "Cargo.lock")
                ],
            },
            {"text": "No open advisory."},
        )
        asked = {
            "header": "Region",
            "question": "Which region should take the traffic while checkout recovers?",
            "options": [
                {"label": "eu-west", "description": "closest to most customers"},
                {"label": "us-east", "description": "has the most room"},
            ],
        }
        self._session("ticket-456")
        self.run_ids["question"] = self._start(
            "ticket-456",
            "Move the traffic away from eu-central.",
            {
                "text": "I need to know where to.",
                "tool_calls": [call("ask_user_question", questions=[asked])],
            },
            {"text": "Moved."},
        )
        for name in ("approval", "wave", "low"):
            self._until(self.run_ids[name], "waiting_for_approval")
        self._until(self.run_ids["question"], "waiting_for_user_question")
        self.run_ids["behind"] = self._start(
            "incident-4821", "Also tell the on-call channel.", {"text": "Told."}
        )

    def go_on(self) -> None:
        """Start a run that works while the pictures are taken."""
        self._session("backfill", permission_mode=BY_THEMSELVES)
        turns = [
            {
                "text": f"Part {number} of 8.",
                "tool_calls": [bash(f"sleep 20; echo part {number} done", f"Backfill part {number} of 8")],
            }
            for number in range(1, 9)
        ]
        self.run_ids["running"] = self._start("backfill", "Backfill the orders of October.", *turns)
        self._until_kind(self.run_ids["running"], "task.started")

    def _session(self, session_id: str, **fields: Json) -> None:
        self._client.sessions(session_id).create(**fields)

    def _start(self, session_id: str, text: str, *turns: Json) -> str:
        route_id = (
            f"{session_id}-{len(self._client.page(path('runs'), query={'session_id': session_id})['items'])}"
        )
        body = {
            "route_id": route_id,
            "driver": "scripted",
            "model": "scripted",
            "options": {"script": {"turns": list(turns)}},
        }
        try:
            self._client.request("POST", path("routes"), body)
        except Problem as problem:
            if problem.code != "route_exists":
                raise
        return self._client.sessions(session_id).input(text, route_id=route_id).run_id

    def _until(self, run_id: str, status: str) -> None:
        for event in self._client.runs(run_id).stream():
            if event.name == "run.ended":
                break
            if event.name == "run.waiting" and status.startswith("waiting"):
                break
        found = self._client.patient_get(path("runs", run_id))["status"]
        if found != status:
            raise AssertionError(f"{run_id} is {found}, not {status}")

    def _until_kind(self, run_id: str, kind: str) -> None:
        for event in self._client.runs(run_id).stream():
            if event.name == kind:
                return
        raise AssertionError(f"{run_id} ended without {kind}")


def _plan() -> list[Json]:
    words = ("Look at the pods", "Find the cause", "Fix it, after approval", "Report")
    return [{"id": word.split()[0].lower(), "content": word, "completed": False} for word in words]
