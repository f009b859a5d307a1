"""Personas: written by admins, read by everybody, revised by every edit."""

from typing import Any
from urllib.parse import quote

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import config_examples as examples
from sessions_app.api.etags import etag, expected_revisions
from sessions_app.api.idempotency import idempotent
from sessions_app.api.problems import InvalidRequest
from sessions_app.api.schema import describe
from sessions_app.api.serializers import personas as shapes
from sessions_app.api.serializers.base import page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import Persona, PersonaRevision, Role
from sessions_app.services import personas
from sessions_app.services.personas import PersonaFields
from sessions_app.services.projections.configuration import persona_views


class Personas(KheishView):
    """``/v1/personas``."""

    write_role = Role.ADMIN
    query_serializer = shapes.PersonaQuery

    @describe(
        "personas_list", "List personas by id", answer=page_of(shapes.PersonaView),
        example=examples.page_of(examples.PERSONA),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of personas."""
        rows = _matching(personas.everything(), self.query.get("query", ""))
        return self.page(rows, persona_views, key="persona_id", order="asc")

    @describe(
        "personas_create", "Make a persona", status=201, body=shapes.NewPersona, answer=shapes.PersonaView,
        body_example=examples.NEW_PERSONA, example=examples.PERSONA,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Create."""
        body = self.body(shapes.NewPersona)
        persona_id = body.pop("persona_id")
        persona = personas.create(persona_id, PersonaFields(**body), principal=self.principal.name)
        return _answer(persona, status=201)


class OnePersona(KheishView):
    """``/v1/personas/{persona_id}``."""

    write_role = Role.ADMIN

    @describe("personas_get", "Get a persona", answer=shapes.PersonaView, example=examples.PERSONA)
    def get(self, request: Request, persona_id: str) -> Response:
        """The persona; its revision is the ETag."""
        return _answer(personas.get(persona_id))

    @describe(
        "personas_update", "Add a revision to a persona", body=shapes.PersonaChanges,
        answer=shapes.PersonaView, if_match=True, body_example={"display_name": "SRE, nights"},
        example=examples.PERSONA,
        description="Absent members stay as they are. Sessions that bound an earlier revision keep it.",
    )  # fmt: skip
    def put(self, request: Request, persona_id: str) -> Response:
        """Update."""
        expected = expected_revisions(request)
        changes = self.body(shapes.PersonaChanges)
        if not changes:
            raise InvalidRequest("there is nothing to change")
        return _answer(personas.update(persona_id, changes, expected=expected, principal=self.principal.name))

    @describe(
        "personas_retire", "Retire a persona", answer=shapes.PersonaView, example=examples.PERSONA,
        description="No session binds it any more; those that did go on. Repeating changes nothing.",
    )  # fmt: skip
    def delete(self, request: Request, persona_id: str) -> Response:
        """Retire."""
        return _answer(personas.retire(persona_id))


def _matching(rows: QuerySet[Persona], text: str) -> QuerySet[Persona]:
    if not text:
        return rows
    named = PersonaRevision.objects.filter(
        persona=OuterRef("pk"), revision=F("persona__current"), display_name__icontains=text
    )
    return rows.filter(Q(persona_id__icontains=text) | Q(Exists(named)))


def _answer(persona: Persona, *, status: int = 200) -> Response:
    headers: dict[str, Any] = {"ETag": etag(persona.current)}
    if status == 201:
        headers["Location"] = f"/v1/personas/{quote(persona.persona_id, safe='')}"
    return Response(persona_views([persona])[0], status=status, headers=headers)
