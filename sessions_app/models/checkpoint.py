"""Checkpoints: where folding the journal may begin."""

from django.db import models

from sessions_app.models.base import JSONObject
from sessions_app.models.session import Session


class Checkpoint(models.Model):
    """A summary that stands for all entries up to ``through_seq``. Born by compaction, never changed."""

    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="checkpoints")
    through_seq = models.BigIntegerField()
    summary = models.TextField()
    restoration = JSONObject()
    tokens_before = models.PositiveIntegerField(default=0)
    tokens_after = models.PositiveIntegerField(default=0)
    trigger = models.CharField(max_length=12, default="auto")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["session", "-through_seq"]
        constraints = [
            # also the index for the newest checkpoint of a session
            models.UniqueConstraint(fields=["session", "through_seq"], name="checkpoint_once"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} through {self.through_seq}"
