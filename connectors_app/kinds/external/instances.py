"""Which sidecar an event comes from: only the running process of a ``child_process`` connector may send any.

Also the row that shows a sidecar's state to everybody but its supervisor.
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
    """The event came before its sidecar was found ready, or after it ended; it should be sent again."""

    code, domain = "external_sidecar_starting", "connector_ingress"


class Speaker:
    """Which instance may send a connector's events: looked up and asked at most once, for a whole batch."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def check(self, instance_id: str) -> None:
        """Refuse an event of a process that is not the connector's child. No query for remote sidecars.

        A child may send events before its supervisor has noted it: then the child itself is asked.
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


def note(connector: Connector, **state: Any) -> None:
    """Write these fields of the sidecar's state. Opens its own transaction."""
    if "last_error" in state:
        state["last_error"] = redact(state["last_error"])[:500]
    with write():
        SidecarState.objects.update_or_create(connector=connector, defaults={**state, "since": clock.now()})


def trouble(pks: Sequence[int]) -> dict[int, str]:
    """Return what is wrong with the child processes of connectors; one query.

    One that was stopped, or starts for the first time, is no trouble: its worker goes on at once, and a
    missing worker is reported elsewhere.
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
    """Return the manifest, and store it in the row when it changed. No transaction may be open.

    Every send to a sidecar comes after this, so the row knows the capabilities it was sent under.
    Raises: SidecarUnwell.
    """
    manifest = MANIFESTS.get(connector)
    fresh = manifest.as_dict()
    if _kept(connector) != fresh:
        remote = connector.settings["mode"] != CHILD  # a child's instance is written by its supervisor
        note(connector, manifest=fresh, **({"instance_id": manifest.instance_id} if remote else {}))
    return manifest


def honours_keys(connector: Connector) -> bool:
    """Tell whether the sidecar recognises a repeated delivery, by the manifest that was stored last.

    One query and no request, so it may be called inside a transaction. A manifest says yes unless it denies
    it; without any manifest the answer is no.
    """
    return bool(_kept(connector).get("capabilities", {}).get("idempotent", False))


def _kept(connector: Connector) -> dict[str, Any]:
    manifest = SidecarState.objects.filter(connector=connector).values_list("manifest", flat=True).first()
    return manifest or {}
