"""The OpenAPI document is complete and true, and its page works offline."""

import re
import warnings
from typing import Any

import jsonschema
import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from drf_spectacular.renderers import OpenApiYamlRenderer

from connectors_app.api.ingress import IngressView
from sessions_app.api.views.base import KheishView
from sessions_app.api.views.documents import openapi_document
from tests.factories import make_client

VERBS = ("get", "post", "put", "delete", "patch")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openapi_document.cache_clear()
        made: dict[str, Any] = openapi_document()
        return made


def operations(document):
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            if verb in VERBS:
                yield path, verb, operation


def resolved(document, schema):
    """The schema with its references where a validator finds them."""
    return {**schema, "components": document["components"]}


def views(patterns, prefix=""):
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern), getattr(pattern.callback, "cls", None)


def test_it_is_open_and_says_its_version():
    answer = Client().get("/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.1")


@pytest.mark.django_db
def test_every_list_may_be_asked_for_a_page(document):
    lists = [
        path
        for path, verb, operation in operations(document)
        if "{" not in path and "cursor" in {of.get("name") for of in operation.get("parameters", ())}
    ]
    pages = [path for path in lists if not path.endswith("/stream")]
    client = make_client()
    assert len(pages) > 10
    for path in pages:
        answer = client.get(f"{path}?page=true")
        assert (path, answer.status_code, "pagination" in answer.json()) == (path, 200, True)
    assert client.get("/v1/runs?page=false").status_code == 400


def test_every_view_is_in_it(document):
    for route, view in views(get_resolver().url_patterns):
        if view is None or not issubclass(view, (KheishView, IngressView)) or view.schema is None:
            continue
        path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
        offered = {verb for verb in VERBS if hasattr(view, verb) and verb in view.http_method_names}
        assert offered == set(document["paths"][path]) & set(VERBS), path


def test_operation_ids_are_unique_and_every_verb_is_described(document):
    found = [operation for _, _, operation in operations(document)]
    ids = [operation["operationId"] for operation in found]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"] and {"4XX", "5XX"} <= set(operation["responses"]) for operation in found)


def test_creating_and_deciding_take_a_key(document):
    pure = {"permissions_check", "permissions_matrix"}
    for path, verb, operation in operations(document):
        brings_its_own = path.startswith(
            "/v1/connectors/"
        )  # what an event is named by is its sender's affair
        if verb == "post" and operation["operationId"] not in pure and not brings_its_own:
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert "Idempotency-Key" in names, path


def test_examples_fit_their_schemas(document):
    checked = 0
    for _, _, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for content in body.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    jsonschema.validate(example["value"], resolved(document, content["schema"]))
                    checked += 1
    assert checked > 40


def test_request_schemas_are_closed_to_unknown_members(document):
    for path, verb, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            if name:
                assert document["components"]["schemas"][name]["additionalProperties"] is False, (path, verb)


@pytest.mark.django_db
def test_example_bodies_are_accepted(document):
    """The documented first steps work as written, on an empty installation."""
    client = make_client()
    for path in ("/v1/personas", "/v1/runtime/secrets", "/v1/routes", "/v1/tokens"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        [example] = content["examples"].values()
        answer = client.post(path, example["value"])
        assert answer.status_code == 201, answer.content
        schema = document["paths"][path]["post"]["responses"]["201"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), resolved(document, schema))


def test_the_page_loads_nothing_from_elsewhere_and_nothing_inline():
    page = Client().get("/docs/")
    text = page.content.decode()
    assert page.status_code == 200
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*src=)", text)
    assert "unsafe" not in page["Content-Security-Policy"]
    for address in re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", text):
        assert finders.find(address.removeprefix("/static/")), address
    script = Client().get("/docs/?script=").content.decode()
    assert "/v1/openapi.json" in script or "../v1/openapi.json" in script
    assert '"validatorUrl": null' in script


def test_the_streams_are_described_where_they_are(document: dict[str, Any]) -> None:
    paths = document["paths"]
    for path in ("/v1/sessions/{session_id}/stream", "/v1/runs/{run_id}/stream", "/v1/events/stream"):
        answer = paths[path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        assert "run.ended" in answer["example"]
        filled = path.format(session_id="s", run_id="r")
        assert resolve(filled).view_name.endswith("-stream")


def test_the_file_beside_the_code_is_what_the_code_says(document):
    written = (settings.BASE_DIR / "docs" / "openapi.yaml").read_bytes()
    now = OpenApiYamlRenderer().render(document, renderer_context={})
    assert written == now, "the API changed: python3 manage.py spectacular --file docs/openapi.yaml"
