"""The incident: an alert, a plan, two checks, an approval, a crash, a recovery, the verified journal."""

import time
from typing import Any

from kheish_site.cli import chain
from kheish_site.cli.client import RUN_ENDED, RunHandle, path
from kheish_site.cli.exits import Exit
from kheish_site.cli.output import Output
from kheish_site.cli.text import parse_time
from kheish_site.cli.timeline import Timeline, kind_of
from kheish_site.cli.transport import Problem
from kheish_site.demo.stage import Stage

ALERT = "INC-4821: checkout p95 latency is 1.9 s, the threshold is 1.5 s."
ROUTE = "incident"
REASON = "the deployment at 10:21 fits the graph"
PATIENCE_SECONDS = 600.0


class Story:
    """One performance. ``ask``: a person decides, from the console or another terminal."""

    def __init__(self, stage: Stage, out: Output, *, pause_seconds: float, ask: bool) -> None:
        self._stage = stage
        self._client = stage.client
        self._out = out
        self._pause_seconds = pause_seconds
        self._ask = ask
        self._killed = False

    def play(self) -> int:
        """From the alert to the verified journal; the exit code."""
        self._tell(f"A service runs at {self._client.base_url}. Nothing waits, nobody watches.")
        session_id = self._stage.new_session()
        self._make_route()
        self._tell("A monitoring alert opens the case. The caller gets a run id at once and may hang up.")
        run = self._client.sessions(session_id).input(
            ALERT, route_id=ROUTE, actor_id="monitoring", metadata={"case": "INC-4821"}
        )
        self._out.line(f"          {run.run_id} in {session_id}", "dim")
        self._follow(run)
        view = run.get()
        return self._close(session_id, view)

    def _follow(self, run: RunHandle) -> None:
        """Print what happens, over the death of the service: the stream resumes where it was."""
        timeline = Timeline(self._out)
        for event in run.stream(deadline=time.monotonic() + PATIENCE_SECONDS):
            if event.name == RUN_ENDED:
                break
            timeline.show(event)
            if kind_of(event) == "run.waiting":
                timeline.close()
                self._at_the_gate(run)
        timeline.close()

    def _at_the_gate(self, run: RunHandle) -> None:
        """The run waits for a person: first the machine dies, then somebody says yes."""
        waiting = run.get()["pending_approval_ids"]
        if not waiting:
            return
        self._tell(
            "The rollback changes production: the run stops and asks. It holds no worker while it waits."
        )
        if self._stage.may_be_killed and not self._killed:
            self._die_and_come_back(run, waiting)
        elif not self._killed:
            self._tell(
                "This service is yours, so it is not killed. Without KHEISH_URL you see that part too."
            )
        for approval_id in waiting:
            self._decide(approval_id)

    def _die_and_come_back(self, run: RunHandle, waiting: list[str]) -> None:
        self._tell("Now everything is killed: supervisor, web and worker, with SIGKILL.", style="red")
        self._stage.kill()
        self._killed = True
        self._pause()
        seconds = self._stage.restart()
        view = self._client.patient_get(path("runs", run.run_id))
        same = view["pending_approval_ids"] == waiting
        found = "waits for the same approval" if same else f"is {view['status']}"
        self._tell(f"Started again, answering after {seconds:.1f} s. The same run {found}.", style="green")

    def _decide(self, approval_id: str) -> None:
        if self._ask:
            page = f"/admin/sessions_app/approval/{approval_id}/change/"
            self._tell(f"It is yours to decide: {self._client.base_url}{page}")
            return
        approval = self._client.get(path("approvals", approval_id))
        self._tell(
            f"An operator looks at the exact call ({approval['input'].get('command', '')}) and allows it."
        )
        body = {"behavior": "allow", "justification": REASON}
        self._client.request("POST", path("approvals", approval_id, "resolve"), body)

    def _close(self, session_id: str, view: dict[str, Any]) -> int:
        completed = view["status"] == "completed"
        self._tell(f"The run is {view['status']}.", style="green" if completed else "red")
        self._tell("The journal, recomputed here from the entries alone:")
        entries = list(self._client.sessions(session_id).events())
        for entry in entries:
            at = parse_time(entry["at"])
            clock = at.astimezone().strftime("%H:%M:%S") if at else ""
            self._out.line(f"{entry['seq']:>4}  {clock}  {entry['kind']:<20}  {entry['hash'][:16]}", "dim")
        written = int(self._client.sessions(session_id).get()["next_seq"]) - 1
        verdict = chain.verify(entries, at_least=written)
        if verdict.broken_at is not None:
            self._out.line(f"broken at entry {verdict.broken_at}: {verdict.problem}", "red")
            return Exit.FAILED
        self._out.line(f"{verdict.entries} entries, whole; head {verdict.head}", "green")
        return Exit.OK if completed else Exit.FAILED

    def _make_route(self) -> None:
        body = {
            "route_id": ROUTE,
            "driver": "scripted",
            "model": "incident",
            "options": {"script": "incident"},
        }
        try:
            self._client.request("POST", path("routes"), body)
        except Problem as problem:
            if problem.code != "route_exists":
                raise

    def _tell(self, words: str, *, style: Any = "bold") -> None:
        self._pause()
        self._out.line()
        self._out.line(f"{self._out.icon('──', '--')} {words}", style)

    def _pause(self) -> None:
        if self._pause_seconds:
            time.sleep(self._pause_seconds)
