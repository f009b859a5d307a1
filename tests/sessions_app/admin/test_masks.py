"""Forms with a masked value: left alone it is kept, edited it is refused, and lines end as they did."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from kheish_site.lib.redaction import MASK, redact
from sessions_app.admin.forms import unmasked
from sessions_app.models import Persona, Run, RuntimeRevision
from sessions_app.services import runtime_settings
from tests.factories import make_persona, make_route
from tests.sessions_app.admin.conftest import Desk, drive
from tests.sessions_app.admin.test_verbs import do, new_url, verb_url

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "You review.\napi_key: sk-live-abcdefghijklmnop1234567890\nBe brief.\n"
REFUSED = "A masked value may be kept or replaced whole, not edited."


def shown(client: Any, url: str) -> dict[str, Any]:
    """What a browser sends of a form that nobody touched: lines end in CRLF."""
    form = client.get(url).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return {
        name: ("" if value is None else str(value)).replace("\n", "\r\n") for name, value in values.items()
    }


def test_a_persona_keeps_its_soul_when_only_its_name_changes(desk: Desk) -> None:
    persona, client = make_persona(soul=TEXT), desk("admin")
    sent = shown(client, verb_url(persona, "revise"))
    assert MASK in sent["soul"]
    do(client, persona, "revise", **{**sent, "display_name": "Other"})
    now = persona.revisions.get(revision=2)
    assert (now.display_name, now.soul) == ("Other", TEXT)


def test_text_that_browsers_send_is_stored_with_plain_lines(desk: Desk) -> None:
    persona = {"confirmed": "yes", "persona_id": "plain", "soul": "one\r\ntwo\rthree\n"}
    desk("admin").post(new_url(Persona, "persona"), persona)
    assert Persona.objects.get(persona_id="plain").revisions.get().soul == "one\ntwo\nthree"


def test_a_run_with_a_masked_input_is_asked_again(desk: Desk) -> None:
    run, client = drive({"text": "done"}, session_id="again"), desk("operator")
    Run.objects.filter(pk=run.pk).update(input_message={"role": "user", "content": redact(TEXT)})
    sent = shown(client, verb_url(run, "again"))
    assert MASK in sent["content"]
    assert do(client, run, "again", **sent).status_code == 302
    newest = Run.objects.order_by("-pk")[0]
    assert (newest.pk == run.pk, newest.input_message["content"]) == (False, redact(TEXT))


def test_an_edited_mask_is_an_error_of_its_field(desk: Desk) -> None:
    client = desk("admin")
    route = make_route("keyed", options={"api_key": "another-secret-value"})
    sent = shown(client, verb_url(route, "change")) | {"options": f'{{"api_key": "x{MASK}"}}'}
    assert do(client, route, "change", **sent).context["form"].errors == {"options": [REFUSED]}
    runtime_settings.change("system-prompt", {"settings": {"custom_prompt": TEXT}}, principal="admin")
    prompt = new_url(RuntimeRevision, "system-prompt")
    sent = {"confirmed": "yes", **shown(client, prompt)}
    edited = client.post(prompt, {**sent, "custom_prompt": sent["custom_prompt"] + "\r\nmore"})
    assert edited.context["form"].errors == {"custom_prompt": [REFUSED]}
    client.post(prompt, {**sent, "append_prompt": "more"})
    settings = runtime_settings.current().system_prompt
    assert (settings.custom_prompt, settings.append_prompt) == (TEXT, "more")


A, B = ({"name": name, "api_key": f"{name}-secret-value"} for name in "ab")
SHOWN_A, SHOWN_B = ({"name": name, "api_key": MASK} for name in "ab")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([SHOWN_A, SHOWN_B], [A, B]),
        ([SHOWN_B, SHOWN_A], [B, A]),
        ([SHOWN_B], [B]),
        ([SHOWN_A, {"name": "c", "api_key": "new"}, SHOWN_B], [A, {"name": "c", "api_key": "new"}, B]),
        ([SHOWN_A, SHOWN_B | {"name": "c"}], [A, B | {"name": "c"}]),
    ],
)
def test_secrets_in_lists_stay_with_their_items(given: list[Any], kept: list[Any]) -> None:
    stored = {"options": {"hosts": [A, B]}}
    assert unmasked({"options": {"hosts": given, "more": 1}}, stored) == {
        "options": {"hosts": kept, "more": 1}
    }


@pytest.mark.parametrize(
    "given",
    [[SHOWN_B, SHOWN_A | {"port": 1}], [SHOWN_A | {"port": 1}], [SHOWN_A, SHOWN_B, SHOWN_B | {"x": 1}]],
)
def test_a_mask_whose_item_is_not_clear_is_refused(given: list[Any]) -> None:
    with pytest.raises(ValidationError, match="kept or replaced whole"):
        unmasked({"options": {"hosts": given}}, {"options": {"hosts": [A, B]}})


def test_a_member_masked_for_its_name_is_kept_beside_what_changed() -> None:
    stored = {"options": {"api_key": "another-secret-value", "port": 1}}
    given = {"options": {"api_key": MASK, "port": 2}}
    assert unmasked(given, stored) == {"options": {"api_key": "another-secret-value", "port": 2}}


def test_equal_masks_in_a_list_are_told_apart_by_their_places() -> None:
    stored = {"options": {"headers": ["password: one-secret", "password: two-secret"]}}
    shown = {"options": {"headers": [f"password: {MASK}"] * 2, "more": 1}}
    assert unmasked(shown, stored)["options"] == stored["options"] | {"more": 1}
