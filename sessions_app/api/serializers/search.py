"""Search: query and answer."""

from rest_framework import serializers

from sessions_app.api.serializers.base import Query, Text
from sessions_app.services.search import LONGEST, MOST


class SearchQuery(Query):
    """What to look for."""

    q = Text(
        allow_blank=True,  # judged by the search, which has a code for it
        help_text=(
            "An id or its beginning (from 3 characters on), a name other systems use, or words: "
            f"1 to {LONGEST} characters."
        ),
    )
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=MOST)


class HitView(serializers.Serializer):
    """One thing that was found."""

    kind = serializers.CharField(help_text="`run`, `session`, `approval`, `delivery`, `connector`, …")
    id = serializers.CharField()
    by = serializers.CharField(
        help_text="`id`, `text`, `idempotency_key`, `event_key`, `binding_key` or `platform_id`."
    )
    excerpt = serializers.CharField(allow_blank=True, help_text="Redacted.")
    session_id = serializers.CharField(required=False)
    run_id = serializers.CharField(required=False)
    at = serializers.DateTimeField(required=False)


class SearchView(serializers.Serializer):
    """What a search found, best first."""

    query = serializers.CharField()
    jump = HitView(allow_null=True, help_text="The object whose whole id was given.")
    items = HitView(many=True)
    more = serializers.BooleanField()
    text_window = serializers.IntegerField(help_text="Newest rows in which words are looked for.")
