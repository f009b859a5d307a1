"""Secrets that are put everywhere an installation meets them, and looked for everywhere it shows anything."""

import http.cookiejar
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.conftest import installed
from tests.support.llmock_server import LLMockProcess
from tests.support.service import SERVICES, Deployment
from tests.support.service_api import Api, call, refused
from tests.support.service_process import until

pytestmark = pytest.mark.slow


def canary(name: str) -> str:
    return f"canary-{name}-{uuid.uuid4().hex}"


SLOT, VARIABLE, HEADER, ARGUMENT, REQUEST = (
    canary(name) for name in ("slot", "variable", "header", "argument", "request")
)
STORED_AS_GIVEN = {ARGUMENT}
"""Arguments of a call are kept exactly: its digest and its execution need them. Nothing shows them."""
PRINT = """cat notes.txt
echo "$DEPLOY_TOKEN"
printf %s "${DEPLOY_TOKEN:0:20}"; sleep 0.7; echo "${DEPLOY_TOKEN:20}"
"""
MOST_ROWS = 4
"""Pages that are read of one table."""


@pytest.fixture(scope="module")
def told(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service whose environment holds a secret that shell commands may see."""
    settings = {
        "DEPLOY_TOKEN": VARIABLE,
        "KHEISH_BASH_ENV_ALLOWLIST": "PATH,HOME,DEPLOY_TOKEN",
        "KHEISH_LOG_LEVEL": "DEBUG",
    }
    with installed(prepared, tmp_path_factory.mktemp("canary"), **settings) as deployment:
        deployment.start()
        yield deployment


class Recorder:
    """Everything a stream sends, until the block ends."""

    def __init__(self, api: Api, target: str) -> None:
        headers = {"Authorization": f"Bearer {api.token}"}
        self._answer = urllib.request.urlopen(
            urllib.request.Request(api.url + target, headers=headers), timeout=60
        )
        self.text = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                self.text += line
        except (OSError, ValueError):
            return


@pytest.fixture(scope="module")
def played(told: Deployment) -> Iterator[tuple[Api, dict[str, str]]]:
    """Play a story in which the secrets come up; gives what streams sent, by name."""
    api = Api(told.url, told.token)
    for name, value in {"main": SLOT, "other": ARGUMENT}.items():
        slot = {"slot_id": name, "provider": "openai", "value": value}
        api.client.request("POST", "/v1/runtime/secrets", slot)
    everything = Recorder(api, "/v1/events/stream?cursor=0")
    with LLMockProcess("--stream-chunk-delay-ms", "15") as model:
        body = {"route_id": "real", "driver": "openai", "base_url": model.base_url, "model": "gpt-4o"}
        api.client.request("POST", "/v1/routes", {**body, "auth_ref": "main", "default": True})
        live = _tell_all(api, model)
        _fail_with_the_key(api, model)
        _ask_with_a_secret(api, model)
    _knock_with_a_secret(api)
    yield api, {"events": everything.text.decode(), "run": live.text.decode()}


def _tell_all(api: Api, model: LLMockProcess) -> Recorder:
    session = api.session("talkative")
    workspace = Path(api.client.sessions(session).get()["workspace"])
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "notes.txt").write_text(f"the key is {SLOT}\nAuthorization: Bearer {HEADER}\n")
    words = f"I have read it: {SLOT} and {VARIABLE} and that is all there is to say about them. " * 3
    model.script(
        {"type": "reply", "text": words, "tool_calls": [call("read_file", path="notes.txt")]},
        {"type": "reply", "text": words, "tool_calls": [call("bash", command=PRINT)]},
        {"type": "reply", "text": words},
    )
    run_id = api.submit(session, f"Use {SLOT}, please.", metadata={"note": f"with {SLOT}"})
    live = Recorder(api, f"/v1/runs/{run_id}/stream?cursor=0")
    api.allow(run_id, justification=f"because of {SLOT}")
    view = api.until(run_id, "completed")
    assert "I have read it" in view["outputs"][-1]["content"]
    until(lambda: b"run.ended" in live.text, 10, lambda: live.text)
    return live


def _fail_with_the_key(api: Api, model: LLMockProcess) -> None:
    model.script({"type": "fail", "status": 401, "message": f"Incorrect API key provided: {SLOT}"})
    run_id = api.submit(api.session("refused"))
    assert api.until(run_id, "failed")["error"]["code"] == "auth"


def _ask_with_a_secret(api: Api, model: LLMockProcess) -> None:
    model.script({"type": "reply", "text": "", "tool_calls": [call("bash", command=f"echo {ARGUMENT}")]})
    model.script({"type": "reply", "text": f"it said {ARGUMENT}"})
    run_id = api.submit(api.session("asking"))
    api.allow(run_id)
    api.until(run_id, "completed")


def _knock_with_a_secret(api: Api) -> None:
    """Requests that are refused, with secrets where browsers and scripts put them."""
    stranger = Api(api.url, REQUEST)
    assert refused(lambda: stranger.client.get("/v1/sessions")).status == 401
    for headers in ({"Cookie": f"sessionid={REQUEST}"}, {"X-Api-Key": REQUEST}):
        asked = refused(lambda sent=headers: stranger.client.exchange("GET", "/v1/runs/none", headers=sent))
        assert asked.status == 401
    unknown = refused(lambda: api.client.exchange("POST", "/v1/sessions", {"api_key": REQUEST}))
    assert unknown.status == 400


def found(text: str | bytes, *, but: set[str] = frozenset()) -> list[str]:
    """The secrets that `text` holds."""
    secrets = {SLOT, VARIABLE, HEADER, ARGUMENT, REQUEST} - but
    return [secret for secret in secrets if (secret.encode() if isinstance(text, bytes) else secret) in text]


def test_the_story_was_really_told(played: tuple[Api, dict[str, str]]):
    api, streams = played
    for name, text in streams.items():
        assert "[redacted]" in text and "I have read it" in text, name
    (task,) = api.client.get("/v1/sessions/talkative/tasks")["items"]
    assert (task["status"], task["exit_code"]) == ("completed", 0)


def test_no_stream_shows_a_secret(played: tuple[Api, dict[str, str]]):
    _, streams = played
    assert "message.delta" in streams["run"]
    for name, text in streams.items():
        assert found(text) == [], name


def test_no_answer_of_the_api_shows_a_secret(played: tuple[Api, dict[str, str]]):
    api, _ = played
    paths = ["approvals", "questions", "decisions", "personas", "routes", "tokens", "runtime", "status"]
    paths += ["runs", "openapi.json", "runtime/revisions"]
    paths += ["sessions", "runtime/secrets", "runtime/secrets/main", "routes/real", "capabilities"]
    for session in ("talkative", "refused", "asking"):
        parts = ("", "/events", "/verify", "/tasks", "/permission-audits", "/capability-scope")
        paths += [f"sessions/{session}{part}" for part in parts]
        tasks = api.client.get(f"/v1/sessions/{session}/tasks")["items"]
        paths += [
            f"sessions/{session}/tasks/{task['task_id']}{end}"
            for task in tasks
            for end in ("", "/output?full=true")
        ]
    for run in api.client.get("/v1/runs")["items"]:
        paths += [f"runs/{run['run_id']}", f"runs/{run['run_id']}/events"]
    for item in api.client.get("/v1/approvals")["items"]:
        paths.append(f"approvals/{item['approval_id']}")
    leaks = {path: leaked for path in paths if (leaked := found(str(api.client.get(f"/v1/{path}"))))}
    assert leaks == {}
    assert api.client.get("/v1/runtime/secrets/main")["slot_id"] == "main"


def test_the_log_shows_no_secret(told: Deployment, played: tuple[Api, dict[str, str]]):
    assert found(told.words()) == []


@pytest.mark.embedded_only
def test_no_page_of_the_admin_shows_a_secret(told: Deployment, played: tuple[Api, dict[str, str]]):
    pages = crawl(told)
    assert len(pages) > 10
    leaks = {address: leaked for address, text in pages.items() if (leaked := found(text))}
    assert leaks == {}


def test_the_stored_data_holds_no_secret_in_the_clear(told: Deployment, played: tuple[Api, dict[str, str]]):
    leaks = {name: leaked for name, data in stored(told) if (leaked := found(data, but=STORED_AS_GIVEN))}
    assert leaks == {}


def stored(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    """Every file of the state folder, the workspaces aside, and every table of the other database."""
    for file in deployment.state_dir.rglob("*"):
        if file.is_file() and "workspaces" not in file.parts:
            yield file.name, file.read_bytes()
    if SERVICES:
        with psycopg.connect(deployment.environment["KHEISH_DATABASE_URL"]) as connection:
            names = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            for (name,) in names:
                rows = connection.execute(f'SELECT t::text FROM "{name}" AS t').fetchall()
                yield name, "\n".join(row[0] for row in rows).encode()


def crawl(deployment: Deployment) -> dict[str, str]:
    """Sign in to the admin and read the pages that links lead to: of each table its list and some rows."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    login = f"{deployment.url}/admin/login/"
    hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.open(login).read().decode())
    assert hidden
    token = hidden[1]
    name, password = deployment.login
    form = {"username": name, "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
    sent = urllib.request.Request(login, urllib.parse.urlencode(form).encode(), {"Referer": login})
    pages, todo = {"/admin/": browser.open(sent, timeout=10).read().decode()}, ["/admin/"]
    assert "Log out" in pages["/admin/"]
    read: Counter[str] = Counter()
    while todo:
        for link in re.findall(r'href="([^"#]+)', pages[todo.pop(0)]):
            address = urllib.parse.urlsplit(urllib.parse.urljoin("/admin/", link.replace("&amp;", "&")))
            seen = address.path
            if not seen.startswith("/admin/") or seen in pages or address.netloc or "logout" in seen:
                continue
            table = "/".join(seen.split("/")[:4])
            read[table] += 1
            if read[table] > MOST_ROWS:
                continue
            try:
                with browser.open(deployment.url + seen, timeout=10) as answer:
                    pages[seen] = answer.read().decode()
            except urllib.error.HTTPError as refusal:
                assert refusal.code < 500, seen
                pages[seen] = refusal.read().decode()
            todo.append(seen)
    return pages
