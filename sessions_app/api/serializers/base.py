"""Strict building blocks: unknown members are refused, and a text is a text, not a number."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Final

from django.core.validators import ProhibitNullCharactersValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from kheish_site.lib import clock
from kheish_site.lib.strict_json import text_problem

_ASKED_ALREADY: Final = (ProhibitNullCharactersValidator, ProhibitSurrogateCharactersValidator)
JSON_OBJECT: Final = {"type": "object", "additionalProperties": {}}
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


MOST_NAMED: Final = 50
"""Unknown members of one object that are told: a body has room for hundreds of thousands."""


class StrictSerializer(serializers.Serializer):
    """A request body or query: members it does not know are errors, each at its own pointer."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated value. Raises: ValidationError."""
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(str(name) for name in data if name not in known)
            if unknown:
                raise serializers.ValidationError({name: ["unknown field"] for name in unknown[:MOST_NAMED]})
        return super().to_internal_value(data)


def validated(shape: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """Return ``data`` as ``shape`` reads it. Raises: ValidationError.

    One instance of each shape reads for all threads: building one copies all its fields, which costs several
    times what reading does. So no shape may look at its context or keep anything of what it reads.
    """
    try:
        return dict(_reader(shape).run_validation(data))
    except serializers.ValidationError:
        shape(data=data).is_valid(raise_exception=True)  # says it in the usual form
        raise


@cache
def list_fields(shape: type[StrictSerializer]) -> frozenset[str]:
    """Return the names of the members of ``shape`` that are lists."""
    fields = _reader(shape).fields
    return frozenset(name for name, field in fields.items() if isinstance(field, serializers.ListField))


@cache
def _reader(shape: type[StrictSerializer]) -> StrictSerializer:
    reader = shape()
    assert reader.fields is not None  # made before a second thread can ask
    return reader


class NoBody(StrictSerializer):
    """A body without members."""


class Text(serializers.CharField):
    """A JSON string, kept as it is (no trimming); NUL and lone surrogates are refused."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)
        # ``text_problem`` asks the same; one of these takes 0.9 s for a file of twelve megabytes.
        self.validators = [one for one in self.validators if not isinstance(one, _ASKED_ALREADY)]

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises: ValidationError."""
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        if reason := text_problem(data):
            raise serializers.ValidationError(reason)
        return str(super().to_internal_value(data))


class Identifier(serializers.RegexField):
    """An id that people choose: letters, digits and ``. _ : @ -``, beginning with a letter or digit."""

    # Of the class: the field's validator takes its words from here while it is made.
    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": "must be letters, digits and . _ : @ - alone, and begin with a letter or a digit"
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 200)
        super().__init__(r"\A[A-Za-z0-9][A-Za-z0-9._:@\-]*\Z", trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Return the id. Raises: ValidationError."""
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return str(super().to_internal_value(data))


class Flag(serializers.BooleanField):
    """``true`` or ``false``; not "yes", not 1."""

    def to_internal_value(self, data: Any) -> bool:
        """Return the flag. Raises: ValidationError."""
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false")
        return data


class Whole(serializers.IntegerField):
    """A JSON integer; not a float, a boolean or digits in a string."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number. Raises: ValidationError."""
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("must be an integer")
        return int(super().to_internal_value(data))


class Choice(serializers.ChoiceField):
    """One of some words, as a string."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the word. Raises: ValidationError."""
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().to_internal_value(data)


class List(serializers.ListField):
    """A list that somebody sends: one that is too long is refused before its members are looked at.

    Each has a ``max_length``: a body has room for hundreds of thousands.
    """

    def to_internal_value(self, data: Any) -> Any:
        """Return the list. Raises: ValidationError."""
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


@extend_schema_field(JSON_OBJECT)
class JsonObject(serializers.JSONField):
    """A JSON object with any members."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the object. Raises: ValidationError."""
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object")
        return data


@extend_schema_field({"description": "Any JSON value."})
class JsonValue(serializers.JSONField):
    """Any JSON value."""


@extend_schema_field({"type": "string", "format": "date-time"})
class Moment(serializers.Field):
    """An aware UTC time, RFC 3339 with ``Z`` and milliseconds on the way out."""

    def to_internal_value(self, data: Any) -> datetime:
        """Return the time. Raises: ValidationError."""
        if not isinstance(data, str) or not _RFC3339.fullmatch(data):
            raise serializers.ValidationError(
                "must be an RFC 3339 time with an offset, such as 2026-11-21T10:00:00Z"
            )
        try:
            moment = datetime.fromisoformat(data.upper())
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise serializers.ValidationError("is not a time that exists") from None

    def to_representation(self, value: datetime) -> str | None:
        """Return the text form."""
        return clock.rfc3339(value)


class Query(StrictSerializer):
    """Query parameters; subclass it and set it as a view's ``query_serializer``."""


@extend_schema_field({"type": "integer", "minimum": 1, "default": 50})
class _Limit(Text):
    pass


class PageQuery(Query):
    """What every list takes. ``limit`` and ``cursor`` have their own error codes (``pagination.py``)."""

    limit = _Limit(
        required=False, allow_blank=True, help_text="Items a page, 1 to 100; a larger number counts as 100."
    )
    cursor = Text(required=False, allow_blank=True, help_text="`next_cursor` of the page before.")
    page = Choice(choices=("true",), required=False, help_text="Lists come in pages, said or not.")


class Pagination(serializers.Serializer):
    """Where a page stands in its list."""

    limit = serializers.IntegerField()
    total_count = serializers.IntegerField()
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)
    order = serializers.ChoiceField(choices=["asc", "desc"])


@cache
def page_of(item: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """Return the serializer of one page of ``item``."""
    name = item.__name__.removesuffix("View") + "Page"
    members = {
        "items": item(many=True),
        "pagination": Pagination(),
        "__doc__": f"One page of {item.__name__}.",
    }
    return type(name, (serializers.Serializer,), members)
