"""The names in rows, forms and processes of this kind, and the grace a process gets to end."""

from typing import Final

NAME: Final = "external"
REMOTE: Final = "remote_http"
CHILD: Final = "child_process"
TOKEN: Final = "shared_token"  # noqa: S105  # the field's name
RESERVED: Final = "KHEISH_EXTERNAL_CONNECTOR_"
GRACE_SECONDS: Final = 10.0
"""From asking a child process to end until it is killed."""
