"""Files that came in: what they are, their bytes, and who still needs them."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import name_field


class AssetBlob(models.Model):
    """Bytes under their SHA-256: of a file, of its derived text, or of its image made smaller.

    In the database because several machines share nothing else. Never changed; deleted with the last asset
    that names it.
    """

    sha256 = models.CharField(max_length=64, unique=True)
    content = models.BinaryField()
    size_bytes = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.sha256


class Asset(models.Model):
    """One file, once for its media type and content. ``touched_at`` moves when it comes again.

    ``text_sha256`` names the blob of its derived text, ``view_sha256`` that of the smaller image a model is
    sent ("" where the file itself will do). A deleted asset stays as a tombstone without bytes.
    """

    asset_id = name_field(unique=True, length=40)
    media_type = name_field(length=100)
    file_name = name_field()
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveIntegerField()
    text_sha256 = models.CharField(max_length=64, blank=True, default="")
    text_size_bytes = models.PositiveIntegerField(default=0)
    text_note = name_field(blank=True, default="")
    view_sha256 = models.CharField(max_length=64, blank=True, default="")
    view_media_type = name_field(length=100, blank=True, default="")
    image_width = models.PositiveIntegerField(null=True, blank=True)
    image_height = models.PositiveIntegerField(null=True, blank=True)
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField()
    touched_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = name_field(blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["sha256", "media_type"], condition=Q(deleted_at=None), name="asset_once"
            ),
        ]
        indexes = [
            # does anything use this blob: WHERE text_sha256 = ?, WHERE view_sha256 = ?
            models.Index(fields=["text_sha256"], condition=~Q(text_sha256=""), name="asset_text"),
            models.Index(fields=["view_sha256"], condition=~Q(view_sha256=""), name="asset_view"),
            # what may be forgotten: WHERE deleted_at IS NULL AND touched_at < ?
            models.Index(fields=["touched_at"], condition=Q(deleted_at=None), name="asset_touched"),
        ]

    def __str__(self) -> str:
        return self.asset_id


class AssetReference(models.Model):
    """Who uses an asset: ``domain`` and ``owner_id`` name the owner, ``parent_id`` what the owner belongs to.

    Born and deleted with its owner. A hard one keeps the asset from being deleted; any keeps it from being
    forgotten.
    """

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="references")
    domain = name_field(length=40)
    owner_id = name_field()
    parent_id = name_field(blank=True, default="")
    role = name_field(length=40)
    hard = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "domain", "owner_id", "role"], name="asset_reference_once"
            ),
        ]
        indexes = [
            # what an owner uses, when it goes: WHERE domain = ? AND owner_id IN (…)
            models.Index(fields=["domain", "owner_id"], name="asset_reference_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.domain} {self.owner_id}"
