"""Every table has its page, for everybody who may look, and no page can be used to write."""

import shlex

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models
from django.urls import NoReverseMatch, reverse

import kheish_site.urls  # noqa: F401  (registers every page, those of the apps above too)
from kheish_site.cli.parser import build_parser
from kheish_site.entry import TOOLS
from sessions_app.admin import addresses
from sessions_app.admin.base import ConsoleAdmin
from tests.factories import make_persona, make_secret
from tests.sessions_app.admin.conftest import (
    Desk,
    drive,
    waiting_approval,
    waiting_decision,
    waiting_question,
)

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = [
    model for app in ("sessions_app", "connectors_app") for model in apps.get_app_config(app).get_models()
]
UNSAFE = (models.JSONField, models.TextField)


def page(model: type[models.Model], what: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{what}", args=args)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_registered_and_read_only(model, rf) -> None:
    shown = admin.site._registry[model]
    assert isinstance(shown, ConsoleAdmin)
    assert shown.plural and shown.singular and shown.empty
    request = rf.get("/")
    assert not shown.has_add_permission(request)
    assert not shown.has_change_permission(request)
    assert not shown.has_delete_permission(request)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_json_and_text_are_only_shown_through_redaction(model) -> None:
    shown = admin.site._registry[model]
    names = {*shown.list_display}
    for _, options in shown.fieldsets or ((None, {"fields": shown.fields or ()}),):
        names |= set(options["fields"])
    assert names, "a page without chosen fields shows every column"
    raw = {field.name for field in model._meta.get_fields() if isinstance(field, UNSAFE)}
    assert not names & raw
    assert not names & {"sealed", "secret_hash"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_an_empty_list_says_what_to_do(model, desk: Desk) -> None:
    answer = desk("root").get(page(model, "changelist"))
    assert answer.status_code == 200
    assert admin.site._registry[model].plural in answer.content.decode()
    if not model.objects.exists():
        assert admin.site._registry[model].empty.split(".")[0] in answer.content.decode().replace(
            "&#x27;", "'"
        )


def test_commands_that_empty_lists_suggest_are_understood() -> None:
    suggested = {
        shown.empty_command for shown in admin.site._registry.values() if getattr(shown, "empty_command", "")
    }
    assert len(suggested) > 5
    for line in suggested:
        python, manage, word, *rest = shlex.split(line)
        assert (python, manage) == ("python3", "manage.py")
        assert word in TOOLS or build_parser().parse_args([word, *rest]).command is not None


def test_every_row_has_a_page_for_viewers(desk: Desk) -> None:
    waiting_approval(), waiting_question(), waiting_decision()
    drive({"text": "over"}, session_id="plain")
    make_persona(), make_secret()
    viewer = desk("viewer")
    for model in MODELS:
        assert viewer.get(page(model, "changelist")).status_code in (200, 403)
        for row in model.objects.all()[:2]:
            answer = viewer.get(addresses.of(row))
            assert answer.status_code in (200, 403), (model, answer.status_code)
            assert 'name="_save"' not in answer.content.decode()
    assert viewer.get(page(apps.get_model("sessions_app.IdempotencyRecord"), "changelist")).status_code == 403


def test_a_page_is_found_by_the_id_people_know(desk: Desk) -> None:
    approval = waiting_approval()
    viewer = desk("viewer")
    for model, public_id in (
        ("Approval", approval.approval_id),
        ("Run", approval.run.run_id),
        ("Session", "desk"),
    ):
        answer = viewer.get(page(apps.get_model("sessions_app", model), "change", public_id))
        assert answer.status_code == 200
        assert public_id in answer.content.decode()


def test_links_lead_both_ways(desk: Desk) -> None:
    approval = waiting_approval()
    viewer, run = desk("viewer"), approval.run
    of_run = viewer.get(addresses.of(run)).content.decode()
    assert addresses.of(approval) in of_run
    assert reverse("admin:console_inbox_item", args=[approval.approval_id]) in of_run
    assert addresses.of(run.session) in of_run
    assert f"journalentry/?q={run.run_id}" in of_run
    of_approval = viewer.get(addresses.of(approval)).content.decode()
    assert addresses.of(run) in of_approval
    of_session = viewer.get(addresses.of(run.session)).content.decode()
    assert addresses.of(run) in of_session
    entry = run.session.entries.first()
    of_entry = viewer.get(addresses.of(entry)).content.decode()
    assert addresses.of(run.session) in of_entry


def test_forms_cannot_write(desk: Desk) -> None:
    run = waiting_approval().run
    root = desk("root")
    assert root.post(addresses.of(run), {"status": "completed"}).status_code == 403
    assert root.get(page(type(run), "add")).status_code == 403
    assert root.post(page(type(run), "delete", run.run_id), {"post": "yes"}).status_code == 403
    run.refresh_from_db()
    assert run.status == "waiting_for_approval"


def test_a_person_without_a_group_sees_nothing(desk: Desk) -> None:
    run = waiting_approval().run
    stranger = desk("")
    assert stranger.get(addresses.of(run)).status_code == 403
    home = stranger.get(reverse("admin:index")).content.decode()
    assert "belong to none of the groups" in home
    assert run.run_id not in home


def test_the_policy_for_content_forbids_inline_code(desk: Desk) -> None:
    waiting_approval()
    answer = desk("operator").get(reverse("admin:index"))
    policy = answer["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert "<style" not in answer.content.decode() and " style=" not in answer.content.decode()


def test_people_are_changed_by_verbs_alone(desk: Desk) -> None:
    listed = reverse("admin:auth_user_changelist")
    root = desk("root")
    page = root.get(listed).content.decode()
    assert "<h1>People</h1>" in page and "New person" in page
    assert "Select" not in page.partition("<h1>")[2].partition("</h1>")[0]
    assert root.get(reverse("admin:auth_user_add")).status_code == 403
    assert desk("operator").get(listed).status_code == 403
    with pytest.raises(NoReverseMatch):
        reverse("admin:auth_group_changelist")
