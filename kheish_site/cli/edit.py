"""Changing a tool call before it is allowed: an editor, `--set` or a file; types are kept."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kheish_site.cli.command import Context, assignments, parse_json, read_file
from kheish_site.cli.exits import CliError, UsageError
from kheish_site.cli.output import Style
from kheish_site.lib.visible import visible

Arguments = dict[str, Any]


def edited_input(context: Context, original: Arguments) -> Arguments | None:
    """The arguments to allow instead, or None when they stay as they are. Raises UsageError, CliError."""
    args = context.args
    if args.input_file:
        text = context.stdin.read() if args.input_file == "-" else read_file(args.input_file)
        changed = _as_object(parse_json(text, what=args.input_file))
    elif args.edit:
        changed = edit_in_editor(context, original)
    else:
        changed = dict(original)
    changed = apply_assignments(changed, assignments(args.set, what="--set"))
    return None if changed == original else changed


def apply_assignments(original: Arguments, values: Mapping[str, Any]) -> Arguments:
    """A copy with each key set. `a.b` reaches into objects unless a key is literally called so."""
    changed: Arguments = json.loads(json.dumps(original))
    for key, value in values.items():
        target, parts = changed, [key] if key in changed else key.split(".")
        for part in parts[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise UsageError(f"--set {key}: {part} is not an object")
        target[parts[-1]] = value
    return changed


def edit_in_editor(context: Context, original: Arguments) -> Arguments:
    """Open the JSON in $VISUAL or $EDITOR until it parses, or the person gives up."""
    with tempfile.TemporaryDirectory(prefix="kheish-") as folder:  # 0700: arguments may hold private data
        file = Path(folder) / "input.json"
        file.write_text(_text(original), encoding="utf-8")
        while True:
            _run_editor(file)
            try:
                return _as_object(parse_json(file.read_text(encoding="utf-8"), what="the edited input"))
            except UsageError as error:
                context.out.word(error.message, "red")
                if context.args.yes or not context.confirm("Edit again?"):
                    raise


def show_diff(context: Context, before: Arguments, after: Arguments) -> None:
    """The change as a unified diff, on standard error; unsafe characters written out."""
    lines = difflib.unified_diff(
        _text(before).splitlines(), _text(after).splitlines(), "asked", "edited", lineterm="", n=99
    )
    for line in lines:
        style: Style = "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"
        context.out.word(visible(line), style)


def _run_editor(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), str(file)], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise CliError(
            f"the editor {editor!r} failed: {error}",
            cure="Set EDITOR, or use --set key=json or --input-file.",
        ) from error


def _as_object(value: Any) -> Arguments:
    if not isinstance(value, dict):
        raise UsageError("the input of a tool is a JSON object", cure='It looks like {"command": "ls"}.')
    return value


def _text(value: Arguments) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
