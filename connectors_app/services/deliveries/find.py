"""Deliveries as lists and details ask for them; the content is read only where it is shown."""

from django.db.models import Q, QuerySet

from connectors_app.models import Delivery, DeliveryStatus
from kheish_site.lib.errors import NotFound

TROUBLE = Q(status__in=[DeliveryStatus.DEAD_LETTERED, DeliveryStatus.UNKNOWN], resolved_at=None)
"""What nobody has dealt with yet."""


class DeliveryMissing(NotFound):
    """No such delivery."""

    code, domain = "delivery_not_found", "deliveries"


def rows(*, whole: bool = False) -> QuerySet[Delivery]:
    """Return all deliveries with what their views need; ``whole`` with what they say."""
    found = Delivery.objects.select_related("target", "session", "run", "replayed_from")
    heavy = ("content", "parts", "buttons", "progress")
    return found if whole else found.defer(*heavy, *(f"replayed_from__{name}" for name in heavy))


def get(delivery_id: str) -> Delivery:
    """Return one delivery, whole. Raises: DeliveryMissing."""
    found = rows(whole=True).filter(delivery_id=delivery_id).first()
    if found is None:
        raise DeliveryMissing(f"there is no delivery {delivery_id}")
    return found
