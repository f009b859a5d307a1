"""Assets: uploaded, listed, read back, deleted."""

from typing import Any, Final
from urllib.parse import quote

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from kheish_site.lib.redaction import redact
from sessions_app.api import examples
from sessions_app.api.idempotency import idempotent, keyed, once
from sessions_app.api.schema import describe
from sessions_app.api.serializers import assets as shapes
from sessions_app.api.serializers.base import page_of
from sessions_app.api.uploads import RawUploadParser, Upload, UploadJSONParser
from sessions_app.api.views.base import KheishView
from sessions_app.models import Asset, Role
from sessions_app.services import assets, projections
from sessions_app.services.asset_types import OCTETS, TYPES
from sessions_app.services.assets import OpenedFile, TextMissing

LONGEST_TEXT: Final = 1_048_576
MOST_REFERENCES: Final = 200
_NAME: Final = OpenApiParameter(
    "X-File-Name",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Name of a file that is the body itself; percent-encoded UTF-8.",
)


class Assets(KheishView):
    """``/v1/assets``."""

    query_serializer = shapes.AssetQuery
    parser_classes = [UploadJSONParser, RawUploadParser]

    @describe(
        "assets_list",
        "List assets, newest first",
        answer=page_of(shapes.AssetView),
        example=examples.page(examples.ASSET),
    )
    def get(self, request: Request) -> Response:
        """One page of assets."""
        return self.page(_matching(assets.everything(), self.query), projections.asset_views)

    @describe(
        "assets_create",
        "Store a file",
        status=201,
        body={"application/json": shapes.NewAsset, OCTETS: OpenApiTypes.BINARY},
        answer=shapes.AssetView,
        answers={200: shapes.AssetView},
        body_example=examples.NEW_ASSET,
        example=examples.ASSET,
        parameters=[_NAME],
        description=(
            "As JSON, or with any other Content-Type as the file itself. The same content of the same type "
            "is one asset: 200 when it was there already."
        ),
    )
    @keyed
    def post(self, request: Request) -> Response:
        """Open the file, then store it in a transaction of its own."""
        prepared = self._prepared(request)
        return once(request, lambda: self._store(prepared))

    def _prepared(self, request: Request) -> OpenedFile:
        data = request.data
        if isinstance(data, Upload):
            return assets.prepare(data.content, media_type=data["media_type"], file_name=data["file_name"])
        body = self.body(shapes.NewAsset)
        content = assets.from_base64(body.pop("content_base64"))
        return assets.prepare(content, **body)

    def _store(self, prepared: OpenedFile) -> Response:
        asset = assets.keep(prepared, principal=self.principal.name)
        status = 201 if asset.created_at == asset.touched_at else 200
        headers = {"Location": f"/v1/assets/{asset.asset_id}"}
        return Response(projections.asset_view(asset), status=status, headers=headers)


def _matching(rows: QuerySet[Asset], query: dict[str, Any]) -> QuerySet[Asset]:
    exact = {name: query[name] for name in ("media_type", "sha256") if query.get(name)}
    rows = rows.filter(**exact)
    return rows.filter(file_name__icontains=query["file_name"]) if query.get("file_name") else rows


class OneAsset(KheishView):
    """``/v1/assets/{asset_id}``."""

    delete_query = shapes.DryRunQuery

    @describe("assets_get", "Get an asset", answer=shapes.AssetView, example=examples.ASSET)
    def get(self, request: Request, asset_id: str) -> Response:
        """The asset."""
        return Response(projections.asset_view(assets.get(asset_id)))

    @describe(
        "assets_delete",
        "Delete an asset",
        answer=shapes.AssetDeletion,
        example={"asset_id": examples.ASSET["asset_id"], "deleted": True, "dry_run": False},
        description="409 while something cannot do without it. With `dry_run=true` nothing is done.",
    )
    def delete(self, request: Request, asset_id: str) -> Response:
        """Delete, or say whether it would."""
        dry_run = self.query["dry_run"]
        assets.delete(asset_id, principal=self.principal.name, dry_run=dry_run)
        return Response({"asset_id": asset_id, "deleted": not dry_run, "dry_run": dry_run})


class AssetRaw(KheishView):
    """``/v1/assets/{asset_id}/raw``."""

    read_role = Role.ADMIN

    @describe(
        "assets_raw",
        "Download an asset",
        answer=OpenApiTypes.BINARY,
        media_types=tuple(TYPES),
        description="The bytes as they came in, verified; always as an attachment.",
    )
    def get(self, request: Request, asset_id: str) -> HttpResponse:
        """The file. A browser must neither show it nor guess what it is: it comes from strangers."""
        asset = assets.get(asset_id)
        answer = HttpResponse(assets.read(asset), content_type=_safe_type(asset.media_type))
        name = str(redact(asset.file_name))
        plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
        answer["Content-Disposition"] = (
            f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
        )
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
        answer["X-Content-SHA256"] = asset.sha256
        return answer


def _safe_type(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


class AssetText(KheishView):
    """``/v1/assets/{asset_id}/text``."""

    read_role = Role.ADMIN

    @describe(
        "assets_text",
        "Read the text derived from an asset",
        answer=shapes.AssetTextView,
        description="404 `asset_text_not_found` for images, sounds and documents without text.",
    )
    def get(self, request: Request, asset_id: str) -> Response:
        """The beginning of the text."""
        asset = assets.get(asset_id)
        text = assets.text(asset)
        if text is None:
            raise TextMissing(f"this asset has no text{f': {asset.text_note}' if asset.text_note else ''}")
        view = {
            "asset_id": asset.asset_id,
            "text": assets.clipped(text, LONGEST_TEXT),
            "truncated": len(text) > LONGEST_TEXT,
            "text_sha256": asset.text_sha256,
        }
        return Response(view | ({"text_note": asset.text_note} if asset.text_note else {}))


class AssetReferences(KheishView):
    """``/v1/assets/{asset_id}/references``."""

    @describe("assets_references", "List who uses an asset", answer=shapes.AssetReferencesView)
    def get(self, request: Request, asset_id: str) -> Response:
        """Counts, and the oldest references."""
        asset = assets.get(asset_id)
        hard, soft = assets.count_references(asset)
        found = assets.references(asset)[:MOST_REFERENCES]
        return Response(
            {
                "hard_reference_count": hard,
                "soft_reference_count": soft,
                "references": [projections.reference_view(row) for row in found],
            }
        )


class AssetsCollect(KheishView):
    """``/v1/assets/gc``."""

    write_role = Role.ADMIN

    @describe(
        "assets_gc",
        "Delete assets that nothing refers to",
        body=shapes.CollectBody,
        answer=shapes.AssetCollection,
        body_example={"dry_run": True},
        example={"dry_run": True, "asset_ids": [examples.ASSET["asset_id"]], "count": 1, "size_bytes": 48},
        description=(
            "Those unused for `KHEISH_KEEP_UNUSED_ASSETS_DAYS`, at most 100 a call. Only names them unless "
            "`dry_run` is false."
        ),
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Name them, or delete them."""
        dry_run = self.body(shapes.CollectBody)["dry_run"]
        found = assets.gc(dry_run=dry_run, principal=self.principal.name)
        return Response(
            {
                "dry_run": dry_run,
                "asset_ids": found.asset_ids,
                "count": len(found.asset_ids),
                "size_bytes": found.size_bytes,
            }
        )
