"""The command line: a thin HTTP client on the standard library alone.

Reading order: `main`, `parser` (the table of commands), `command` (what a command gets), `nouns/` (the
commands), `client` with `transport` and `sse` (HTTP), `watch` and `timeline` (following a run), `failures`.
Nothing here imports Django: a command has to answer in a blink.
"""
