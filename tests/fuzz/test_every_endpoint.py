"""Every operation of the OpenAPI document under generated requests: no 5xx, and answers as documented.

In process through WSGI. Path parameters mostly name rows that exist, so that bodies reach the services.

The requests of an operation are made when its test runs, and not, as ``SCHEMA.parametrize`` does, when tests
are collected: that takes ten seconds in each process. It also gives all operations one node id, of which
xdist runs one.
"""

import os
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from sessions_app.api.stream_schema import TAG
from tests.fuzz.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.services_only]

EXAMPLES = int(os.environ.get("KHEISH_FUZZ_EXAMPLES", "2"))
"""Random requests an operation, beside those at the boundaries of its schema; more are drawn at random."""
WHOLE, EACH = 60, 1 if "KHEISH_FUZZ_EXAMPLES" in os.environ else 4
"""How many requests of an operation are all sent, and of how many beyond them one: some have hundreds."""
OUTLINE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="KHEISH_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"unexpected-methods": []}}})
SCHEMA = schemathesis.openapi.from_wsgi("/v1/openapi.json", get_wsgi_application(), config=CONFIG)
OPERATIONS = {
    found.ok().label: found.ok()
    for found in SCHEMA.exclude(tag=TAG).get_all_operations()  # a stream does not end by itself
}
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)


@pytest.fixture(autouse=True)
def connection_that_stays() -> Iterator[None]:
    """A connection that outlives a request, as Django's own test client arranges it."""
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield
    for signal in ends:
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def feedback() -> FeedbackSources:
    load_all_checks()
    return FeedbackSources(constants_value_source=make_constants_value_source(SCHEMA))


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_breaks_the_service(label: str, world: World, feedback: FeedbackSources) -> None:
    asked, made = list[str](), count(1)

    @OUTLINE
    def ask(case: Any) -> None:
        number = next(made)
        if number > WHOLE and number % EACH:
            return
        _aim(case, world)
        asked.append(case.method)
        authorization = world.authorization_for(case.method, case.path)
        case.call_and_validate(headers={"Authorization": authorization}, checks=CHECKS)

    build_operation_test(
        config=SCHEMA.config, operation=OPERATIONS[label], test_func=ask, given_kwargs={}, feedback=feedback
    )()
    assert len(asked) >= 1


def _aim(case: Any, world: World) -> None:
    """Name rows that exist, and never ask to wait: the transaction of the test is open."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = world.ids.get(name, [case.path_parameters[name]])[0]
    for name in ("Prefer", "prefer"):
        case.headers.pop(name, None)
    if case.query:
        case.query.pop("wait", None)
