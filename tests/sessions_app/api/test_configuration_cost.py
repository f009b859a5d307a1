"""Queries of each configuration endpoint: the same number however many rows there are."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import make_client, make_persona, make_route, make_secret, make_session

# One of each is the token. A list counts, reads its page, and projects it.
BUDGETS = {
    "/v1/capabilities": 1,
    "/v1/personas": 5,
    "/v1/personas/p1": 4,
    "/v1/routes": 4,
    "/v1/routes/r1": 3,
    "/v1/runtime/secrets": 5,
    "/v1/runtime/secrets/s1": 4,
    "/v1/tokens": 3,
    "/v1/runtime": 4,
    "/v1/runtime/revisions": 3,
    "/v1/status": 16,
}


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "budget"), BUDGETS.items())
@pytest.mark.parametrize("rows", [1, 7])
def test_reads(path, budget, rows):
    for number in range(1, rows + 1):
        make_persona(f"p{number}")
        make_secret(f"s{number}", f"canary-{number}-value")
        make_route(f"r{number}", auth_ref=f"s{number}")
        make_session(f"session-{number}", persona_id=f"p{number}")
    client = make_client()
    client.get("/v1/capabilities")  # the token's use is recorded now, and not again for a minute
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    assert len(queries) == budget, "\n".join(query["sql"][:150] for query in queries)


@pytest.mark.django_db
def test_a_key_costs_two_queries():
    client = make_client()
    path, body = "/v1/runtime/permission-rules", {"user": [{"tool_name_pattern": "web_*", "behavior": "ask"}]}
    client.post(path, body)  # what is looked at only every few seconds is looked at now
    with CaptureQueriesContext(connection) as plain:
        assert client.post(path, body).status_code == 200
    with CaptureQueriesContext(connection) as keyed:
        assert client.post(path, body, headers={"idempotency-key": "k"}).status_code == 200
    assert _statements(keyed) == _statements(plain) + 2


def _statements(queries):
    bounds = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return len([query for query in queries if not query["sql"].startswith(bounds)])
