"""Bodies, queries and headers nobody documented: each is answered, and never by a 5xx."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.factories import make_client
from tests.fuzz.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.embedded_only]

bounded = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

POSTS = (
    "/v1/sessions",
    "/v1/sessions/desk/runs",
    "/v1/sessions/desk/input",
    "/v1/sessions/desk/approvals",
    "/v1/sessions/desk/interrupt",
    "/v1/sessions/desk/end",
    "/v1/sessions/desk/route-policy",
    "/v1/sessions/desk/permission-rules",
    "/v1/approvals/{approval_id}/resolve",
    "/v1/questions/{question_id}/resolve",
    "/v1/questions/{question_id}/cancel",
    "/v1/decisions/{decision_id}/resolve",
    "/v1/runs/{run_id}/cancel",
    "/v1/runs/{run_id}/approvals",
    "/v1/sessions/busy/tasks/{task_id}/stop",
    "/v1/assets",
    "/v1/assets/gc",
    "/v1/observations/materialize",
    "/v1/observation-sources/{source_id}/schedules",
)
GETS = (
    "/v1/sessions",
    "/v1/runs",
    "/v1/approvals",
    "/v1/questions",
    "/v1/decisions",
    "/v1/assets",
    "/v1/sessions/desk/events",
)
NAMES = (
    "session_id", "content", "input_items", "metadata", "generation", "route_id", "resolutions", "behavior",
    "updated_input", "answers", "declined", "outcome", "reason", "route_policy", "permission_rules",
    "persona_id", "attachments", "asset_id", "content_base64", "media_type", "file_name", "dry_run",
    "limit", "cursor", "after", "kind", "status", "q", "idempotency_key",
)  # fmt: skip

text = st.text(st.characters(codec=None), max_size=30)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | text
    | st.sampled_from(["", ".", "..", "\x00", "\ud800", "9" * 40, "allow", "happened", "text", "desk"])
)
names = st.sampled_from(NAMES) | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(names, values, max_size=5) | values
raw = st.binary(max_size=60) | bodies.map(lambda value: json.dumps(value).encode())


@pytest.fixture
def client(world: World) -> APIClient:
    return make_client("admin")


def check(answer: Any) -> None:
    """No 5xx, and every refusal is a problem document with a code."""
    assert answer.status_code < 500, answer.content
    if answer.status_code >= 400:
        assert answer["Content-Type"].startswith("application/problem+json")
        assert answer.json()["code"]


@bounded
@given(data=st.data())
@pytest.mark.parametrize("path", POSTS)
def test_any_body(path: str, data: st.DataObject, client: APIClient, world: World) -> None:
    address = path.format(**{name: ids[0] for name, ids in world.ids.items()})
    kind = data.draw(
        st.sampled_from(["application/json"] * 8 + ["text/plain", "application/json; charset=latin-1"])
    )
    check(client.generic("POST", address, data.draw(raw), content_type=kind))


@bounded
@given(query=st.dictionaries(names, text | st.integers().map(str), max_size=3))
@pytest.mark.parametrize("path", GETS)
def test_any_query(path: str, query: dict[str, str], client: APIClient) -> None:
    clean = {name: value.encode("utf-8", "surrogatepass") for name, value in query.items()}
    check(client.get(path, {name.encode("utf-8", "surrogatepass"): value for name, value in clean.items()}))


@bounded
@given(
    value=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
    | st.sampled_from(["wait=", "wait=99999999999", '"1"', 'W/"1"', "*", '"1", "2"', '"' + "9" * 30 + '"'])
)
@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match", "Accept", "X-Request-ID", "Authorization"])
def test_any_header(name: str, value: str, client: APIClient) -> None:
    check(client.put("/v1/sessions/desk/unknown-effects", {"unknown_effects": "tell"}, headers={name: value}))
    check(client.post("/v1/sessions/desk/interrupt", {}, headers={name: value}))


@bounded
@given(ids=st.lists(text, min_size=1, max_size=2))
@pytest.mark.parametrize(
    "path", ["/v1/sessions/{0}", "/v1/runs/{0}", "/v1/approvals/{0}", "/v1/sessions/{0}/tasks/{1}/output"]
)
def test_any_id_in_a_path(path: str, ids: list[str], client: APIClient) -> None:
    quoted = [quote(item.encode("utf-8", "surrogatepass"), safe="") for item in [*ids, *ids]]
    check(client.get(path.format(*quoted)))


@pytest.mark.parametrize(
    "path", ["/v1/%0a", "/v1/sessions/a%0ab/tasks/x%2fy/output", "/v1/sessions/%0a/x/%0a"]
)
def test_line_breaks_in_a_path_are_a_problem_too(path: str, client: APIClient) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    check(answer)
