"""Which sidecar an event comes from: of a child process only the one that runs now may speak.

Also the row in which the sidecar's state is kept for everybody who is not its supervisor.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.db.models import Q

from connectors_app.kinds.external import protocol
from connectors_app.kinds.external.events import EventRejected
from connectors_app.kinds.external.names import CHILD
from connectors_app.kinds.external.protocol import MANIFESTS, Manifest, SidecarUnwell
from connectors_app.models import Connector, SidecarState, SidecarStatus
from kheish_site.lib import clock
from kheish_site.lib.errors import Unavailable
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write

NOT_YET_SECONDS = 2


class SidecarStarting(Unavailable):
    """The sidecar speaks before it was found ready, or after it went away; it should say it again."""

    code, domain = "external_sidecar_starting", "connector_ingress"


class Speaker:
    """Who may speak for a connector: looked up and asked at most once, for one event or a whole batch."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def check(self, instance_id: str) -> None:
        """Refuse an event of a process that is not the connector's child. No query for remote sidecars.

        A child may speak as soon as it serves, before its supervisor has noted it: then it is asked itself.
        Raises: EventRejected, SidecarStarting.
        """
        if self._connector.settings["mode"] != CHILD or self._noted == instance_id:
            return
        if self._asked is None:
            raise SidecarStarting("the sidecar is not ready to be known", retry_after_seconds=NOT_YET_SECONDS)
        if self._asked != instance_id:
            raise EventRejected("instance_id is not that of the sidecar that runs now")

    @cached_property
    def _noted(self) -> str | None:
        running = SidecarState.objects.filter(connector=self._connector, status=SidecarStatus.RUNNING)
        return running.values_list("instance_id", flat=True).first()

    @cached_property
    def _asked(self) -> str | None:
        try:
            return protocol.fetch_manifest(protocol.sidecar_of(self._connector)).instance_id
        except SidecarUnwell:
            return None


def note(connector: Connector, **seen: Any) -> None:
    """Write what was seen of the sidecar. Opens its own transaction."""
    if "last_error" in seen:
        seen["last_error"] = redact(seen["last_error"])[:500]
    with write():
        SidecarState.objects.update_or_create(connector=connector, defaults={**seen, "since": clock.now()})


def trouble(pks: Sequence[int]) -> dict[int, str]:
    """Return what is wrong with the child processes of connectors; one query.

    One that was stopped, or starts for the first time, is no trouble: whoever keeps it goes on at once, and
    that nobody does is said of the workers.
    """
    ill = Q(status__in=[SidecarStatus.BACKOFF, SidecarStatus.FAILED])
    again = Q(status=SidecarStatus.STARTING) & ~Q(last_error="")
    states = SidecarState.objects.filter(ill | again, connector__in=pks).order_by()
    return {
        state.connector_id: f"its sidecar does not run ({state.status}, restarts: {state.restarts}): "
        + (state.last_error or "it ended")
        for state in states
    }


def manifest_now(connector: Connector) -> Manifest:
    """Return the manifest, and keep it in the row when it changed. No transaction may be open.

    Whatever was sent to a sidecar was sent after this, so the row knows what that sidecar can.
    Raises: SidecarUnwell.
    """
    manifest = MANIFESTS.get(connector)
    told = manifest.as_dict()
    if _kept(connector) != told:
        remote = connector.settings["mode"] != CHILD  # of a child its supervisor says who runs
        note(connector, manifest=told, **({"instance_id": manifest.instance_id} if remote else {}))
    return manifest


def honours_keys(connector: Connector) -> bool:
    """Tell whether the sidecar recognises a repeated delivery: it does unless its manifest denies it.

    Judged by the manifest that was last kept, without asking: one query, also inside a transaction. Of a
    sidecar that never showed one nothing is known.
    """
    return bool(_kept(connector).get("capabilities", {}).get("idempotent", False))


def _kept(connector: Connector) -> dict[str, Any]:
    found = SidecarState.objects.filter(connector=connector).values_list("manifest", flat=True).first()
    return found or {}
