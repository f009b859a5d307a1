"""A service under test finds what ``requirements.txt`` installs, and not what only its tests need.

Libraries load one another where they find one another: a tenth of each start that no installation has.
"""

import sys

TESTS_ONLY = ("psutil", "pygments", "requests", "rich", "trio")

for name in TESTS_ONLY:
    sys.modules[name] = None  # type: ignore[assignment]  # importing it fails as if it were not there
