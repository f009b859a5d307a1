"""Check a JSON value against a JSON schema and say in plain words what is wrong."""

import json
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from kheish_site.lib.canonical import canonical_json

MAX_PROBLEMS: Final = 10
MESSAGE_CHARACTERS: Final = 300


def _is_integer(_: object, value: object) -> bool:
    """JSON schema calls 1.0 an integer; code that counts lines with it does not."""
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKER: Final = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
_STRICT: Final[type[Validator]] = extend(Draft202012Validator, type_checker=_CHECKER)  # type: ignore[no-untyped-call]


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """Return up to ten lines ``place: what is wrong``; empty when ``value`` conforms.

    Text that no UTF-8 file or database column can hold (lone surrogates, NUL) is a problem too.
    """
    unstorable = _unstorable_text(value)
    if unstorable:
        return [unstorable]
    found = sorted(_validator(canonical_json(schema)).iter_errors(value), key=lambda error: error.json_path)
    return [f"{error.json_path}: {_shortened(error.message)}" for error in found[:MAX_PROBLEMS]]


@cache
def _validator(schema: str) -> Validator:
    loaded = json.loads(schema)
    _STRICT.check_schema(loaded)
    return _STRICT(loaded)


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
