"""The ways in are in the OpenAPI document, and their examples work as written."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
from rest_framework.test import APIClient

from connectors_app.kinds.telegram.views import HEADER
from sessions_app.api.views.documents import openapi_document
from sessions_app.models import Run
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.kinds.slack.world import make_slack, signed
from tests.connectors_app.kinds.telegram import rows as telegram
from tests.connectors_app.rows import TOKEN, make_connector

pytestmark = pytest.mark.django_db
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORM = "application/x-www-form-urlencoded"
Proof = Callable[[bytes], dict[str, str]]


def by_token(body: bytes) -> dict[str, str]:
    return BEARER


def by_secret(body: bytes) -> dict[str, str]:
    return {HEADER: telegram.SECRET}


@pytest.mark.parametrize(
    ("path", "name", "make", "proof", "runs"),
    [
        ("http/{name}", "alerts", lambda: make_connector(fixed_session_id="desk"), by_token, 1),
        ("slack/{name}", "ops", make_slack, signed, 1),
        ("slack/{name}/interactive", "ops", make_slack, signed, 0),
        ("telegram/{name}", "desk", telegram.make_bot, by_secret, 1),
        ("external/{name}/events", "mail", make_external, by_token, 1),
        ("external/{name}/events/batch", "mail", make_external, by_token, 1),
    ],
)
def test_the_example_is_taken_and_answered_as_described(
    path: str, name: str, make: Callable[[], object], proof: Proof, runs: int
) -> None:
    make()
    document = openapi_document()
    operation = document["paths"][f"/v1/connectors/{path}"]["post"]
    kind, content = next(iter(operation["requestBody"]["content"].items()))
    (example,) = content["examples"].values()
    body = (urlencode if kind == FORM else json.dumps)(example["value"]).encode()
    address = f"/v1/connectors/{path.format(name=name)}"
    answer = APIClient().generic("POST", address, body, content_type=kind, headers=proof(body))
    assert answer.status_code == 200, answer.content
    assert Run.objects.count() == runs
    said: dict[str, Any] = operation["responses"]["200"].get("content", {})
    assert bool(said) == bool(answer.content)
    if said:
        schema = {**said["application/json"]["schema"], "components": document["components"]}
        jsonschema.validate(answer.json(), schema)


def test_they_say_how_a_sender_proves_itself() -> None:
    document = openapi_document()
    paths = document["paths"]
    assert paths["/v1/connectors/external/{name}/events"]["post"]["security"] == [{"connector": []}]
    assert paths["/v1/connectors/http/{name}"]["post"]["security"] == [{"connector": []}, {}]
    assert document["components"]["securitySchemes"]["connector"]["scheme"] == "bearer"
    for path, header in (("slack/{name}", "X-Slack-Signature"), ("telegram/{name}", HEADER)):
        operation = paths[f"/v1/connectors/{path}"]["post"]
        assert header in {parameter["name"] for parameter in operation["parameters"]}
        assert not operation.get("security")
