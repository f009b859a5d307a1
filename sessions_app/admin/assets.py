"""Stored files. No page shows their bytes: the API serves them, as attachments."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Asset, AssetBlob, AssetReference, Run
from sessions_app.services import assets
from sessions_app.services.principal import Principal


def _delete(row: Asset, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    assets.delete(row.asset_id, principal=principal.name)
    return None


DELETE = Verb(
    name="delete",
    label="Delete",
    past="deleted",
    act=_delete,
    applies=lambda row: row.deleted_at is None,
    tone="danger",
    explain="Deletes the bytes for good; the row stays. Refused while a run needs them.",
)


@admin.register(Asset)
class AssetAdmin(ConsoleAdmin):
    """The files, one for each type and content."""

    plural, singular, public_id = "Assets", "Asset", "asset_id"
    empty = "No file was stored yet. Uploads and attachments of inputs appear here."
    empty_command = "python3 manage.py assets upload report.pdf"
    verbs = (DELETE,)

    list_display = ("short_id", "name_cell", "media_type", "size", "shown_status", "used", "made")
    list_filter = ("media_type",)
    search_fields = ("asset_id__exact", "sha256__exact", "file_name__startswith")
    search_help_text = "A whole id or SHA-256, or the beginning of a file name"
    fields = (
        "asset_id",
        "name",
        "media_type",
        "size",
        "sha256",
        "pixels",
        "text_size_bytes",
        "note",
        "created_by",
        "made",
        "touched",
        "gone",
    )
    name = show.line_of("file_name", "file")
    name_cell = show.cell_of("file_name", "file")
    note = show.line_of("text_note", "about its text")
    made = show.age_of("created_at", "stored")
    touched = show.age_of("touched_at", "last stored again")
    gone = show.age_of("deleted_at", "deleted")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Asset]:
        """Count the references in the same statement."""
        return super().get_queryset(request).annotate(users=Count("references"))

    @admin.display(description="asset")
    def short_id(self, row: Asset) -> SafeString:
        """Its id."""
        return show.short(row.asset_id)

    @admin.display(description="bytes")
    def size(self, row: Asset) -> str:
        """How large the file is."""
        return f"{row.size_bytes:,}"

    @admin.display(description="status")
    def shown_status(self, row: Asset) -> SafeString:
        """Stored or deleted."""
        return show.badge("deleted" if row.deleted_at else "stored")

    @admin.display(description="used by")
    def used(self, row: Asset) -> int:
        """How many references it has."""
        return getattr(row, "users", 0)

    @admin.display(description="pixels")
    def pixels(self, row: Asset) -> str:
        """Width and height of an image."""
        return f"{row.image_width} x {row.image_height}" if row.image_width else show.NOTHING

    def status_line(self, row: Asset) -> Sequence[Any]:
        """Stored or deleted, and since when."""
        return (self.shown_status(row), show.age(row.deleted_at or row.created_at))

    def sections(self, row: Asset) -> Sequence[Section]:
        """Its references."""
        rows = [
            (_owner(item), item.domain, item.role, "hard" if item.hard else "soft", show.age(item.created_at))
            for item in latest(row.references.all())
        ]
        columns = ("owner", "kind", "as", "reference", "since")
        more = all_of(AssetReference, asset__id__exact=row.pk)
        return (Section(title="Used by", columns=columns, rows=rows, more=more),)


def _owner(item: AssetReference) -> SafeString | str:
    run = Run.objects.filter(run_id=item.owner_id).first() if item.domain == "run" else None
    return show.link(run, show.short(item.owner_id)) if run is not None else item.owner_id


@admin.register(AssetReference)
class AssetReferenceAdmin(ConsoleAdmin):
    """The references to files."""

    plural, singular = "Asset references", "Asset reference"
    empty = "Nothing refers to a file yet."

    list_display = ("__str__", "asset_link", "role", "hard", "since")
    list_select_related = ("asset",)
    search_fields = ("owner_id__exact",)
    search_help_text = "A whole id of an owner, of a run for instance"
    fields = ("asset_link", "domain", "owner_id", "parent_id", "role", "hard", "since")
    asset_link = show.link_to("asset", "asset_id", "asset")
    since = show.age_of("created_at", "since")


@admin.register(AssetBlob)
class AssetBlobAdmin(ConsoleAdmin):
    """Stored bytes by their hash; the content is not shown."""

    plural, singular, public_id = "Asset contents", "Asset content", "sha256"
    empty = "No bytes are stored."

    list_display = ("digest", "size", "made")
    search_fields = ("sha256__exact",)
    search_help_text = "A whole SHA-256"
    fields = ("sha256", "size", "made")
    made = show.age_of("created_at", "stored")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AssetBlob]:
        """Read the rows without their bytes."""
        return super().get_queryset(request).defer("content")

    @admin.display(description="sha-256")
    def digest(self, row: AssetBlob) -> str:
        """The beginning of the digest."""
        return row.sha256[:16]

    @admin.display(description="bytes")
    def size(self, row: AssetBlob) -> str:
        """How large it is."""
        return f"{row.size_bytes:,}"
