#!/usr/bin/env python3
"""The only entry: `serve`, `test`, the command line client, and Django's commands."""

import sys

if sys.version_info < (3, 11):  # before any import that an older Python could not even parse
    sys.exit(
        "Kheish needs Python 3.11 or newer; this is Python %d.%d. Try: python3.11 manage.py"
        % sys.version_info[:2]
    )

from kheish_site.entry import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
