"""Personas: instructions that sessions bind as a snapshot."""

from django.db import models

from sessions_app.models.base import JSONObject, name_field


class Persona(models.Model):
    """A named role. Born when an operator writes it; every edit adds a revision and moves ``current``.

    It dies only by being retired: sessions may still bind one of its revisions.
    """

    persona_id = name_field(unique=True)
    owner = name_field(blank=True, default="")
    current = models.PositiveIntegerField(default=1)
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["persona_id"]

    def __str__(self) -> str:
        return self.persona_id


class PersonaRevision(models.Model):
    """One immutable version of a persona; a session's binding points here and never follows."""

    persona = models.ForeignKey(Persona, on_delete=models.PROTECT, related_name="revisions")
    revision = models.PositiveIntegerField()
    display_name = name_field()
    soul = models.TextField(blank=True, default="")
    capability_scope = JSONObject()
    default_skills = JSONObject(default=list)
    metadata = JSONObject()
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["persona", "-revision"]
        constraints = [
            models.UniqueConstraint(fields=["persona", "revision"], name="persona_revision_once"),
        ]

    def __str__(self) -> str:
        return f"{self.persona.persona_id} r{self.revision}"
