"""/v1/observation-sources."""

from typing import Any

import pytest

from tests.connectors_app.observations.rows import make_source, see
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db

PATH = "/v1/observation-sources"
BODY = {"source_id": "cam", "kind": "screen_snapshot"}


def test_a_new_source_has_the_documented_bounds_and_shows_its_token() -> None:
    view = make_client().post(PATH, BODY).json()
    wanted = {
        "sensitive": True, "retention_days": 7, "retention_count": 512, "retention_bytes": 512 * 1024 * 1024,
        "burst_count": 120, "burst_seconds": 60, "allow_raw_purge": False, "allow_materialization": True,
        "allow_output_delivery": False, "enabled": True,
    }  # fmt: skip
    assert {name: view[name] for name in wanted} == wanted
    assert view["token"].startswith("ko_")


def test_list_and_read() -> None:
    for source_id in ("b", "a"):
        see(make_source(source_id)[0])
    viewer = make_client("viewer")
    items = viewer.get(PATH).json()["items"]
    assert [(item["source_id"], item["observations"]["count"]) for item in items] == [("a", 1), ("b", 1)]
    answer = viewer.get(f"{PATH}/a")
    assert (answer["ETag"], answer.json()) == ('"1"', items[0])
    assert code_of(viewer.get(f"{PATH}/nobody")) == "observation_source_not_found"
    assert code_of(viewer.get(f"{PATH}/nobody/observations")) == "observation_source_not_found"
    assert code_of(viewer.get("/v1/observations/obs_x")) == "observation_not_found"


def test_a_list_costs_the_same_whatever_is_in_it(django_assert_max_num_queries: Any) -> None:
    for number in range(4):
        see(make_source(f"s{number}")[0])
    viewer = make_client("viewer")
    with django_assert_max_num_queries(7):
        viewer.get(PATH)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "screen_snapshot"}, "invalid_request"),
        ({**BODY, "kind": "smell"}, "invalid_request"),
        ({**BODY, "source_id": "a b"}, "invalid_request"),
        ({**BODY, "source_id": "x" * 129}, "invalid_request"),
        ({**BODY, "retention_days": 0}, "invalid_request"),
        ({**BODY, "retention_count": True}, "invalid_request"),
        ({**BODY, "colour": "red"}, "invalid_request"),
    ],
)
def test_a_source_that_breaks_its_shape_is_refused(body: dict[str, Any], code: str) -> None:
    assert code_of(make_client().post(PATH, body)) == code


def test_an_id_is_taken_once() -> None:
    make_source()
    answer = make_client().post(PATH, BODY)
    assert (answer.status_code, code_of(answer)) == (409, "observation_source_exists")


def test_only_admins_write() -> None:
    make_source()
    operator = make_client("operator")
    for answer in (
        operator.post(PATH, BODY),
        operator.put(f"{PATH}/cam", {"sensitive": False}, headers={"If-Match": "*"}),
        operator.delete(f"{PATH}/cam", headers={"If-Match": "*"}),
        operator.post(f"{PATH}/cam/rotate-token", {}),
    ):
        assert (answer.status_code, code_of(answer)) == (403, "insufficient_access")


def test_update_needs_the_version_and_keeps_the_rest() -> None:
    make_source(retention_count=9)
    admin = make_client()
    changed = admin.put(f"{PATH}/cam", {"sensitive": False, "enabled": False}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.content
    view = changed.json()
    assert (view["sensitive"], view["enabled"], view["retention_count"]) == (False, False, 9)
    assert code_of(admin.put(f"{PATH}/cam", {"sensitive": True})) == "precondition_required"
    stale = admin.put(f"{PATH}/cam", {"sensitive": True}, headers={"If-Match": '"1"'})
    assert code_of(stale) == "precondition_failed"
    assert code_of(admin.put(f"{PATH}/cam", {}, headers={"If-Match": "*"})) == "invalid_request"
    assert admin.put(f"{PATH}/cam", {"kind": "document"}, headers={"If-Match": "*"}).status_code == 400


def test_a_source_is_deleted_by_who_has_seen_it() -> None:
    source, _ = make_source()
    see(source)
    admin = make_client()
    assert code_of(admin.delete(f"{PATH}/cam")) == "precondition_required"
    assert admin.delete(f"{PATH}/cam", headers={"If-Match": '"1"'}).status_code == 204
    assert code_of(admin.delete(f"{PATH}/cam", headers={"If-Match": "*"})) == "observation_source_not_found"


def test_tokens_of_nobody() -> None:
    admin = make_client()
    assert code_of(admin.post(f"{PATH}/nobody/rotate-token", {})) == "observation_source_not_found"
    assert code_of(admin.post(f"{PATH}/nobody/revoke-token", {})) == "observation_source_not_found"
    make_source()
    bad = admin.post(f"{PATH}/cam/rotate-token", {"grace_period_ms": -1})
    assert code_of(bad) == "invalid_request"
