"""What every table of the runtime shares."""

from typing import Any

from django.db import models


class JSONObject(models.JSONField):
    """A JSON column that is never null; ``{}`` unless ``default`` says otherwise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", dict)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)


def name_field(*, unique: bool = False, length: int = 200, **options: Any) -> models.CharField:
    """Return a short text column for ids and names that people choose."""
    return models.CharField(max_length=length, unique=unique, **options)
