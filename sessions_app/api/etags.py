"""``ETag`` and ``If-Match`` over a row's revision: who edits must have seen what they replace."""

import re
from typing import Any, Final

from kheish_site.lib import revisions
from kheish_site.lib.errors import BadRequest, PreconditionRequired

_TAG: Final = re.compile(r'\s*(W/)?"([^"]*)"\s*', re.ASCII)


def etag(revision: int) -> str:
    """Return the entity tag of a revision."""
    return f'"{revision}"'


def check_match(request: Any, revision: int) -> None:
    """Compare ``If-Match`` with the revision of a row that is read under its lock.

    ``*`` matches any. Raises: PreconditionRequired (428, no header), PreconditionFailed (412, another
    revision is current), BadRequest (not an entity tag).
    """
    revisions.check(revision, expected_revisions(request))


def expected_revisions(request: Any) -> frozenset[int] | None:
    """Return the revisions ``If-Match`` accepts; ``None`` is any (``*``). Raises as ``check_match``."""
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise PreconditionRequired("send If-Match with the ETag of the version you have seen")
    if header == "*":
        return None
    found = [_TAG.fullmatch(part) for part in header.split(",")]
    if not all(found):
        raise BadRequest('If-Match must read "REVISION" or *', code="invalid_if_match")
    # A weak tag never matches here (RFC 9110, 13.1.1), nor does one this service did not make.
    strong = [match.group(2) for match in found if match and not match.group(1)]
    return frozenset(int(tag) for tag in strong if re.fullmatch(r"[0-9]{1,9}", tag))
