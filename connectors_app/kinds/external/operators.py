"""What operators read of sidecars: how one is, and the metrics of all, for Prometheus."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import Count, Sum
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.plain import OnlyAnswer, PlainText
from connectors_app.kinds.external.names import CHILD, NAME
from connectors_app.models import (
    Connector,
    ConnectorLease,
    IngressReceipt,
    IngressRefusal,
    SidecarState,
    SidecarStatus,
)
from connectors_app.services import connectors
from kheish_site.lib import clock
from kheish_site.lib.remembered import Remembered
from sessions_app.api.schema import describe
from sessions_app.api.serializers.base import JsonObject, Moment
from sessions_app.api.views.base import KheishView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SIDECAR: dict[str, Any] = {
    "connector": "mail",
    "mode": "child_process",
    "status": "running",
    "instance_id": "email-5d1c",
    "manifest": {"protocol_version": 1, "instance_id": "email-5d1c", "capabilities": {"threads": True}},
    "last_error": "",
    "restarts": 0,
    "worker": "host:4711",
    "pid": 4712,
    "since": "2026-11-26T10:00:00.000Z",
    "lease_expires_at": "2026-11-26T10:05:00.000Z",
}
Samples = Iterable[tuple[Mapping[str, str], float]]


class SidecarView(serializers.Serializer):
    """The process behind an external connector; ``status`` is "" for one that is not ours to supervise."""

    connector = serializers.CharField()
    mode = serializers.CharField()
    status = serializers.ChoiceField(choices=["", *SidecarStatus.values])
    instance_id = serializers.CharField(allow_blank=True)
    manifest = JsonObject()
    last_error = serializers.CharField(allow_blank=True)
    restarts = serializers.IntegerField()
    worker = serializers.CharField(allow_blank=True)
    pid = serializers.IntegerField()
    since = Moment(allow_null=True)
    lease_expires_at = Moment(allow_null=True)


class Sidecar(KheishView):
    """``/v1/runtime/connectors/external/{name}/sidecar``."""

    @describe(
        "external_sidecar_get", "Get the state of an external connector's sidecar",
        answer=SidecarView, example=_SIDECAR,
    )  # fmt: skip
    def get(self, request: Request, name: str) -> Response:
        """What its supervisor, or the last request to it, has seen."""
        return Response(sidecar_view(connectors.get(NAME, name)))


class Metrics(KheishView):
    """``/v1/runtime/connectors/external/metrics``."""

    renderer_classes = (PlainText,)
    content_negotiation_class = OnlyAnswer

    @describe(
        "external_connector_metrics", "Get the metrics of sidecars in Prometheus' text format", answer=str,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """All samples."""
        return Response(metrics(), content_type=CONTENT_TYPE)


def sidecar_view(connector: Connector) -> dict[str, Any]:
    """Return what is known of the connector's sidecar; two queries."""
    state = SidecarState.objects.filter(connector=connector).first() or SidecarState(connector=connector)
    leases = ConnectorLease.objects.filter(connector=connector, revoked_at=None, expires_at__gt=clock.now())
    return {
        "connector": connector.name,
        "mode": connector.settings["mode"],
        "status": state.status,
        "instance_id": state.instance_id,
        "manifest": state.manifest,
        "last_error": state.last_error,
        "restarts": state.restarts,
        "worker": state.worker,
        "pid": state.pid,
        "since": clock.rfc3339(state.since),
        "lease_expires_at": clock.rfc3339(leases.values_list("expires_at", flat=True).first()),
    }


def _count_receipts() -> list[tuple[int, int, int]]:
    """Return connector, receipts and repeats of each external connector that has any: a scan."""
    rows = IngressReceipt.objects.filter(connector__kind=NAME).order_by().values_list("connector_id")
    return list(rows.annotate(n=Count("id"), repeats=Sum("duplicates")))


_RECEIPTS: Final = Remembered(_count_receipts, seconds=15)


def metrics() -> str:
    """Return the samples of all external connectors: five queries, whatever their number.

    What is counted over all receipts is remembered for a while.
    """
    names = dict(connectors.everything().filter(kind=NAME).values_list("pk", "name"))
    mine = {"connector_id__in": names}
    states = list(SidecarState.objects.filter(**mine, connector__settings__mode=CHILD))
    known = [row for row in _RECEIPTS() if row[0] in names]
    refused = IngressRefusal.objects.filter(**mine).values_list("connector_id", "code", "count")
    leases = ConnectorLease.objects.filter(**mine, revoked_at=None, expires_at__gt=clock.now())
    alive = leases.order_by().values_list("connector_id").annotate(n=Count("id"))

    def of(pk: int, **more: str) -> dict[str, str]:
        return {"connector": names[pk], **more}

    families: list[tuple[str, str, str, Samples]] = [
        ("up", "gauge", "Whether the child process runs and was found ready.",
         [(of(row.connector_id), row.status == SidecarStatus.RUNNING) for row in states]),
        ("restarts_total", "counter", "Times the child process had to be started again.",
         [(of(row.connector_id), row.restarts) for row in states]),
        ("events_kept", "gauge", "Accepted events whose receipt is kept.",
         [(of(pk), n) for pk, n, _ in known]),
        ("duplicates_kept", "gauge", "Repeats of the events whose receipt is kept.",
         [(of(pk), repeats) for pk, _, repeats in known]),
        ("events_refused_total", "counter", "Refused events by code.",
         [(of(pk, code=code), n) for pk, code, n in refused]),
        ("credential_leases", "gauge", "Credential leases that are alive.",
         [(of(pk), n) for pk, n in alive]),
    ]  # fmt: skip
    return "".join(_family(*family) for family in families)


def _family(name: str, kind: str, help_text: str, samples: Samples) -> str:
    full = f"kheish_external_connector_{name}"
    rows = [f"{full}{{{_labels(labels)}}} {float(value):g}" for labels, value in samples]
    return "\n".join([f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", *rows, ""])


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
