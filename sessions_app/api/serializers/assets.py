"""Assets: bodies, queries, answers."""

from rest_framework import serializers

from sessions_app.api.serializers.base import Flag, PageQuery, Query, StrictSerializer, Text


class NewAsset(StrictSerializer):
    """A file as JSON. Without a media type it is found out from content and name."""

    file_name = Text(max_length=1000, allow_blank=True, required=False, default="")
    media_type = Text(max_length=200, allow_blank=True, required=False, default="")
    content_base64 = Text(allow_blank=True)  # an empty file is refused as one


class AssetQuery(PageQuery):
    """Filters of the list."""

    media_type = Text(required=False, max_length=100)
    sha256 = Text(required=False, max_length=64)
    file_name = Text(required=False, max_length=200, help_text="A part of it, in any case.")


class DryRunQuery(Query):
    """Only say what would happen."""

    dry_run = serializers.BooleanField(required=False, default=False)


class CollectBody(StrictSerializer):
    """Whether assets are only named, which is the default, or deleted."""

    dry_run = Flag(required=False, default=True)


class AssetView(serializers.Serializer):
    """A stored file, without its bytes."""

    asset_id = serializers.CharField()
    media_type = serializers.CharField()
    file_name = serializers.CharField()
    sha256 = serializers.CharField()
    size_bytes = serializers.IntegerField()
    uri = serializers.CharField()
    text_uri = serializers.CharField(required=False)
    text_sha256 = serializers.CharField(required=False)
    text_size_bytes = serializers.IntegerField(required=False)
    text_note = serializers.CharField(
        required=False, help_text="What the text leaves out, or why there is none."
    )
    image_width = serializers.IntegerField(required=False)
    image_height = serializers.IntegerField(required=False)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class AssetTextView(serializers.Serializer):
    """The derived text, redacted; ``truncated`` when there is more."""

    asset_id = serializers.CharField()
    text = serializers.CharField()
    truncated = serializers.BooleanField()
    text_sha256 = serializers.CharField()
    text_note = serializers.CharField(required=False)


class AssetReferenceView(serializers.Serializer):
    """Somebody who uses an asset."""

    domain = serializers.CharField()
    owner_id = serializers.CharField()
    parent_id = serializers.CharField(required=False)
    role = serializers.CharField()
    hard = serializers.BooleanField(help_text="A hard reference keeps the asset from being deleted.")
    created_at = serializers.DateTimeField()


class AssetReferencesView(serializers.Serializer):
    """Everybody who uses an asset; at most 200 are listed."""

    hard_reference_count = serializers.IntegerField()
    soft_reference_count = serializers.IntegerField()
    references = AssetReferenceView(many=True)


class AssetDeletion(serializers.Serializer):
    """What was deleted, or would be."""

    asset_id = serializers.CharField()
    deleted = serializers.BooleanField()
    dry_run = serializers.BooleanField()


class AssetCollection(serializers.Serializer):
    """Assets that nothing refers to any more, a bounded batch."""

    dry_run = serializers.BooleanField()
    asset_ids = serializers.ListField(child=serializers.CharField())
    count = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
