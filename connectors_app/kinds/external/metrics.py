"""``GET /v1/runtime/connectors/external/metrics``: what sidecars did and how they are, for Prometheus."""

from collections.abc import Iterable, Mapping

from django.db.models import Count, Sum
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request

from connectors_app.kinds.external.kind import CHILD, NAME
from connectors_app.models import ConnectorLease, IngressReceipt, IngressRefusal, SidecarState, SidecarStatus
from connectors_app.services import connectors
from kheish_site.lib import clock
from sessions_app.api.schema import describe
from sessions_app.api.views.base import KheishView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_EXAMPLE = 'kheish_external_connector_up{connector="mail"} 1\n'
Samples = Iterable[tuple[Mapping[str, str], float]]


class Metrics(KheishView):
    """``/v1/runtime/connectors/external/metrics``."""

    @describe(
        "external_connector_metrics", "Metrics of the external connectors, as Prometheus text",
        answer=OpenApiTypes.STR, example=_EXAMPLE,
    )  # fmt: skip
    def get(self, request: Request) -> HttpResponse:
        """All samples."""
        return HttpResponse(text(), content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def text() -> str:
    """Return the samples of all external connectors: five queries, whatever their number."""
    names = dict(connectors.everything().filter(kind=NAME).values_list("pk", "name"))
    states = SidecarState.objects.filter(connector_id__in=names, connector__settings__mode=CHILD)
    receipts = IngressReceipt.objects.filter(connector_id__in=names).values("connector_id")
    counted = list(receipts.annotate(events=Count("id"), repeats=Sum("duplicates")).order_by("connector_id"))
    refused = IngressRefusal.objects.filter(connector_id__in=names).values_list(
        "connector_id", "code", "count"
    )
    alive = ConnectorLease.objects.filter(
        connector_id__in=names, revoked_at=None, expires_at__gt=clock.now()
    ).values("connector_id")
    supervised = [(names[row.connector_id], row) for row in states]
    lines = [
        *_metric("up", "gauge", "Whether the child process runs and was found ready.",
                 (({"connector": name}, row.status == SidecarStatus.RUNNING) for name, row in supervised)),
        *_metric("restarts_total", "counter", "Times the child process was started again.",
                 (({"connector": name}, row.restarts) for name, row in supervised)),
        *_metric("events_known", "gauge", "Accepted events whose receipt is kept.",
                 (({"connector": names[row["connector_id"]]}, row["events"]) for row in counted)),
        *_metric("duplicates_known", "gauge", "Repeats of the events whose receipt is kept.",
                 (({"connector": names[row["connector_id"]]}, row["repeats"]) for row in counted)),
        *_metric("events_refused_total", "counter", "Refused events by code.",
                 (({"connector": names[pk], "code": code}, count) for pk, code, count in refused)),
        *_metric("credential_leases", "gauge", "Credential leases that are alive.",
                 (({"connector": names[row["connector_id"]]}, row["alive"])
                  for row in alive.annotate(alive=Count("id")).order_by("connector_id"))),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, help_text: str, samples: Samples) -> list[str]:
    full = f"kheish_external_connector_{name}"
    rows = [f"{full}{{{_labels(labels)}}} {float(value):g}" for labels, value in samples]
    return [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", *rows]


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
