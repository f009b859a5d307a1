"""Secret slots and API tokens: values go in and never come out."""

from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import config_examples as examples
from sessions_app.api.idempotency import idempotent, idempotent_secret
from sessions_app.api.schema import describe
from sessions_app.api.serializers import credentials as shapes
from sessions_app.api.serializers.base import PageQuery, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import ApiToken, Role
from sessions_app.services import secrets, tokens
from sessions_app.services.projections.configuration import secret_views, token_view


class Secrets(KheishView):
    """``/v1/runtime/secrets``."""

    read_role = Role.OPERATOR
    write_role = Role.ADMIN
    query_serializer = PageQuery

    @describe(
        "secrets_list", "List secret slots by id, without values", answer=page_of(shapes.SecretView),
        example=examples.page_of(examples.SECRET),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of slots."""
        return self.page(secrets.everything(), secret_views, key="slot_id", order="asc")

    @describe(
        "secrets_put", "Fill a secret slot, or rotate it", status=201, body=shapes.SecretBody,
        answer=shapes.SecretView, body_example=examples.NEW_SECRET, example=examples.SECRET,
        description="201 for a new slot, 200 for a rotation. The value can never be read back.",
        answers={200: shapes.SecretView},
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Store."""
        slot, created = secrets.put(**self.body(shapes.SecretBody))
        headers = {"Location": f"/v1/runtime/secrets/{quote(slot.slot_id, safe='')}"} if created else {}
        return Response(secret_views([slot])[0], status=201 if created else 200, headers=headers)


class OneSecret(KheishView):
    """``/v1/runtime/secrets/{slot_id}``."""

    read_role = Role.OPERATOR
    write_role = Role.ADMIN

    @describe("secrets_get", "Get a secret slot", answer=shapes.SecretView, example=examples.SECRET)
    def get(self, request: Request, slot_id: str) -> Response:
        """The slot without its value."""
        return Response(secret_views([secrets.get(slot_id)])[0])

    @describe(
        "secrets_delete", "Delete a secret slot", status=204, answer=None,
        description="409 while something names it.",
    )  # fmt: skip
    def delete(self, request: Request, slot_id: str) -> Response:
        """Delete."""
        secrets.delete(slot_id)
        return Response(status=204)


class Tokens(KheishView):
    """``/v1/tokens``."""

    read_role = Role.ADMIN
    write_role = Role.ADMIN
    query_serializer = PageQuery

    @describe(
        "tokens_list", "List API tokens, newest first", answer=page_of(shapes.TokenView),
        example=examples.page_of(examples.TOKEN),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of tokens."""
        return self.page(tokens.everything(), lambda rows: [token_view(row) for row in rows])

    @describe(
        "tokens_create", "Make an API token", status=201, body=shapes.TokenBody, answer=shapes.NewTokenView,
        body_example=examples.NEW_TOKEN, example={**examples.TOKEN, "token": "kh_…"},
        description="The answer holds the token, this once.",
    )  # fmt: skip
    @idempotent_secret
    def post(self, request: Request) -> Response:
        """Create."""
        body = self.body(shapes.TokenBody)
        token, secret = tokens.create(body.pop("name"), created_by=self.principal.name, **body)
        headers = {"Location": f"/v1/tokens/{token.token_id}", "Cache-Control": "no-store"}
        return Response({**token_view(token), "token": secret}, status=201, headers=headers)


class OneToken(KheishView):
    """``/v1/tokens/{token_id}``."""

    read_role = Role.ADMIN
    write_role = Role.ADMIN

    @describe("tokens_get", "Get an API token", answer=shapes.TokenView, example=examples.TOKEN)
    def get(self, request: Request, token_id: str) -> Response:
        """The token without its secret."""
        return _answer(tokens.get(token_id))

    @describe(
        "tokens_revoke", "Revoke an API token", answer=shapes.TokenView, example=examples.TOKEN,
        description="At once and for good. Repeating changes nothing.",
    )  # fmt: skip
    def delete(self, request: Request, token_id: str) -> Response:
        """Revoke."""
        return _answer(tokens.revoke(token_id))


def _answer(token: ApiToken) -> Response:
    return Response(token_view(token))
