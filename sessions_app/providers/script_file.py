"""Loading and checking scripts: from a route's options, a file, or those that come with the runtime."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from sessions_app.providers.base import FinishReason, ProviderError, Usage
from sessions_app.providers.script_schema import SCRIPT

BUNDLED = Path(__file__).parent / "scripts"
DEFAULT_SCRIPT = "welcome"
LARGEST_BYTES = 256 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A failure a turn suffers; see ``script_schema`` for the fields."""

    kind: str
    message: str = ""
    retry_after_seconds: float | None = None
    times: int | None = 1
    after_chunks: int = 0
    stall_seconds: float | None = None

    def strikes(self, attempt: int) -> bool:
        """Whether this attempt (from 1) of the call fails."""
        return self.times is None or attempt <= self.times


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Both conditions must hold; one that is not given always does."""

    contains: str = ""
    matches: re.Pattern[str] | None = None

    def fits(self, text: str) -> bool:
        """Whether ``text`` holds the words (in any case) and the expression is found in it."""
        if self.contains.casefold() not in text.casefold():
            return False
        return self.matches is None or self.matches.search(text) is not None


@dataclass(frozen=True, kw_only=True)
class ScriptedCall:
    """A tool call; texts inside ``arguments`` may hold placeholders."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one model call answers, provided that the last tool result fits."""

    result: Pattern = field(default_factory=Pattern)
    result_is_error: bool | None = None
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    delay_seconds: float = 0.0
    chunk_delay_seconds: float = 0.0
    fault: Fault | None = None
    usage: Usage | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """The turns for inputs that fit. Each step lists alternatives, the first that fits is taken."""

    input: Pattern
    steps: tuple[tuple[Turn, ...], ...]
    repeat: bool


@dataclass(frozen=True, kw_only=True)
class Script:
    """Cases in the order they are tried; the last one fits any input."""

    description: str
    cases: tuple[Case, ...]


def from_options(options: Mapping[str, Any]) -> Script:
    """The script of a route: ``script`` (mapping, YAML text or bundled name), ``script_path``, or welcome.

    ``delay_ms`` and ``chunk_delay_ms`` beside it replace the script's defaults.
    Raises ProviderError(invalid) naming the field that is wrong.
    """
    given = options.get("script")
    path = options.get("script_path")
    if given is not None and path is not None:
        raise _invalid("give script or script_path, not both")
    if isinstance(given, Mapping):
        raw: object = dict(given)
    elif path is not None:
        raw = _parse(_read(Path(str(path))))
    elif given is None or (isinstance(given, str) and _NAME.fullmatch(given)):
        raw = bundled(given or DEFAULT_SCRIPT)
    elif isinstance(given, str):
        raw = _parse(given)
    else:
        raise _invalid("it must be a bundled name, YAML text or an object")
    pace = {name: options[name] for name in ("delay_ms", "chunk_delay_ms") if options.get(name) is not None}
    return parse({**raw, **pace} if isinstance(raw, dict) else raw)


def names() -> list[str]:
    """The bundled scripts."""
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def bundled(name: str) -> object:
    """The raw content of a bundled script. Raises ProviderError(invalid) for an unknown name."""
    if name not in names():
        raise _invalid(f"no script is called {name!r}; bundled are {', '.join(names())}")
    return _parse(_read(BUNDLED / f"{name}.yaml"))


def parse(raw: object) -> Script:
    """Check a raw script and build it. Raises ProviderError(invalid) naming the field that is wrong."""
    try:
        return _checked(json.dumps(raw, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise _invalid("it holds something that JSON cannot, or is nested too deeply") from None


@functools.lru_cache(maxsize=64)
def _checked(text: str) -> Script:
    """Build a script from its JSON text, once for each text: a provider is built for every call."""
    raw = json.loads(text)
    try:
        error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(SCRIPT).iter_errors(raw))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if error is not None:
        raise _invalid(f"{_place(error.absolute_path)}: {error.message[:300]}")
    cases = [_case(case, raw, f"cases[{number}]") for number, case in enumerate(raw.get("cases", ()))]
    return Script(description=raw.get("description", ""), cases=(*cases, _case(raw, raw, "")))


def _case(raw: Mapping[str, Any], script: Mapping[str, Any], place: str) -> Case:
    match = raw.get("match", {})
    return Case(
        input=_pattern(match.get("contains"), match.get("matches"), f"{place}.match.matches"),
        steps=tuple(
            _step(step, script, f"{place}.turns[{number}]".lstrip("."))
            for number, step in enumerate(raw["turns"])
        ),
        repeat=raw.get("repeat", False),
    )


def _step(raw: Mapping[str, Any], script: Mapping[str, Any], place: str) -> tuple[Turn, ...]:
    if "either" in raw:
        return tuple(_turn(turn, script, f"{place}.either[{n}]") for n, turn in enumerate(raw["either"]))
    return (_turn(raw, script, place),)


def _turn(raw: Mapping[str, Any], script: Mapping[str, Any], place: str) -> Turn:
    when, usage = raw.get("when", {}), raw.get("usage")
    return Turn(
        result=_pattern(
            when.get("result_contains"), when.get("result_matches"), f"{place}.when.result_matches"
        ),
        result_is_error=when.get("result_is_error"),
        text=raw.get("text", ""),
        reasoning=raw.get("reasoning", ""),
        tool_calls=tuple(
            ScriptedCall(name=call["name"], arguments=call.get("arguments", {}))
            for call in raw.get("tool_calls", ())
        ),
        delay_seconds=raw.get("delay_ms", script.get("delay_ms", 0)) / 1000,
        chunk_delay_seconds=raw.get("chunk_delay_ms", script.get("chunk_delay_ms", 0)) / 1000,
        fault=Fault(**raw["fault"]) if "fault" in raw else None,
        usage=Usage(usage["input"], usage["output"], estimated=False) if usage else None,
        finish_reason=raw.get("finish_reason"),
    )


def _pattern(contains: str | None, matches: str | None, place: str) -> Pattern:
    try:
        compiled = re.compile(matches, re.IGNORECASE) if matches is not None else None
    except (re.error, RecursionError, OverflowError) as error:
        raise _invalid(f"{place}: not a regular expression ({error})") from None
    return Pattern(contains=contains or "", matches=compiled)


class _Loader(yaml.SafeLoader):
    """Plain YAML without aliases: a few lines of them unfold into gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


# A date stays the text it is: JSON has none.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@functools.lru_cache(maxsize=16)
def _parse(text: str) -> object:
    if len(text) > LARGEST_BYTES:
        raise _invalid(f"it is larger than {LARGEST_BYTES} bytes")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, made stricter
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _invalid(f"not YAML: {error.problem or error.context} (line {line})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _invalid(f"not YAML ({type(error).__name__})") from None


def _read(path: Path) -> str:
    if path.suffix not in (".yaml", ".yml"):
        raise _invalid("script_path must end in .yaml or .yml")
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _invalid(f"script_path cannot be read ({type(error).__name__})") from None


def _place(path: Any) -> str:
    place = ""
    for step in path:
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
    return place.lstrip(".") or "the script"


def _invalid(message: str) -> ProviderError:
    return ProviderError("invalid", f"script: {message}")
