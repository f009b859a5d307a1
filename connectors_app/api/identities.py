"""The people of a connector: who may decide from a chat, and as whom."""

from typing import Any, Final
from urllib.parse import quote

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.models import ChatIdentity
from connectors_app.services import connectors, identities
from sessions_app.api.config_examples import page_of as example_page
from sessions_app.api.schema import describe
from sessions_app.api.serializers.base import Choice, Moment, PageQuery, StrictSerializer, Text, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role

BODY: Final = {"principal": "alice", "role": "operator"}
EXAMPLE: Final[dict[str, Any]] = {
    "kind": "slack",
    "name": "ops",
    "external_id": "U0123456",
    **BODY,
    "effective_role": "operator",
    "created_by": "admin",
    "created_at": "2026-11-21T10:00:00.000Z",
}


class IdentityBody(StrictSerializer):
    """Whom a person of the platform acts as, and the most they may do."""

    principal = Text(max_length=200, help_text="The name of an active account or of a live token.")
    role = Choice(choices=Role.values)


class IdentityView(serializers.Serializer):
    """A mapped person."""

    kind = serializers.CharField()
    name = serializers.CharField()
    external_id = serializers.CharField()
    principal = serializers.CharField()
    role = Choice(choices=Role.values)
    effective_role = serializers.ChoiceField(
        choices=["", *Role.values],
        help_text="What they may do now: no more than the account or token holds; empty for nothing.",
    )
    created_by = serializers.CharField()
    created_at = Moment()


class Identities(KheishView):
    """``/v1/runtime/connectors/{kind}/{name}/identities``."""

    query_serializer = PageQuery

    @describe(
        "identities_list", "List the mapped people of a connector", answer=page_of(IdentityView),
        example=example_page(EXAMPLE),
    )  # fmt: skip
    def get(self, request: Request, kind: str, name: str) -> Response:
        """One page of people."""
        rows = identities.everything(connectors.get(kind, name))
        return self.page(rows, identities.views, key="external_id", order="asc")


class OneIdentity(KheishView):
    """``/v1/runtime/connectors/{kind}/{name}/identities/{external_id}``."""

    write_role = Role.ADMIN

    @describe("identities_get", "Get a mapped person", answer=IdentityView, example=EXAMPLE)
    def get(self, request: Request, kind: str, name: str, external_id: str) -> Response:
        """The mapping and what it is worth now."""
        return _answer(identities.get(connectors.get(kind, name), external_id))

    @describe(
        "identities_put", "Map a person of the platform", body=IdentityBody, answer=IdentityView, status=201,
        body_example=BODY, example=EXAMPLE, answers={200: IdentityView},
        description=(
            "From now on their buttons decide as `principal`, with the lesser of `role` and what the "
            "principal itself holds at that moment. 201 for a new mapping, 200 for a changed one."
        ),
    )  # fmt: skip
    def put(self, request: Request, kind: str, name: str, external_id: str) -> Response:
        """Map, or map anew."""
        connector, body = connectors.get(kind, name), self.body(IdentityBody)
        row, made = identities.put(connector, external_id, **body, by=self.principal)
        return _answer(row, status=201 if made else 200)

    @describe("identities_delete", "Forget a mapped person", status=204, answer=None)
    def delete(self, request: Request, kind: str, name: str, external_id: str) -> Response:
        """Forget."""
        identities.delete(connectors.get(kind, name), external_id, by=self.principal)
        return Response(status=204)


def _answer(row: ChatIdentity, *, status: int = 200) -> Response:
    parts = ("connectors", row.connector.kind, row.connector.name, "identities", row.external_id)
    location = "/v1/runtime/" + "/".join(quote(part, safe="") for part in parts)
    headers = {"Location": location} if status == 201 else {}
    return Response(identities.views([row])[0], status=status, headers=headers)
