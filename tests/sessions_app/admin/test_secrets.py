"""What is secret is on no page: not the value, not its sealed form, not a hash."""

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from sessions_app.admin import addresses
from sessions_app.models import ApiToken, Route, SecretSlot
from sessions_app.services import tokens
from tests.factories import make_route, make_secret
from tests.sessions_app.admin.conftest import Desk, waiting_approval, waiting_decision

pytestmark = pytest.mark.django_db(transaction=True)
CANARY = "canary-value-that-nobody-may-see-4711"


def every_page(client: Client) -> str:
    """The text of every list and every row's page, forms of verbs included."""
    pages = [client.get(reverse("admin:index"))]
    for model in apps.get_app_config("sessions_app").get_models():
        name = model._meta.model_name
        pages.append(client.get(reverse(f"admin:sessions_app_{name}_changelist")))
        pages += [client.get(addresses.of(row)) for row in model.objects.all()]
    return "".join(page.content.decode() for page in pages)


def test_no_page_shows_a_secret(desk: Desk) -> None:
    slot = make_secret("main-key", CANARY)
    _, token = tokens.create("ci", role="viewer")
    make_route(
        "with-options", options={"script": {"turns": [{"text": CANARY}]}, "api_key": "another-secret-value"}
    )
    approval = waiting_approval(command=f"curl -H 'X-Key: {CANARY}' example.test")
    waiting_decision()
    shown = every_page(desk("root"))
    root = Client()
    root.force_login(desk("admin").get(reverse("admin:index")).wsgi_request.user)
    shown += root.get(addresses.of_verb(approval, "edit")).content.decode()
    shown += root.get(
        addresses.of_verb(Route.objects.get(route_id="with-options"), "change")
    ).content.decode()
    shown += root.get(addresses.of_verb(slot, "rotate")).content.decode()
    for secret in (
        CANARY,
        "another-secret-value",
        token,
        slot.sealed,
        ApiToken.objects.get(name="ci").secret_hash,
    ):
        assert secret not in shown


def test_a_slot_is_written_and_never_sent_back(desk: Desk) -> None:
    client = desk("admin")
    store = reverse("admin:sessions_app_secretslot_new", args=["slot"])
    bad = client.post(store, {"confirmed": "yes", "slot_id": "not ok", "value": CANARY})
    assert CANARY not in bad.content.decode()
    client.post(store, {"confirmed": "yes", "slot_id": "main", "value": CANARY})
    slot = SecretSlot.objects.get(slot_id="main")
    rotate = addresses.of_verb(slot, "rotate")
    answer = client.post(rotate, {"confirmed": "yes", "value": CANARY + "-2"}, follow=True)
    assert CANARY not in answer.content.decode()
    slot.refresh_from_db()
    assert slot.revision == 2


def test_a_token_is_shown_once(desk: Desk) -> None:
    client = desk("admin")
    issue = reverse("admin:sessions_app_apitoken_new", args=["token"])
    answer = client.post(issue, {"confirmed": "yes", "name": "ci", "role": "operator"})
    assert "kh_" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    token = ApiToken.objects.get(name="ci")
    assert (token.role, token.created_by) == ("operator", "admin")
    page = client.get(addresses.of(token)).content.decode()
    assert "kh_" not in page.replace("kh-", "")


def test_masked_options_are_kept_when_a_route_is_saved(desk: Desk) -> None:
    route = make_route(options={"script": {"turns": [{"text": "hi"}]}, "api_key": "another-secret-value"})
    client = desk("admin")
    change = addresses.of_verb(route, "change")
    shown = client.get(change).context["form"]["options"].value()
    text = client.get(change).context["form"].fields["options"].prepare_value(shown)
    client.post(
        change, {"confirmed": "yes", "revision": "1", "driver": "scripted", "model": "other", "options": text}
    )
    route.refresh_from_db()
    assert (route.model, route.options["api_key"]) == ("other", "another-secret-value")
