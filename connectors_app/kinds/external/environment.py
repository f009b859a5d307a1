"""The environment of a child process: a cleared one, its connector's variables, and our own.

It holds no credential, only the token with which credentials are read.
"""

import json
import os
from collections.abc import Mapping
from typing import Final

from django.conf import settings

from connectors_app.kinds.external.leases import Issued
from connectors_app.kinds.external.names import RESERVED
from connectors_app.kinds.external.protocol import Sidecar
from connectors_app.models import Connector

_KEPT: Final = frozenset(
    {
        "PATH", "HOME", "LANG", "LANGUAGE", "TZ",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
        "TMPDIR", "TEMP", "TMP",
        "PYTHONHOME", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUNBUFFERED", "VIRTUAL_ENV",
        "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "SYSTEMDRIVE", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
    }
)  # fmt: skip


def of_child(connector: Connector, sidecar: Sidecar, lease: Issued) -> dict[str, str]:
    """Return the whole environment of the connector's process."""
    child = connector.settings["child_process"]
    own = {
        "NAME": connector.name,
        "BASE_URL": sidecar.base_url,
        "DAEMON_BASE_URL": settings.KHEISH.service_url,
        "SHARED_TOKEN": sidecar.token,
        "CREDENTIAL_TOKEN": lease.token,
        "CREDENTIAL_KEYS_JSON": json.dumps(sorted(child["credential_slots"])),
    }
    return {**kept(os.environ), **child["env"], **{RESERVED + name: value for name, value in own.items()}}


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of our own environment that a child may see: paths and locale, no secrets.

    Not ``PYTHONPATH``, in which ``serve`` names our own code: our modules would hide a sidecar's.
    """
    return {
        name: value for name, value in environment.items() if name.upper() in _KEPT or name.startswith("LC_")
    }
