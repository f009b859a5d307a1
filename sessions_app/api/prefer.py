"""``Prefer: wait=N`` (RFC 7240): how long a caller would like us to wait before we answer."""

import re
from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter

from sessions_app.services.patience import LONGEST_SECONDS

_WAIT: Final = re.compile(r'\s*wait\s*=\s*"?0*([0-9]+)"?\s*(?:;.*)?', re.IGNORECASE | re.ASCII)

PREFER: Final = OpenApiParameter(
    "Prefer",
    {"type": "string", "pattern": "^wait=[0-9]{1,4}$"},
    OpenApiParameter.HEADER,
    description="`wait=N`: answer when the run has settled or waits for a person, or after N <= 60 seconds.",
)


def wait_seconds(request: Any) -> int:
    """Return the seconds asked for, at most 60; 0 when nothing readable was asked for."""
    for preference in request.headers.get("Prefer", "").split(","):
        found = _WAIT.fullmatch(preference)
        if found:
            return min(int(found[1][:9]), int(LONGEST_SECONDS))  # nine of many are long enough
    return 0
