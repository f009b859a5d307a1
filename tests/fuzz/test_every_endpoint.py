"""Every operation of the OpenAPI document under generated requests: no 5xx, and answers as documented.

In process through WSGI. Path parameters mostly name rows that exist, so that bodies reach the services.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from sessions_app.api.stream_schema import TAG
from tests.fuzz.world import World, make_world

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

EXAMPLES = int(os.environ.get("KHEISH_FUZZ_EXAMPLES", "3"))
"""Random requests an operation, beside those at the boundaries of its schema; more are drawn at random."""
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"unexpected-methods": []}}})
SCHEMA = schemathesis.openapi.from_wsgi("/v1/openapi.json", get_wsgi_application(), config=CONFIG)
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)


@pytest.fixture
def world() -> Iterator[World]:
    """The rows, and a connection that outlives a request, as Django's own test client arranges it."""
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield make_world()
    for signal in ends:
        signal.connect(close_old_connections)


@SCHEMA.exclude(tag=TAG).parametrize()  # a stream does not end by itself: its tests are its own
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="KHEISH_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_service(case: Any, world: World) -> None:
    _aim(case, world)
    authorization = world.authorization_for(case.method, case.path)
    case.call_and_validate(headers={"Authorization": authorization}, checks=CHECKS)


def _aim(case: Any, world: World) -> None:
    """Name rows that exist, and never ask to wait: the transaction of the test is open."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = world.ids.get(name, [case.path_parameters[name]])[0]
    for name in ("Prefer", "prefer"):
        case.headers.pop(name, None)
    if case.query:
        case.query.pop("wait", None)
