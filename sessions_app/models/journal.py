"""The journal: history, recovery source, stream and audit trail in one table."""

from django.db import models

from sessions_app.models.base import JSONObject, name_field
from sessions_app.models.session import Session


class JournalEntry(models.Model):
    """One fact. Written only by ``services/writes``, never updated or deleted.

    ``seq`` is dense per session. ``digest`` covers the entry, ``hash`` chains it to the one before (rule in
    ``services/journal.py``). ``commit_order`` is the writing transaction's id on PostgreSQL, where
    row ids are not commit-ordered, and no less than that of the entry before; 0 on SQLite, where they are.
    Readers of all sessions order by (commit_order, id).
    """

    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="entries", db_index=False)
    seq = models.BigIntegerField()
    run_id = models.BigIntegerField(null=True, blank=True)
    kind = name_field(length=40)
    version = models.PositiveSmallIntegerField(default=1)
    payload = JSONObject()
    digest = models.CharField(max_length=64)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    commit_order = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["session", "seq"]
        verbose_name_plural = "journal entries"
        constraints = [
            # also the index of every read of one session's entries after a sequence number
            models.UniqueConstraint(fields=["session", "seq"], name="journal_dense"),
        ]
        indexes = [
            # one run's events: WHERE run_id = ? AND seq > ? ORDER BY seq
            models.Index(fields=["run_id", "seq"], name="journal_run"),
            # all sessions' events: WHERE (commit_order, id) > (?, ?) ORDER BY commit_order, id
            models.Index(fields=["commit_order", "id"], name="journal_feed"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}#{self.seq} {self.kind}"
