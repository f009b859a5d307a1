"""Personas and their revisions: written by verbs, because every edit adds a revision."""

import difflib
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.core.validators import RegexValidator
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.forms import (
    JsonArea,
    RevisedForm,
    TextArea,
    last_hand,
    names_of,
    still_shown,
    unmasked,
)
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Persona, PersonaRevision, Role, Session
from sessions_app.services import personas
from sessions_app.services.personas import PersonaFields
from sessions_app.services.principal import Principal

NAME = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "Letters, digits, dot, underscore and dash.")


class PersonaForm(forms.Form):
    """What an operator writes of a persona."""

    display_name = forms.CharField(max_length=200, required=False)
    soul = TextArea(
        rows=14,
        required=False,
        help_text="The instructions a session binds. Sessions that bound an earlier revision keep it.",
    )
    owner = forms.CharField(max_length=200, required=False)
    default_skills = forms.CharField(
        max_length=2_000, required=False, help_text="Names, with commas between."
    )
    capability_scope = JsonArea(rows=4, required=False)
    metadata = JsonArea(rows=4, required=False)


class RevisionForm(RevisedForm, PersonaForm):
    """The next revision of a persona."""


class NewPersonaForm(PersonaForm):
    """A persona that is not there yet."""

    persona_id = forms.CharField(max_length=200, validators=[NAME], help_text="Its name for good.")
    field_order = ("persona_id",)


def _fields(cleaned: Cleaned) -> dict[str, Any]:
    given = {name: cleaned[name] for name in PersonaFields.__dataclass_fields__}
    return given | {"default_skills": names_of(cleaned["default_skills"])}


