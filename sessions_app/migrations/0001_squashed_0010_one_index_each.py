"""The core's rows as the first ten migrations leave them, for a fresh database: a fraction of their work."""

import django.db.models.deletion
import sessions_app.models.base
from django.conf import settings
from django.db import migrations, models
from sessions_app.migrations._journal_chain import create, drop


class Migration(migrations.Migration):
    replaces = [
        ("sessions_app", "0001_initial_rows"),
        ("sessions_app", "0002_journal_chain"),
        ("sessions_app", "0003_reply_targets_pinned"),
        ("sessions_app", "0004_assets"),
        ("sessions_app", "0005_external_actions"),
        ("sessions_app", "0006_approval_risk_and_rights"),
        ("sessions_app", "0007_audit_log"),
        ("sessions_app", "0008_search_by_key"),
        ("sessions_app", "0009_logins"),
        ("sessions_app", "0010_one_index_each"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("token_id", models.CharField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=200)),
                (
                    "role",
                    models.CharField(
                        choices=[("viewer", "Viewer"), ("operator", "Operator"), ("admin", "Admin")],
                        max_length=10,
                    ),
                ),
                ("secret_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("rights", sessions_app.models.base.JSONObject(blank=True, default=list)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="Persona",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("persona_id", models.CharField(max_length=200, unique=True)),
                ("owner", models.CharField(blank=True, default="", max_length=200)),
                ("current", models.PositiveIntegerField(default=1)),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["persona_id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="RuntimeRevision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.PositiveIntegerField(unique=True)),
                ("setting", models.CharField(max_length=40)),
                ("values", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-revision"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="SecretSlot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("slot_id", models.CharField(max_length=200, unique=True)),
                ("provider", models.CharField(blank=True, default="", max_length=200)),
                ("mode", models.CharField(default="api_key", max_length=30)),
                ("sealed", models.TextField(editable=False)),
                ("revision", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["slot_id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="StoredResult",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sha256", models.CharField(max_length=64, unique=True)),
                ("content", models.TextField()),
                ("size_bytes", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="TickLease",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, unique=True)),
                ("owner", models.CharField(blank=True, default="", max_length=120)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120, unique=True)),
                ("host", models.CharField(max_length=200)),
                ("pid", models.IntegerField()),
                ("pid_started", models.CharField(max_length=40)),
                ("slots", models.PositiveIntegerField(default=0)),
                ("draining", models.BooleanField(default=False)),
                ("started_at", models.DateTimeField()),
                ("heartbeat_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "ordering": ["name"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("principal", models.CharField(max_length=200)),
                ("key_digest", models.CharField(max_length=64)),
                ("fingerprint", models.CharField(max_length=64)),
                ("status", models.PositiveSmallIntegerField()),
                ("body", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("headers", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["created_at"], name="idempotency_age"),
                    models.Index(fields=["key_digest", "-id"], name="idempotency_key"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("principal", "key_digest"), name="idempotency_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="PersonaRevision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.PositiveIntegerField()),
                ("display_name", models.CharField(max_length=200)),
                ("soul", models.TextField(blank=True, default="")),
                ("capability_scope", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("default_skills", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("metadata", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "persona",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="revisions",
                        to="sessions_app.persona",
                    ),
                ),
            ],
            options={
                "ordering": ["persona", "-revision"],
                "indexes": [],
                "constraints": [
                    models.UniqueConstraint(fields=("persona", "revision"), name="persona_revision_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("route_id", models.CharField(max_length=200, unique=True)),
                ("driver", models.CharField(max_length=40)),
                ("base_url", models.CharField(blank=True, default="", max_length=500)),
                ("model", models.CharField(blank=True, default="", max_length=200)),
                ("auth_ref", models.CharField(blank=True, default="", max_length=200)),
                ("fallbacks", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("options", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("is_default", models.BooleanField(default=False)),
                ("revision", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["route_id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("is_default",),
                        name="route_one_default",
                    )
                ],
                "indexes": [],
            },
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("session_id", models.CharField(max_length=200, unique=True)),
                ("thread_id", models.CharField(blank=True, default="", max_length=200)),
                ("persona_bound_at", models.DateTimeField(blank=True, null=True)),
                ("route_policy", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("permission_mode", models.CharField(blank=True, default="", max_length=30)),
                ("permission_rules", sessions_app.models.base.JSONObject(blank=True, default=list)),
                (
                    "unknown_effects",
                    models.CharField(choices=[("ask", "Ask"), ("tell", "Tell")], default="ask", max_length=8),
                ),
                ("capability_scope", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("credential_scope", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("reply_targets", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("binding_keys", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("todos", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("workspace", models.CharField(max_length=300)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("revision", models.PositiveIntegerField(default=1)),
                ("next_seq", models.BigIntegerField(default=1)),
                (
                    "last_hash",
                    models.CharField(
                        default="0000000000000000000000000000000000000000000000000000000000000000",
                        max_length=64,
                    ),
                ),
                ("next_position", models.BigIntegerField(default=1)),
                ("queued_runs", models.PositiveIntegerField(default=0)),
                ("blocked", models.BooleanField(default=False)),
                ("lease_owner", models.CharField(blank=True, default="", max_length=120)),
                ("lease_epoch", models.BigIntegerField(default=0)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("end_reason", models.CharField(blank=True, default="", max_length=200)),
                (
                    "persona",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="sessions_app.personarevision",
                    ),
                ),
                ("reply_targets_pinned", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("blocked", False), ("lease_owner", ""), ("queued_runs__gt", 0)),
                        fields=["id"],
                        name="session_ready",
                    ),
                    models.Index(
                        condition=models.Q(("lease_owner", ""), _negated=True),
                        fields=["lease_expires_at"],
                        name="session_leased",
                    ),
                    models.Index(
                        condition=models.Q(("persona__isnull", False)),
                        fields=["persona"],
                        name="session_by_persona",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_expires_at__isnull", True), ("lease_owner", "")),
                            models.Q(
                                models.Q(("lease_owner", ""), _negated=True),
                                ("lease_expires_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="session_lease_whole",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("run_id", models.CharField(max_length=40, unique=True)),
                ("position", models.BigIntegerField()),
                ("kind", models.CharField(default="input", max_length=40)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("waiting_for_approval", "Waiting For Approval"),
                            ("waiting_for_user_question", "Waiting For User Question"),
                            ("waiting_for_operator", "Waiting For Operator"),
                            ("waiting_for_budget", "Waiting For Budget"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("interrupted", "Interrupted"),
                        ],
                        default="queued",
                        max_length=30,
                    ),
                ),
                ("route_id", models.CharField(max_length=200)),
                ("model", models.CharField(blank=True, default="", max_length=200)),
                ("fallbacks", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("generation", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("permission_mode", models.CharField(max_length=30)),
                ("runtime_revision", models.PositiveIntegerField(default=0)),
                ("reply_targets", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("source_plugin", models.CharField(default="daemon", max_length=60)),
                ("source_kind", models.CharField(default="api", max_length=60)),
                ("actor_id", models.CharField(default="api-user", max_length=200)),
                ("requested_by", models.CharField(blank=True, default="", max_length=200)),
                ("input_items", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("input_message", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("metadata", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("step", models.PositiveIntegerField(default=0)),
                ("max_steps", models.PositiveIntegerField(default=0)),
                ("input_tokens", models.BigIntegerField(default=0)),
                ("output_tokens", models.BigIntegerField(default=0)),
                ("recovered_count", models.PositiveIntegerField(default=0)),
                ("stop_requested", models.CharField(blank=True, default="", max_length=12)),
                ("stop_requested_by", models.CharField(blank=True, default="", max_length=200)),
                ("stop_reason", models.CharField(blank=True, default="", max_length=500)),
                ("outputs", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("error", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("submitted_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "persona",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="sessions_app.personarevision",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="sessions_app.session",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "queued",
                                    "running",
                                    "waiting_for_approval",
                                    "waiting_for_budget",
                                    "waiting_for_operator",
                                    "waiting_for_user_question",
                                ],
                            )
                        ),
                        fields=["session", "position"],
                        name="run_live",
                    ),
                    models.Index(fields=["status", "-id"], name="run_by_status"),
                    models.Index(
                        condition=models.Q(("persona__isnull", False)),
                        fields=["persona"],
                        name="run_by_persona",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("session", "position"), name="run_position_once"),
                    models.UniqueConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "running",
                                    "waiting_for_approval",
                                    "waiting_for_budget",
                                    "waiting_for_operator",
                                    "waiting_for_user_question",
                                ],
                            )
                        ),
                        fields=("session",),
                        name="run_one_active",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "queued",
                                    "running",
                                    "waiting_for_approval",
                                    "waiting_for_user_question",
                                    "waiting_for_operator",
                                    "waiting_for_budget",
                                    "completed",
                                    "failed",
                                    "cancelled",
                                    "interrupted",
                                ],
                            )
                        ),
                        name="run_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("stop_requested__in", ["", "cancelled", "interrupted"])),
                        name="run_stop_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JournalEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seq", models.BigIntegerField()),
                ("run_id", models.BigIntegerField(blank=True, null=True)),
                ("kind", models.CharField(max_length=40)),
                ("version", models.PositiveSmallIntegerField(default=1)),
                ("payload", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("digest", models.CharField(max_length=64)),
                ("prev_hash", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
                ("commit_order", models.BigIntegerField(default=0)),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="sessions_app.session",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "journal entries",
                "ordering": ["session", "seq"],
                "indexes": [
                    models.Index(fields=["run_id", "seq"], name="journal_run"),
                    models.Index(fields=["commit_order", "id"], name="journal_feed"),
                ],
                "constraints": [models.UniqueConstraint(fields=("session", "seq"), name="journal_dense")],
            },
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("through_seq", models.BigIntegerField()),
                ("summary", models.TextField()),
                ("restoration", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("tokens_before", models.PositiveIntegerField(default=0)),
                ("tokens_after", models.PositiveIntegerField(default=0)),
                ("trigger", models.CharField(default="auto", max_length=12)),
                ("created_at", models.DateTimeField()),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="checkpoints",
                        to="sessions_app.session",
                    ),
                ),
            ],
            options={
                "ordering": ["session", "-through_seq"],
                "indexes": [],
                "constraints": [
                    models.UniqueConstraint(fields=("session", "through_seq"), name="checkpoint_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("attempt", models.PositiveIntegerField(default=1)),
                (
                    "status",
                    models.CharField(
                        choices=[("started", "Started"), ("answered", "Answered"), ("failed", "Failed")],
                        default="started",
                        max_length=10,
                    ),
                ),
                ("route_id", models.CharField(blank=True, default="", max_length=200)),
                ("model", models.CharField(blank=True, default="", max_length=200)),
                ("input_tokens", models.PositiveIntegerField(default=0)),
                ("output_tokens", models.PositiveIntegerField(default=0)),
                ("usage_estimated", models.BooleanField(default=False)),
                ("latency_ms", models.PositiveIntegerField(default=0)),
                ("provider_request_id", models.CharField(blank=True, default="", max_length=200)),
                ("finish_reason", models.CharField(blank=True, default="", max_length=30)),
                ("error", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="steps",
                        to="sessions_app.run",
                    ),
                ),
            ],
            options={
                "ordering": ["run", "number"],
                "indexes": [],
                "constraints": [models.UniqueConstraint(fields=("run", "number"), name="step_once")],
            },
        ),
        migrations.CreateModel(
            name="ToolCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("call_id", models.CharField(max_length=40, unique=True)),
                ("index", models.PositiveSmallIntegerField()),
                ("provider_call_id", models.CharField(blank=True, default="", max_length=200)),
                ("tool_name", models.CharField(max_length=200)),
                ("effect", models.CharField(max_length=12)),
                ("arguments", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("digest", models.CharField(max_length=64)),
                ("idempotency_key", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("planned", "Planned"),
                            ("awaiting_approval", "Awaiting Approval"),
                            ("started", "Started"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("denied", "Denied"),
                            ("unknown", "Unknown"),
                            ("reconciled", "Reconciled"),
                        ],
                        default="planned",
                        max_length=20,
                    ),
                ),
                ("permission", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("prepared", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("content", models.TextField(blank=True, default="")),
                ("is_error", models.BooleanField(default=False)),
                ("error_code", models.CharField(blank=True, default="", max_length=60)),
                ("data", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tool_calls",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "step",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tool_calls",
                        to="sessions_app.step",
                    ),
                ),
                (
                    "stored",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="sessions_app.storedresult",
                    ),
                ),
            ],
            options={
                "ordering": ["step", "index"],
                "indexes": [models.Index(fields=["run", "state"], name="tool_call_open")],
                "constraints": [
                    models.UniqueConstraint(fields=("step", "index"), name="tool_call_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "planned",
                                    "awaiting_approval",
                                    "started",
                                    "succeeded",
                                    "failed",
                                    "denied",
                                    "unknown",
                                    "reconciled",
                                ],
                            )
                        ),
                        name="tool_call_state_known",
                    ),
                ],
                "permissions": [
                    ("view_unredacted", "Can look at exact arguments and results; each look is recorded")
                ],
            },
        ),
        migrations.CreateModel(
            name="ShellTask",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("task_id", models.CharField(max_length=40, unique=True)),
                ("command", models.TextField()),
                ("description", models.TextField(blank=True, default="")),
                ("background", models.BooleanField(default=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("in_progress", "In Progress"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="in_progress",
                        max_length=12,
                    ),
                ),
                ("worker", models.CharField(max_length=120)),
                ("pid", models.IntegerField(blank=True, null=True)),
                ("exit_code", models.IntegerField(blank=True, null=True)),
                ("stop_requested_at", models.DateTimeField(blank=True, null=True)),
                ("stop_reason", models.CharField(blank=True, default="", max_length=500)),
                ("output_total_bytes", models.BigIntegerField(default=0)),
                ("output_size_bytes", models.BigIntegerField(default=0)),
                ("output_rotated", models.BooleanField(default=False)),
                ("metadata", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "tool_call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="sessions_app.toolcall",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "in_progress")), fields=["worker"], name="task_live"
                    ),
                    models.Index(fields=["session", "-id"], name="task_by_session"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["in_progress", "completed", "failed", "cancelled"])
                        ),
                        name="task_status_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TaskOutput",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("offset", models.BigIntegerField()),
                ("text", models.TextField()),
                ("size_bytes", models.PositiveIntegerField()),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="sessions_app.shelltask",
                    ),
                ),
            ],
            options={
                "ordering": ["task", "offset"],
                "indexes": [],
                "constraints": [models.UniqueConstraint(fields=("task", "offset"), name="task_output_once")],
            },
        ),
        migrations.CreateModel(
            name="OperatorDecision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("decision_id", models.CharField(max_length=40, unique=True)),
                ("partial_output", models.TextField(blank=True, default="")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("resolved", "Resolved"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("happened", "it happened"),
                            ("not_happened", "it did not, run it"),
                            ("tell_agent", "tell the agent"),
                            ("give_up", "give up"),
                        ],
                        default="",
                        max_length=14,
                    ),
                ),
                ("note", models.TextField(blank=True, default="")),
                ("result", models.TextField(blank=True, default="")),
                ("resolved_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "tool_call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="sessions_app.toolcall",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["-id"], name="decision_inbox"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("tool_call",),
                        name="decision_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["pending", "resolved", "cancelled"])),
                        name="decision_status_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("approval_id", models.CharField(max_length=40, unique=True)),
                ("tool_name", models.CharField(max_length=200)),
                ("arguments", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("digest", models.CharField(max_length=64)),
                ("reason", models.TextField(blank=True, default="")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("allowed", "Allowed"),
                            ("denied", "Denied"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("required_votes", models.PositiveSmallIntegerField(default=1)),
                ("roles", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("requester_may_vote", models.BooleanField(default=True)),
                ("decision", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "tool_call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to="sessions_app.toolcall",
                    ),
                ),
                (
                    "risk",
                    models.CharField(
                        choices=[("low", "Low"), ("medium", "Medium"), ("high", "High")],
                        default="high",
                        max_length=6,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["-id"], name="approval_inbox"
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["expires_at"],
                        name="approval_expiry",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("tool_call",),
                        name="approval_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "allowed", "denied", "expired", "cancelled"])
                        ),
                        name="approval_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("risk__in", ["low", "medium", "high"])),
                        name="approval_risk_known",
                    ),
                ],
                "permissions": [("decide_high_risk", "Can approve calls of high risk")],
            },
        ),
        migrations.CreateModel(
            name="UserQuestion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("question_id", models.CharField(max_length=40, unique=True)),
                ("questions", sessions_app.models.base.JSONObject(blank=True, default=list)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("answered", "Answered"),
                            ("declined", "Declined"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("answers", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("justification", models.TextField(blank=True, default="")),
                ("resolved_by", models.CharField(blank=True, default="", max_length=200)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="questions",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="questions",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "tool_call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="questions",
                        to="sessions_app.toolcall",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["-id"], name="question_inbox"
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["expires_at"],
                        name="question_expiry",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("tool_call",),
                        name="question_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "answered", "declined", "expired", "cancelled"])
                        ),
                        name="question_status_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApprovalVote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("principal", models.CharField(max_length=200)),
                ("behavior", models.CharField(max_length=8)),
                ("digest", models.CharField(max_length=64)),
                ("justification", models.TextField(blank=True, default="")),
                ("reason", models.TextField(blank=True, default="")),
                ("auth_method", models.CharField(blank=True, default="", max_length=30)),
                ("remote_addr", models.CharField(blank=True, default="", max_length=64)),
                ("voided_at", models.DateTimeField(blank=True, null=True)),
                ("at", models.DateTimeField()),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="votes",
                        to="sessions_app.approval",
                    ),
                ),
            ],
            options={
                "ordering": ["approval", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("voided_at__isnull", True)),
                        fields=("approval", "principal"),
                        name="approval_vote_once",
                    )
                ],
                "indexes": [],
            },
        ),
        migrations.CreateModel(
            name="AssetBlob",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sha256", models.CharField(max_length=64, unique=True)),
                ("content", models.BinaryField()),
                ("size_bytes", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="Asset",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("asset_id", models.CharField(max_length=40, unique=True)),
                ("media_type", models.CharField(max_length=100)),
                ("file_name", models.CharField(max_length=200)),
                ("sha256", models.CharField(max_length=64)),
                ("size_bytes", models.PositiveIntegerField()),
                ("text_sha256", models.CharField(blank=True, default="", max_length=64)),
                ("text_size_bytes", models.PositiveIntegerField(default=0)),
                ("text_note", models.CharField(blank=True, default="", max_length=200)),
                ("view_sha256", models.CharField(blank=True, default="", max_length=64)),
                ("view_media_type", models.CharField(blank=True, default="", max_length=100)),
                ("image_width", models.PositiveIntegerField(blank=True, null=True)),
                ("image_height", models.PositiveIntegerField(blank=True, null=True)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField()),
                ("touched_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                ("deleted_by", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("text_sha256", ""), _negated=True),
                        fields=["text_sha256"],
                        name="asset_text",
                    ),
                    models.Index(
                        condition=models.Q(("view_sha256", ""), _negated=True),
                        fields=["view_sha256"],
                        name="asset_view",
                    ),
                    models.Index(
                        condition=models.Q(("deleted_at", None)), fields=["touched_at"], name="asset_touched"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("deleted_at", None)),
                        fields=("sha256", "media_type"),
                        name="asset_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AssetReference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("domain", models.CharField(max_length=40)),
                ("owner_id", models.CharField(max_length=200)),
                ("parent_id", models.CharField(blank=True, default="", max_length=200)),
                ("role", models.CharField(max_length=40)),
                ("hard", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="references",
                        to="sessions_app.asset",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["domain", "owner_id"], name="asset_reference_owner")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("asset", "domain", "owner_id", "role"), name="asset_reference_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ActionChain",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("bucket", models.CharField(max_length=240, unique=True)),
                ("count", models.BigIntegerField(default=0)),
                ("head", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
                ("key_id", models.CharField(max_length=64)),
                ("signature", models.CharField(max_length=128)),
            ],
            options={
                "ordering": ["bucket"],
                "indexes": [
                    models.Index(fields=["at"], name="action_chain_age"),
                    models.Index(fields=["key_id"], name="action_chain_key"),
                ],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="ExternalAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveSmallIntegerField(default=1)),
                ("bucket", models.CharField(max_length=240)),
                ("seq", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("session_id", models.CharField(blank=True, default="", max_length=200)),
                ("run_id", models.CharField(blank=True, default="", max_length=40)),
                ("tool_call_id", models.CharField(blank=True, default="", max_length=40)),
                ("delivery_id", models.CharField(blank=True, default="", max_length=40)),
                ("principal_id", models.CharField(blank=True, default="", max_length=200)),
                ("grant_id", models.CharField(blank=True, default="", max_length=500)),
                (
                    "phase",
                    models.CharField(
                        choices=[("started", "Started"), ("finished", "Finished")], max_length=8
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("tool", "Tool"),
                            ("delivery", "Delivery"),
                            ("webhook_answer", "Webhook Answer"),
                            ("mcp", "Mcp"),
                        ],
                        max_length=20,
                    ),
                ),
                ("target", models.CharField(max_length=300)),
                ("request_digest", models.CharField(blank=True, default="", max_length=64)),
                ("response_digest", models.CharField(blank=True, default="", max_length=64)),
                ("outcome", models.CharField(blank=True, default="", max_length=80)),
                ("prev_hash", models.CharField(max_length=64)),
                ("record_hash", models.CharField(max_length=64)),
                ("signature_alg", models.CharField(max_length=10)),
                ("key_id", models.CharField(max_length=64)),
                ("signature", models.CharField(max_length=128)),
            ],
            options={
                "ordering": ["bucket", "seq"],
                "indexes": [
                    models.Index(fields=["run_id", "seq"], name="external_action_run"),
                    models.Index(fields=["kind", "-id"], name="external_action_kind"),
                    models.Index(fields=["session_id", "-id"], name="external_action_session"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("bucket", "seq"), name="external_action_dense"),
                    models.CheckConstraint(
                        condition=models.Q(("phase__in", ["started", "finished"])),
                        name="external_action_phase_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["tool", "delivery", "webhook_answer", "mcp"])),
                        name="external_action_kind_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("entry_id", models.CharField(max_length=40, unique=True)),
                ("at", models.DateTimeField()),
                ("principal", models.CharField(blank=True, default="", max_length=200)),
                ("role", models.CharField(blank=True, default="", max_length=10)),
                ("auth_method", models.CharField(blank=True, default="", max_length=30)),
                ("remote_addr", models.CharField(blank=True, default="", max_length=64)),
                ("request_id", models.CharField(blank=True, default="", max_length=64)),
                ("action", models.CharField(max_length=60)),
                ("object_kind", models.CharField(max_length=40)),
                ("object_id", models.CharField(max_length=240)),
                ("before", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("after", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("reason", models.CharField(blank=True, default="", max_length=1000)),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["object_kind", "object_id", "-id"], name="audit_object"),
                    models.Index(fields=["principal", "-id"], name="audit_principal"),
                    models.Index(fields=["action", "-id"], name="audit_action"),
                    models.Index(fields=["at"], name="audit_age"),
                ],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="LoginThrottle",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("account", models.CharField(blank=True, default="", max_length=150)),
                ("address", models.CharField(blank=True, default="", max_length=64)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("last_at", models.DateTimeField()),
                ("blocked_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["-last_at"],
                "indexes": [models.Index(fields=["last_at"], name="login_throttle_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("account", "address"), name="login_throttle_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="SecondFactor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sealed", models.TextField(editable=False)),
                ("last_step", models.BigIntegerField(default=0)),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="second_factor",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.RunPython(create, drop),
    ]
