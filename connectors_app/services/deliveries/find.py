"""Queries for lists and details of deliveries; the content is read only where it is shown."""

from django.db.models import Q, QuerySet

from connectors_app.models import Delivery, DeliveryStatus
from kheish_site.lib.errors import NotFound

TROUBLE = Q(status__in=[DeliveryStatus.DEAD_LETTERED, DeliveryStatus.UNKNOWN], resolved_at=None)
"""The dead letters and unknown outcomes that nobody has dealt with yet."""


class DeliveryMissing(NotFound):
    """No such delivery."""

    code, domain = "delivery_not_found", "deliveries"


def rows(*, whole: bool = False) -> QuerySet[Delivery]:
    """Return all deliveries with what their views need; ``whole`` with their content too."""
    deliveries = Delivery.objects.select_related("target", "session", "run", "replayed_from")
    heavy = ("content", "parts", "buttons", "progress")
    return deliveries if whole else deliveries.defer(*heavy, *(f"replayed_from__{name}" for name in heavy))


def get(delivery_id: str) -> Delivery:
    """Return one delivery, whole. Raises: DeliveryMissing."""
    delivery = rows(whole=True).filter(delivery_id=delivery_id).first()
    if delivery is None:
        raise DeliveryMissing(f"there is no delivery {delivery_id}")
    return delivery
