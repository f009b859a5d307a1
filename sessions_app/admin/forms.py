"""Fields that several verbs share."""

import json
from typing import Any

from django import forms

from kheish_site.lib.redaction import MASK, redact
from sessions_app.admin import show


class JsonArea(forms.CharField):
    """A JSON value in a text area; the cleaned value is the parsed one."""

    def __init__(self, *, kind: type = dict, rows: int = 6, **options: Any) -> None:
        self.kind = kind
        attrs = {"rows": rows, "class": "kh-wide kh-code", "spellcheck": "false"}
        super().__init__(widget=forms.Textarea(attrs=attrs), **options)

    def prepare_value(self, value: Any) -> Any:
        """Show a value as people read it, redacted."""
        return value if value is None or isinstance(value, str) else show.json_text(value)

    def clean(self, value: Any) -> Any:
        """Return the parsed value. Raises: ValidationError that names the place."""
        text = super().clean(value)
        if not str(text).strip():
            return self.kind()
        try:
            parsed = json.loads(text)
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from error
        if not isinstance(parsed, self.kind):
            wanted = "an object { }" if self.kind is dict else "a list [ ]"
            raise forms.ValidationError(f"This must be {wanted}.")
        return parsed


def unmasked(given: Any, stored: Any) -> Any:
    """Put stored values back where the form showed a mask and it was left as it was.

    Raises: ValidationError for a mask anywhere else: it would be stored as if it were the value.
    """
    if given == redact(stored):
        return stored
    if isinstance(given, dict):
        known = stored if isinstance(stored, dict) else {}
        return {name: unmasked(value, known.get(name)) for name, value in given.items()}
    if isinstance(given, str) and MASK in given:
        raise forms.ValidationError("A masked value may be kept or replaced whole, not edited.")
    return given


def names_of(text: str) -> list[str]:
    """Return the names in a comma-separated line."""
    return [name for part in text.split(",") if (name := part.strip())]
