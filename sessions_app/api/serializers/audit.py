"""The ledger of external actions: queries and answers."""

from rest_framework import serializers

from sessions_app.api.serializers.base import Choice, PageQuery, Query, Text
from sessions_app.models import ActionKind, ActionPhase


class ActionQuery(PageQuery):
    """Filters of the list of external actions."""

    session_id = Text(required=False, max_length=200)
    run_id = Text(required=False, max_length=200)
    kind = Choice(choices=ActionKind.values, required=False)


class ExportQuery(Query):
    """Which chain to export."""

    bucket = Text(required=False, max_length=240, help_text="A session's id, or `unscoped`, the default.")


class ExternalActionView(serializers.Serializer):
    """One signed record, as it is exported. Text that has nothing to say is empty."""

    action_id = serializers.CharField(help_text="The same as `record_hash`.")
    version = serializers.IntegerField()
    bucket = serializers.CharField(help_text="The chain: a session's id, or `unscoped`.")
    seq = serializers.IntegerField(help_text="Its place in the chain, from 1.")
    at = serializers.DateTimeField()
    session_id = serializers.CharField(allow_blank=True)
    run_id = serializers.CharField(allow_blank=True)
    tool_call_id = serializers.CharField(allow_blank=True)
    delivery_id = serializers.CharField(allow_blank=True)
    principal_id = serializers.CharField(allow_blank=True, help_text="Who asked for it.")
    grant_id = serializers.CharField(
        allow_blank=True, help_text="What allowed it, `approval:…` and the like."
    )
    phase = serializers.ChoiceField(choices=ActionPhase.values)
    kind = serializers.ChoiceField(choices=ActionKind.values)
    target = serializers.CharField(help_text="A tool's name, or the digest of an address.")
    request_digest = serializers.CharField(allow_blank=True)
    response_digest = serializers.CharField(allow_blank=True)
    outcome = serializers.CharField(allow_blank=True)
    prev_hash = serializers.CharField()
    record_hash = serializers.CharField()
    signature_alg = serializers.CharField()
    key_id = serializers.CharField(help_text="The public key, hex.")
    signature = serializers.CharField()


class AuditLogQuery(PageQuery):
    """Filters of the audit log."""

    principal = Text(required=False, max_length=200)
    action = Text(required=False, max_length=60)
    object_kind = Text(required=False, max_length=40)
    object_id = Text(required=False, max_length=240)


class AuditEntryView(serializers.Serializer):
    """One deed. `before` and `after` hold what changed; a secret's value is in neither."""

    entry_id = serializers.CharField()
    at = serializers.DateTimeField()
    principal = serializers.CharField()
    role = serializers.CharField(allow_blank=True)
    auth_method = serializers.CharField(allow_blank=True)
    remote_addr = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField(allow_blank=True)
    action = serializers.CharField(help_text="`persona.updated`, `token.revoked`, `run.exported_unredacted`.")
    object_kind = serializers.CharField()
    object_id = serializers.CharField()
    before = serializers.DictField()
    after = serializers.DictField()
    reason = serializers.CharField(allow_blank=True)


class AuditKeyView(serializers.Serializer):
    """What verifies the records that are signed from now on."""

    signature_alg = serializers.CharField()
    public_key = serializers.CharField(help_text="32 bytes in hex.")