def _create(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    fields = PersonaFields(**_fields(cleaned))
    return Outcome(row=personas.create(cleaned["persona_id"], fields, principal=principal.name))


def _revise(row: Persona, cleaned: Cleaned, principal: Principal) -> Outcome:
    before, expected = _current(row), frozenset({cleaned["revision"]})
    stored = {name: getattr(before, name) for name in ("soul", "display_name", "metadata")}
    with still_shown(cleaned, row.current, last_hand("persona", row.persona_id)):
        fields = unmasked(_fields(cleaned), stored)
        made = personas.update(row.persona_id, fields, expected=expected, principal=principal.name)
    return Outcome(row=made, word=f"saved as revision {made.current}")


def _retire(row: Persona, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    personas.retire(row.persona_id)
    return None


def _current(row: Persona) -> PersonaRevision:
    return row.revisions.get(revision=row.current)


def _initial(row: Persona) -> dict[str, Any]:
    before = _current(row)
    return {
        "revision": row.current,
        "display_name": show.redact(before.display_name),
        "soul": show.redact(before.soul),
        "owner": row.owner,
        "default_skills": ", ".join(before.default_skills),
        "capability_scope": before.capability_scope,
        "metadata": before.metadata,
    }


def _in_use(row: Persona) -> bool:
    return row.retired_at is None


CREATE = Verb(
    name="persona",
    label="New persona",
    past="made",
    act=_create,
    role=Role.ADMIN,
    form=NewPersonaForm,
    keyed=True,
)
REVISE = Verb(
    name="revise",
    label="New revision",
    past="saved",
    act=_revise,
    role=Role.ADMIN,
    form=RevisionForm,
    initial=_initial,
    applies=_in_use,
    many=False,
    explain="Saves a new revision. Sessions keep the one they bound.",
)
RETIRE = Verb(
    name="retire",
    label="Retire",
    past="retired",
    act=_retire,
    role=Role.ADMIN,
    applies=_in_use,
    tone="danger",
    explain="No session can bind it any more. Sessions that did go on with it.",
)


@admin.register(Persona)
class PersonaAdmin(ConsoleAdmin):
    """Who agents are."""

    plural, singular, public_id = "Personas", "Persona", "persona_id"
    empty = "No persona yet. Personas are instructions that sessions bind."
    empty_command = 'python3 manage.py personas create reviewer --soul "You review changes."'
    verbs, creates = (REVISE, RETIRE), (CREATE,)

    list_display = ("persona_id", "shown_status", "current", "owner", "bound", "changed")
    search_fields = ("persona_id__startswith", "owner__exact")
    search_help_text = "The beginning of a name, or an owner"
    fields = ("persona_id", "current", "owner", "soul", "scope", "born", "changed", "retired")
    changed = show.age_of("updated_at", "changed")
    born = show.age_of("created_at", "created")
    retired = show.age_of("retired_at", "retired")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Persona]:
        """Count the live sessions that bind any revision, in the same statement."""
        bound = Session.objects.filter(persona__persona=OuterRef("pk"), ended_at=None).order_by()
        counted = bound.values("persona__persona").annotate(number=Count("pk")).values("number")
        return super().get_queryset(request).annotate(sessions=Subquery(counted))

    @admin.display(description="status")
    def shown_status(self, row: Persona) -> SafeString:
        """Active, or retired and still bound, or retired."""
        return show.badge(_status(row))

    @admin.display(description="sessions")
    def bound(self, row: Persona) -> int:
        """Live sessions that bind it."""
        return getattr(row, "sessions", None) or 0

    @admin.display(description="soul")
    def soul(self, row: Persona) -> SafeString | str:
        """The instructions of the current revision."""
        return show.block(_current(row).soul)

    @admin.display(description="capability scope")
    def scope(self, row: Persona) -> SafeString | str:
        """What the current revision may see."""
        return show.json_block(_current(row).capability_scope)

    def status_line(self, row: Persona) -> Sequence[Any]:
        """Status and revision."""
        return (self.shown_status(row), f"revision {row.current}")

    def sections(self, row: Persona) -> Sequence[Section]:
        """Its revisions, newest first."""
        rows = [
            (
                show.link(item, f"r{item.revision}"),
                show.redact(item.display_name),
                item.created_by,
                show.age(item.created_at),
            )
            for item in latest(row.revisions.all())
        ]
        columns = ("revision", "display name", "by", "when")
        return (
            Section(
                title="Revisions",
                columns=columns,
                rows=rows,
                more=all_of(PersonaRevision, persona__id__exact=row.pk),
            ),
        )


def _status(row: Persona) -> str:
    if row.retired_at is None:
        return "active"
    return "draining" if getattr(row, "sessions", None) else "retired"


def _changes(before: PersonaRevision, after: PersonaRevision) -> list[str]:
    """Return the lines of a redacted difference; soul first, then what is typed."""
    old, new = _as_lines(before), _as_lines(after)
    diff = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    return [line for line in diff if not line.startswith("@@")]


def _as_lines(row: PersonaRevision) -> list[str]:
    rest = {
        "display_name": row.display_name,
        "capability_scope": row.capability_scope,
        "default_skills": row.default_skills,
        "metadata": row.metadata,
    }
    return [*str(show.redact(row.soul)).splitlines(), *show.json_text(rest).splitlines()]


@admin.register(PersonaRevision)
class PersonaRevisionAdmin(ConsoleAdmin):
    """One version of a persona, which never changes."""

    plural, singular = "Persona revisions", "Persona revision"
    empty = "No persona yet, so no revision."

    list_display = ("__str__", "persona_link", "name", "created_by", "made")
    list_select_related = ("persona",)
    search_fields = ("persona__persona_id__startswith",)
    search_help_text = "The beginning of a persona's name"
    fields = (
        "persona_link",
        "revision",
        "name",
        "soul_text",
        "scope_json",
        "skills_json",
        "extra_json",
        "created_by",
        "made",
    )

    def sections(self, row: PersonaRevision) -> Sequence[Section]:
        """What this revision changed, and how to the ones beside it."""
        near = {
            item.revision: item for item in row.persona.revisions.filter(revision__gte=row.revision - 1)[:200]
        }
        before = near.get(row.revision - 1)
        drawn = (
            render_to_string("sessions_app/admin/_diff.html", {"diff": _changes(before, row)})
            if before
            else ""
        )
        later = sum(number > row.revision for number in near)
        return (
            Section(
                title=f"What it changed since r{before.revision}" if before else "What it changed",
                columns=(),
                rows=(),
                body=drawn,
                more=show.link(before, f"r{before.revision}") if before else "",
                empty="The first revision." if not before else "Nothing that is shown.",
            ),
            Section(
                title="Later revisions",
                columns=("revision", "by", "when"),
                rows=[
                    (show.link(item, f"r{number}"), item.created_by, show.age(item.created_at))
                    for number, item in sorted(near.items())
                    if number > row.revision
                ][:10],
                more=f"{later} in all" if later else "",
            ),
        )

    persona_link = show.link_to("persona", "persona_id", "persona")
    name = show.line_of("display_name", "display name")
    soul_text = show.text_of("soul")
    scope_json = show.json_of("capability_scope")
    skills_json = show.json_of("default_skills")
    extra_json = show.json_of("metadata")
    made = show.age_of("created_at", "made")
