"""Routes and the secret slots they name: where a model is reached, and with what."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import JSONObject, name_field


class SecretSlot(models.Model):
    """A named place for one secret. Rotation overwrites ``sealed``; nothing reads it back out.

    ``revision`` lets other processes notice a rotation and teach their redaction funnel.
    """

    slot_id = name_field(unique=True)
    provider = name_field(blank=True, default="")
    mode = name_field(default="api_key", length=30)
    sealed = models.TextField(editable=False)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["slot_id"]

    def __str__(self) -> str:
        return self.slot_id


class Route(models.Model):
    """Driver, model, options, the slot with its credential, and ordered fallbacks.

    Runs pin ``route_id`` and ``model``; the address and the slot are read when the model is called,
    so a rotation or a moved server needs no new run.
    """

    route_id = name_field(unique=True)
    driver = name_field(length=40)
    base_url = models.CharField(max_length=500, blank=True, default="")
    model = name_field(blank=True, default="")
    auth_ref = name_field(blank=True, default="")
    fallbacks = JSONObject(default=list)
    options = JSONObject()
    is_default = models.BooleanField(default=False)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["route_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="route_one_default"
            ),
        ]

    def __str__(self) -> str:
        return self.route_id
