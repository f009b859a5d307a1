"""Strict fields: a text is a text."""

import pytest
from django.urls import get_resolver
from rest_framework import serializers

from sessions_app.api.serializers import base

REFUSED = [
    (base.Text(), 1),
    (base.Text(), True),
    (base.Text(), "a\x00"),
    (base.Text(), "\ud800"),
    (base.Text(max_length=2), "abc"),
    (base.Identifier(), ""),
    (base.Identifier(), ".."),
    (base.Identifier(), "a/b"),
    (base.Identifier(), "a b"),
    (base.Identifier(), "a\n"),
    (base.Identifier(), "x" * 201),
    (base.Identifier(), 7),
    (base.Flag(), "yes"),
    (base.Flag(), 1),
    (base.Whole(), "1"),
    (base.Whole(), 1.0),
    (base.Whole(), True),
    (base.Choice(choices=["1"]), 1),
    (base.JsonObject(), []),
    (base.JsonObject(), "{}"),
    (base.Moment(), "2026-11-21"),
    (base.Moment(), "2026-11-21T10:00:00"),
    (base.Moment(), "2026-02-30T10:00:00Z"),
    (base.Moment(), "0001-01-01T00:00:00+14:00"),
    (base.Moment(), 5),
]


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_refuses(field, value):
    with pytest.raises(serializers.ValidationError):
        field.run_validation(value)


def test_moment_is_utc_both_ways():
    moment = base.Moment().run_validation("2026-11-21T11:00:00.5+01:00")
    assert base.Moment().to_representation(moment) == "2026-11-21T10:00:00.500Z"


def test_text_is_kept_as_it_is():
    assert base.Text().run_validation("  spaced \n") == "  spaced \n"


def test_unknown_members_have_their_own_pointer():
    class Body(base.StrictSerializer):
        name = base.Text(required=False)

    serializer = Body(data={"name": "a", "nmae": "b"})
    assert not serializer.is_valid()
    assert serializer.errors == {"nmae": ["unknown field"]}


def test_a_list_that_is_too_long_is_said_once():
    """Its members are not looked at: a body has room for hundreds of thousands of wrong ones."""

    class Body(base.StrictSerializer):
        names = base.List(child=base.Text(), max_length=3)

    serializer = Body(data={"names": [1, 2, 3, 4]})
    assert not serializer.is_valid()
    assert serializer.errors == {"names": ["Ensure this field has no more than 3 elements."]}
    assert Body(data={"names": ["a", "b", "c"]}).is_valid()


def test_every_list_that_is_sent_has_a_longest_length():
    assert get_resolver().url_patterns  # every view and its shapes are loaded
    shapes = [base.StrictSerializer]
    for shape in shapes:
        shapes += shape.__subclasses__()
    lists = [
        (shape.__name__, name, field)
        for shape in shapes
        for name, field in shape().fields.items()
        if isinstance(field, serializers.ListField | serializers.ListSerializer)
        and not shape.__module__.startswith("tests.")
    ]
    assert len(lists) > 20
    assert [(shape, name) for shape, name, field in lists if not field.max_length] == []


def test_of_many_unknown_members_some_are_named():
    """A body has room for 300,000: to name all of them had kept a thread busy for half a minute."""
    serializer = base.NoBody(data={f"member-{n}": 1 for n in range(1000)})
    assert not serializer.is_valid()
    assert len(serializer.errors) == base.MOST_NAMED
