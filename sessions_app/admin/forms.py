"""Fields that several verbs share."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from django import forms

from kheish_site.lib import revisions
from kheish_site.lib.errors import PreconditionFailed
from kheish_site.lib.redaction import MASK, redact
from sessions_app.admin import show
from sessions_app.services import audit
from sessions_app.services.runtime_settings import RevisionConflict

DEEPEST: Final = 100
"""Levels of a JSON value in a form: comparing and masking are recursive, so they need a bound."""


class TextArea(forms.CharField):
    """Text of several lines, which end in "\\n" whatever the browser sends."""

    def __init__(self, *, rows: int, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": rows, "class": "kh-wide"}), **options)

    def to_python(self, value: Any) -> Any:
        """Return the text with "\\n" at the ends of its lines."""
        text = super().to_python(value)
        return _lines(text) if isinstance(text, str) else text


class _OneWay(forms.Textarea):
    """What is written there is not sent back to the browser, as with a password."""

    def format_value(self, value: Any) -> str:
        """Return nothing."""
        return ""


class JsonArea(forms.CharField):
    """A JSON value in a text area; the cleaned value is the parsed one. A ``secret`` is never shown."""

    def __init__(self, *, kind: type = dict, rows: int = 6, secret: bool = False, **options: Any) -> None:
        self.kind = kind
        attrs = {"rows": rows, "class": "kh-wide kh-code", "spellcheck": "false"}
        super().__init__(widget=(_OneWay if secret else forms.Textarea)(attrs=attrs), **options)

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
            too_deep = _depth(parsed) > DEEPEST
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from error
        except RecursionError:
            too_deep = True
        if too_deep:
            raise forms.ValidationError(f"This is nested deeper than {DEEPEST} levels.")
        if not isinstance(parsed, self.kind):
            wanted = "an object { }" if self.kind is dict else "a list [ ]"
            raise forms.ValidationError(f"This must be {wanted}.")
        return parsed


class RevisedForm(forms.Form):
    """A form of something with revisions: it carries the revision it showed."""

    revision = forms.IntegerField(
        widget=forms.HiddenInput,
        error_messages={"required": "The form does not say which revision it is of: open it again."},
    )


@contextmanager
def still_shown(cleaned: Mapping[str, Any], now: int, changed_by: Callable[[], str]) -> Iterator[None]:
    """Say who changed it first, where the form showed another revision than ``now`` or the service's."""
    try:
        revisions.check(now, frozenset({cleaned["revision"]}))
        yield
    except (PreconditionFailed, RevisionConflict) as refusal:
        raise PreconditionFailed(
            f"{changed_by() or 'somebody'} changed it after this form was opened ({refusal.detail}). "
            "What you wrote is kept below: open the page anew to bring it into what is there now",
            code=refusal.error_code,
        ) from refusal


def last_hand(kind: str, object_id: str) -> Callable[[], str]:
    """Return a function that names the last person to change something, by the audit log."""
    rows = audit.everything().filter(object_kind=kind, object_id=object_id).order_by("-pk")
    return lambda: rows.values_list("principal", flat=True).first() or ""


def unmasked(given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Put stored values back into the fields of a form where it showed a mask and it was left as it was.

    Raises: ValidationError of the field, for a mask anywhere else: it would be stored as the value.
    """
    known = {name: _unmasked_field(name, given[name], value) for name, value in stored.items()}
    return {**given, **known}


def _unmasked_field(name: str, given: Any, stored: Any) -> Any:
    if isinstance(given, str) and _lines(given).strip() == _lines(redact(str(stored))).strip():
        return stored
    try:
        return _unmasked(given, stored)
    except forms.ValidationError as error:
        raise forms.ValidationError({name: error}) from error


def _unmasked(given: Any, stored: Any) -> Any:
    if given == redact(stored):
        return stored
    if isinstance(given, dict):
        known = stored if isinstance(stored, dict) else {}
        shown = redact(known)  # a member may be masked for its name alone
        kept = {name for name in known if shown.get(name) == given.get(name)}
        return {
            name: known[name] if name in kept else _unmasked(value, known.get(name))
            for name, value in given.items()
        }
    if isinstance(given, list):
        return _unmasked_items(given, stored if isinstance(stored, list) else [])
    if isinstance(given, str) and MASK in given:
        raise forms.ValidationError("A masked value may be kept or replaced whole, not edited.")
    return given


def _unmasked_items(given: list[Any], stored: list[Any]) -> list[Any]:
    """Tell items apart by all that is shown of them; by position where none came, went or moved."""
    shown = redact(stored)
    places = [shown.index(item) if shown.count(item) == 1 else here for here, item in enumerate(given)]
    if len(given) == len(stored) and places == list(range(len(stored))):
        return [_unmasked(item, known) for item, known in zip(given, stored, strict=True)]
    return [
        stored[place] if shown.count(item) == 1 else _unmasked(item, None)
        for item, place in zip(given, places, strict=True)
    ]


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def names_of(text: str) -> list[str]:
    """Return the names in a comma-separated line."""
    return [name for part in text.split(",") if (name := part.strip())]
