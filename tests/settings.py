"""Settings of the test suite: the project's own, pointed at throw-away places before they are read.

``KHEISH_TEST_PROFILE`` chooses: ``embedded`` (SQLite, the default) or ``services`` (PostgreSQL and Redis
named by ``KHEISH_TEST_DATABASE_URL`` and ``KHEISH_TEST_REDIS_URL``, which ``manage.py test`` starts).
"""

import atexit
import os
import shutil
import tempfile

STATE_DIR = tempfile.mkdtemp(prefix="kheish-test-")
atexit.register(shutil.rmtree, STATE_DIR, ignore_errors=True)

# What the developer's shell has set must not reach the tests.
for name in [name for name in os.environ if name.startswith("KHEISH_") and "_TEST_" not in name]:
    del os.environ[name]
os.environ["KHEISH_STATE_DIR"] = STATE_DIR
if os.environ.get("KHEISH_TEST_PROFILE") == "services":
    os.environ["KHEISH_DATABASE_URL"] = os.environ["KHEISH_TEST_DATABASE_URL"]
    os.environ["KHEISH_REDIS_URL"] = os.environ["KHEISH_TEST_REDIS_URL"]

from kheish_site.settings import *  # noqa: E402, F403
from kheish_site.settings import DATABASES, KHEISH  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the tests' logins need no strength
if KHEISH.embedded:
    # A file, not memory: threads of one test are then as separate as processes are in service.
    DATABASES["default"]["TEST"] = {"NAME": KHEISH.state_dir / "test.sqlite3"}
