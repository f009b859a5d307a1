"""Journal pages."""

import re
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from sessions_app.api.serializers.base import List, Query, Text, _Limit
from sessions_app.services.events import InvalidCursor, parse_seq

_KIND: Final = re.compile(r"[a-z_]{1,30}\.[a-z_]{1,30}")


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,18}$"})
class Seq(Text):
    """A place in a journal: the sequence number of the last entry seen; 0 is the start."""

    def run_validation(self, data: Any = empty) -> Any:
        """Return the number. Raises: InvalidCursor, for an empty text too."""
        return parse_seq(data) if isinstance(data, str) else super().run_validation(data)


@extend_schema_field(
    {"type": "array", "items": {"type": "string", "pattern": r"^[a-z_]{1,30}\.[a-z_]{1,30}$"}, "maxItems": 60}
)
class Kinds(List):
    """Entry kinds, given more than once or separated by commas."""

    child = Text()

    def to_internal_value(self, data: Any) -> frozenset[str]:  # type: ignore[override]
        """Return the kinds. Raises: ValidationError."""
        kinds = frozenset(kind for text in super().to_internal_value(data) for kind in text.split(","))
        if len(kinds) > 60 or not all(_KIND.fullmatch(kind) for kind in kinds):
            raise serializers.ValidationError("must be up to 60 kinds such as run.completed")
        return kinds


class EventQuery(Query):
    """A page of a journal. ``after`` and ``cursor`` are two names for one place."""

    limit = _Limit(
        required=False, allow_blank=True, help_text="Items a page, 1 to 100; a larger number counts as 100."
    )
    cursor = Seq(required=False, help_text="`next_cursor` of the page before.")
    after = Seq(required=False, help_text="Show entries with a larger `seq`.")
    kind = Kinds(max_length=60, required=False)
    kinds = Kinds(max_length=60, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Merge the synonyms. Raises: InvalidCursor."""
        places = {attrs.pop(name) for name in ("cursor", "after") if name in attrs}
        if len(places) > 1:
            raise InvalidCursor("cursor and after name two places")
        kinds = attrs.pop("kind", frozenset()) | attrs.pop("kinds", frozenset())
        return {**attrs, "after": places.pop() if places else 0, "kinds": kinds}


class EventView(serializers.Serializer):
    """One journal entry."""

    seq = serializers.IntegerField()
    kind = serializers.CharField()
    version = serializers.IntegerField()
    session_id = serializers.CharField()
    run_id = serializers.CharField(allow_null=True)
    at = serializers.DateTimeField()
    payload = serializers.DictField()
    hash = serializers.CharField()
    prev_hash = serializers.CharField()
