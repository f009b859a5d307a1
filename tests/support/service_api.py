"""What acceptance tests say to a service over HTTP: the project's own client, with patience and verdicts."""

import http.client
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from kheish_site.cli.client import SETTLED, Client, path
from kheish_site.cli.sse import StreamEvent, parse
from kheish_site.cli.transport import Problem, Unreachable
from tests.support.service_process import until

Json = Any
PATIENCE_SECONDS = 30.0


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A scripted tool call."""
    return {"name": name, "arguments": arguments}


class Api:
    """One token's view of a running service."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.client = Client(url, token, timeout_seconds=60)

    def script(self, *turns: dict[str, Any], route_id: str = "", **options: Any) -> str:
        """Make a route that plays these turns; returns its id."""
        route_id = route_id or f"script-{uuid.uuid4().hex[:12]}"
        options["script"] = {"turns": list(turns)}
        body = {"route_id": route_id, "driver": "scripted", "model": "script", "options": options}
        self.client.request("POST", path("routes"), body)
        return route_id

    def session(self, session_id: str = "", **fields: Any) -> str:
        """Make a session; returns its id."""
        wanted = {"session_id": session_id or f"s-{uuid.uuid4().hex[:12]}", **fields}
        return str(self.client.request("POST", path("sessions"), wanted)["session_id"])

    def submit(self, session_id: str, text: str = "go", **fields: Any) -> str:
        """Submit one input; returns the run's id."""
        return self.client.sessions(session_id).input(text, **fields).run_id

    def start(self, *turns: dict[str, Any], **fields: Any) -> tuple[str, str]:
        """Give a new session one run that plays these turns; returns the ids of session and run."""
        session_id = self.session(**fields)
        return session_id, self.submit(session_id, route_id=self.script(*turns))

    def run(self, run_id: str) -> Json:
        """The run as it is now; outlasts a restart."""
        return self.client.patient_get(path("runs", run_id))

    def until(self, run_id: str, *statuses: str, seconds: float = PATIENCE_SECONDS) -> Json:
        """The run once it has one of these statuses; fails when it settles in another one."""
        view: Json = {}

        def there() -> bool:
            nonlocal view
            view = self.run(run_id)
            if view["status"] in SETTLED and view["status"] not in statuses:
                raise AssertionError(f"{view['status']}: {view.get('error')} {self.kinds(run_id)}")
            return view["status"] in statuses

        until(there, seconds, lambda: f"{view} {self.kinds(run_id)}")
        return view

    def until_kind(
        self, run_id: str, kind: str, *, count: int = 1, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until the run's journal holds `count` entries of `kind`."""
        until(
            lambda: self.kinds(run_id).count(kind) >= count,
            seconds,
            lambda: f"no {kind}: {self.kinds(run_id)}",
        )

    def events(self, run_id: str) -> list[Json]:
        """All journal entries of the run."""
        return list(self.client.runs(run_id).events())

    def kinds(self, run_id: str) -> list[str]:
        """What happened in the run, in order."""
        return [event["kind"] for event in self.events(run_id)]

    def journal(self, session_id: str) -> list[Json]:
        """All journal entries of the session, proved dense and whole by the service and by their numbers."""
        entries = list(self.client.sessions(session_id).events())
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        verdict = self.client.get(path("sessions", session_id, "verify"))
        assert verdict["valid"] and verdict["entries"] == len(entries), verdict
        return entries

    def pending(self, noun: str, run_id: str) -> Json:
        """The one pending approval, question or decision (`noun` in the plural) of a run."""
        page = self.client.page(path(noun), query={"run_id": run_id, "status": "pending"})
        (item,) = page["items"]
        return item

    def resolve(self, noun: str, item_id: str, **body: Any) -> Json:
        """Settle an approval, question or decision."""
        return self.client.request("POST", path(noun, item_id, "resolve"), body)

    def allow(self, run_id: str, **body: Any) -> Json:
        """Wait for the run's one approval, and allow it."""
        self.until(run_id, "waiting_for_approval")
        approval = self.pending("approvals", run_id)
        return self.resolve("approvals", approval["approval_id"], behavior="allow", **body)

    @contextmanager
    def stream(self, target: str, *, last: str = "", cursor: str = "") -> Iterator[Iterator[StreamEvent]]:
        """One connection to a stream, cut when the block ends; no events at all for a 204."""
        address = urlsplit(self.url)
        query = f"?{urlencode({'cursor': cursor})}" if cursor else ""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = last
        with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)) as wire:
            wire.request("GET", target + query, headers=headers)
            answer = wire.getresponse()
            assert answer.status in (200, 204), answer.read()
            found = parse(answer) if answer.status == 200 else iter(())
            yield (event for event in found if event.data is not None)  # the first frame is a place alone


def refused(action: Callable[[], Any]) -> Problem:
    """The problem that `action` is refused with."""
    try:
        answer = action()
    except Problem as problem:
        return problem
    raise AssertionError(f"not refused: {answer}")


def is_down(api: Api) -> bool:
    """True when nobody answers at the service's address."""
    try:
        api.client.get(path("status"))
    except Unreachable:
        return True
    except Problem:
        return False
    return False


def moment(entry: Json) -> float:
    """When a journal entry was written, as seconds since the epoch."""
    return datetime.fromisoformat(entry["at"]).timestamp()
