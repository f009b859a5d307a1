"""Reading JSON that every store and stream can carry, and refusing the rest with a reason."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from kheish_site.lib.errors import BadRequest

DEEPEST: Final = 64
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LARGEST_INTEGER: Final = 2**63 - 1


class InvalidJson(BadRequest):
    """The body is not JSON, or JSON that not every store can hold."""

    code = "invalid_json"


def loads(raw: bytes) -> Any:
    """Return the value of a JSON text as RFC 8259 has it, with one meaning. Raises: InvalidJson.

    Refused: NaN and infinities, numbers beyond 64 bits or a float, duplicate members, NUL characters, lone
    surrogates, nesting deeper than 64.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_not_a_number,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise InvalidJson(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise InvalidJson(f"nested deeper than {DEEPEST}") from None
    check(value)
    return value


def check(value: Any) -> None:
    """Raise InvalidJson for text that cannot be stored and for nesting that is too deep."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [item for node in level for item in _children(node)]
        if not level:
            return
    raise InvalidJson(f"nested deeper than {DEEPEST}")


def text_problem(text: str) -> str:
    """Return why ``text`` cannot be stored, or ""."""
    if "\x00" in text:
        return "NUL characters are not allowed"
    if not text.isascii() and _SURROGATE.search(text):
        return "lone surrogates are not allowed"
    return ""


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, str):
        if reason := text_problem(node):
            raise InvalidJson(reason)
    elif isinstance(node, dict):
        for name in node:
            if reason := text_problem(name):
                raise InvalidJson(reason)
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJson("an object names a member twice")
    return value


def _not_a_number(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not a JSON number")


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise InvalidJson("a number is out of range")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(value := int(digits)) > _LARGEST_INTEGER:
        raise InvalidJson("a number is out of range")
    return value
