"""`python -m kheish_site.cli`: the same program, for a checkout that is not installed."""

import sys

from kheish_site.cli.main import console

if __name__ == "__main__":
    sys.exit(console())
