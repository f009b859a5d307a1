"""Forms with a masked value: left alone it is kept, edited it is refused, and lines end as they did."""

from typing import Any

import pytest

from kheish_site.lib.redaction import MASK, redact
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
    return {name: str(value or "").replace("\n", "\r\n") for name, value in values.items()}


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
