"""Check a JSON value against a JSON schema and say in plain words what is wrong."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from kheish_site.lib.canonical import canonical_json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_PROBLEMS: Final = 10
MESSAGE_CHARACTERS: Final = 300


def _is_integer(_: object, value: object) -> bool:
    """JSON schema calls 1.0 an integer; code that counts lines with it does not."""
    return isinstance(value, int) and not isinstance(value, bool)


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """Return up to ten lines ``place: what is wrong``; empty when ``value`` conforms.

    Text that no UTF-8 file or database column can hold (lone surrogates, NUL) is a problem too. ``schema``
    must not be changed once it was used: what was made of it is kept.
    """
    unstorable = _unstorable_text(value)
    if unstorable:
        return [unstorable]
    found = sorted(_validator_of(schema).iter_errors(value), key=lambda error: error.json_path)
    return [f"{error.json_path}: {_shortened(error.message)}" for error in found[:MAX_PROBLEMS]]


def _validator_of(schema: dict[str, Any]) -> "Validator":
    known = _KNOWN.get(id(schema))
    if known is not None and known[0] is schema:
        return known[1]
    made = _validator(canonical_json(schema))
    if len(_KNOWN) < _MOST_KNOWN:
        _KNOWN[id(schema)] = schema, made
    return made


_MOST_KNOWN: Final = 1_000
_KNOWN: Final[dict[int, tuple[dict[str, Any], "Validator"]]] = {}
"""Validators by the schema object itself, which is kept with its own so that no other gets its ``id``."""


@cache
def _validator(schema: str) -> "Validator":
    loaded = json.loads(schema)
    _strict().check_schema(loaded)
    return _strict()(loaded)


@cache
def _strict() -> "type[Validator]":
    # Imported here: it is a tenth of the start of a worker, which may have nothing to check.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    strict: type[Validator] = extend(Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]
    return strict


def _shortened(message: str) -> str:
    return message if len(message) <= MESSAGE_CHARACTERS else message[:MESSAGE_CHARACTERS] + " ..."


def _unstorable_text(value: object) -> str:
    """Return where text that cannot be stored is, or "". A loop: the nesting is the client's."""
    waiting: list[tuple[str, object]] = [("$", value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, str) and not _storable(item):
            return f"{place}: the text holds NUL or a lone surrogate"
        if isinstance(item, dict):
            waiting += [(place, key) for key in item]
            waiting += [(f"{place}.{key}" if _storable(key) else place, part) for key, part in item.items()]
        elif isinstance(item, list):
            waiting += [(f"{place}[{index}]", part) for index, part in enumerate(item)]
    return ""


def _storable(text: str) -> bool:
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
