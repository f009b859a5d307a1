"""The connectors' rows as the first seven migrations leave them, for a fresh database."""

import django.db.models.deletion
import sessions_app.models.base
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("connectors_app", "0001_connectors"),
        ("connectors_app", "0002_deliveries"),
        ("connectors_app", "0003_observations"),
        ("connectors_app", "0004_telegram"),
        ("connectors_app", "0005_sidecars"),
        ("connectors_app", "0006_delivery_placement"),
        ("connectors_app", "0007_delivery_health"),
    ]

    initial = True

    dependencies = [
        ("sessions_app", "0001_squashed_0010_one_index_each"),
    ]

    operations = [
        migrations.CreateModel(
            name="Connector",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=100)),
                (
                    "source",
                    models.CharField(
                        choices=[("file", "File"), ("daemon", "Daemon")], default="daemon", max_length=10
                    ),
                ),
                ("settings", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("secrets", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("enabled", models.BooleanField(default=True)),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("paused_by", models.CharField(blank=True, default="", max_length=200)),
                ("revision", models.PositiveIntegerField(default=1)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["kind", "name"],
                "constraints": [models.UniqueConstraint(fields=("kind", "name"), name="connector_once")],
                "indexes": [],
            },
        ),
        migrations.CreateModel(
            name="BindingKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("key", models.TextField()),
                ("created_at", models.DateTimeField()),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bindings",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "connector",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="bindings",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="ChatIdentity",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("external_id", models.CharField(max_length=200)),
                ("principal", models.CharField(max_length=200)),
                (
                    "role",
                    models.CharField(
                        choices=[("viewer", "Viewer"), ("operator", "Operator"), ("admin", "Admin")],
                        max_length=10,
                    ),
                ),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="identities",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "chat identities",
                "ordering": ["connector", "external_id"],
                "constraints": [
                    models.UniqueConstraint(fields=("connector", "external_id"), name="chat_identity_once")
                ],
                "indexes": [],
            },
        ),
        migrations.CreateModel(
            name="IngressReceipt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=300)),
                ("fingerprint", models.CharField(max_length=64)),
                ("duplicates", models.PositiveIntegerField(default=0)),
                ("last_duplicate_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_at", models.DateTimeField()),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="receipts",
                        to="connectors_app.connector",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="receipts",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="receipts",
                        to="sessions_app.session",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["accepted_at"], name="ingress_receipt_age"),
                    models.Index(fields=["connector", "-id"], name="ingress_receipt_last"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("connector", "key"), name="ingress_receipt_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="IngressRefusal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=60)),
                ("count", models.PositiveIntegerField(default=0)),
                ("detail", models.CharField(blank=True, default="", max_length=500)),
                ("last_at", models.DateTimeField()),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="refusals",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "ordering": ["connector", "code"],
                "constraints": [
                    models.UniqueConstraint(fields=("connector", "code"), name="ingress_refusal_once")
                ],
                "indexes": [],
            },
        ),
        migrations.CreateModel(
            name="DeliveryTarget",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("name", models.CharField(max_length=100)),
                ("plugin", models.CharField(max_length=40)),
                ("connector_name", models.CharField(blank=True, default="", max_length=100)),
                ("sealed", models.TextField(editable=False)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("circuit_open_until", models.DateTimeField(blank=True, null=True)),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("paused_by", models.CharField(blank=True, default="", max_length=200)),
                ("next_at", models.DateTimeField(blank=True, null=True)),
                ("last_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("lease_owner", models.CharField(blank=True, default="", max_length=120)),
                ("lease_epoch", models.BigIntegerField(default=0)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("lease_owner", ""), ("paused_at", None)),
                        fields=["next_at"],
                        name="target_due",
                    ),
                    models.Index(
                        condition=models.Q(("lease_owner", ""), _negated=True),
                        fields=["lease_expires_at"],
                        name="target_leased",
                    ),
                    models.Index(fields=["plugin", "connector_name"], name="target_plugin"),
                    models.Index(
                        condition=models.Q(("paused_at__isnull", False)),
                        fields=["paused_at"],
                        name="target_paused",
                    ),
                    models.Index(
                        condition=models.Q(("circuit_open_until__isnull", False)),
                        fields=["circuit_open_until"],
                        name="target_circuit",
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
                        name="target_lease_whole",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("delivery_id", models.CharField(max_length=40, unique=True)),
                ("key", models.CharField(max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[("output", "Output"), ("notice", "Notice")], default="output", max_length=10
                    ),
                ),
                ("content", models.TextField(blank=True, default="")),
                ("parts", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("attachments", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("buttons", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("metadata", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("size_bytes", models.PositiveIntegerField(default=0)),
                ("parts_count", models.PositiveIntegerField(default=0)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sending", "Sending"),
                            ("retrying", "Retrying"),
                            ("delivered", "Delivered"),
                            ("dead_lettered", "Dead Lettered"),
                            ("unknown", "Unknown"),
                        ],
                        default="pending",
                        max_length=15,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("progress", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("last_error", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("terminal_error", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("reference", models.CharField(blank=True, default="", max_length=500)),
                ("detail", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("created_at", models.DateTimeField()),
                ("attempted_at", models.DateTimeField(blank=True, null=True)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("happened", "Happened"),
                            ("not_happened", "Not Happened"),
                            ("give_up", "Give Up"),
                        ],
                        default="",
                        max_length=15,
                    ),
                ),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("resolved_by", models.CharField(blank=True, default="", max_length=200)),
                ("resolution_reason", models.CharField(blank=True, default="", max_length=512)),
                (
                    "replayed_from",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="replays",
                        to="connectors_app.delivery",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="connectors_app.deliverytarget",
                    ),
                ),
                ("placement", sessions_app.models.base.JSONObject(blank=True, default=dict)),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "retrying", "sending"])),
                        fields=["target", "id"],
                        name="delivery_queue",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["dead_lettered", "unknown"])),
                        fields=["status", "-id"],
                        name="delivery_trouble",
                    ),
                    models.Index(
                        condition=models.Q(("settled_at__isnull", False)),
                        fields=["settled_at"],
                        name="delivery_age",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("target", "key"), name="delivery_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ["pending", "sending", "retrying", "delivered", "dead_lettered", "unknown"],
                            )
                        ),
                        name="delivery_status_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ObservationSource",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source_id", models.CharField(max_length=128, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("screen_snapshot", "Screen Snapshot"),
                            ("webcam_snapshot", "Webcam Snapshot"),
                            ("microphone_segment", "Microphone Segment"),
                            ("text_snapshot", "Text Snapshot"),
                            ("document", "Document"),
                        ],
                        max_length=24,
                    ),
                ),
                ("sensitive", models.BooleanField(default=True)),
                ("retention_days", models.PositiveIntegerField(default=7)),
                ("retention_count", models.PositiveIntegerField(default=512)),
                ("retention_bytes", models.BigIntegerField(default=536870912)),
                ("burst_count", models.PositiveIntegerField(default=120)),
                ("burst_seconds", models.PositiveIntegerField(default=60)),
                ("allow_raw_purge", models.BooleanField(default=False)),
                ("allow_materialization", models.BooleanField(default=True)),
                ("allow_output_delivery", models.BooleanField(default=False)),
                ("disabled_at", models.DateTimeField(blank=True, null=True)),
                ("revision", models.PositiveIntegerField(default=1)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["source_id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="MaterializationSchedule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("schedule_id", models.CharField(max_length=40, unique=True)),
                ("interval_seconds", models.PositiveIntegerField()),
                ("prompt", models.TextField()),
                ("options", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("new_only", models.BooleanField(default=True)),
                ("seen_through", models.BigIntegerField(default=0)),
                ("next_due_at", models.DateTimeField()),
                ("last_fired_at", models.DateTimeField(blank=True, null=True)),
                ("last_outcome", models.CharField(blank=True, default="", max_length=60)),
                ("last_detail", models.CharField(blank=True, default="", max_length=500)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "last_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="observation_schedules",
                        to="sessions_app.session",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="schedules",
                        to="connectors_app.observationsource",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["next_due_at"], name="observation_schedule_due")],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="ObservationToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("token_id", models.CharField(max_length=40, unique=True)),
                ("secret_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tokens",
                        to="connectors_app.observationsource",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="Materialization",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("materialization_id", models.CharField(max_length=40, unique=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("selector", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("observation_ids", sessions_app.models.base.JSONObject(blank=True, default=list)),
                ("requested_by", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="materialization",
                        to="sessions_app.run",
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="materializations",
                        to="connectors_app.materializationschedule",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(fields=("schedule", "due_at"), name="materialization_once")
                ],
                "indexes": [],
            },
        ),
        migrations.CreateModel(
            name="Observation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("observation_id", models.CharField(max_length=40, unique=True)),
                ("key", models.CharField(max_length=200)),
                ("fingerprint", models.CharField(max_length=64)),
                ("media_type", models.CharField(max_length=100)),
                ("file_name", models.CharField(blank=True, default="", max_length=200)),
                ("sha256", models.CharField(max_length=64)),
                ("size_bytes", models.BigIntegerField()),
                ("stream_id", models.CharField(blank=True, default="", max_length=128)),
                ("capture_group_id", models.CharField(blank=True, default="", max_length=128)),
                ("metadata", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("captured_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("purged_at", models.DateTimeField(blank=True, null=True)),
                (
                    "purge_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("age", "Age"),
                            ("count", "Count"),
                            ("bytes", "Bytes"),
                            ("request", "Request"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="observations",
                        to="sessions_app.asset",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="observations",
                        to="connectors_app.observationsource",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["source", "received_at"], name="observation_received"),
                    models.Index(
                        condition=models.Q(("purged_at__isnull", True)),
                        fields=["source", "-id"],
                        name="observation_kept",
                    ),
                    models.Index(
                        condition=models.Q(("capture_group_id", ""), _negated=True),
                        fields=["capture_group_id"],
                        name="observation_group",
                    ),
                    models.Index(
                        condition=models.Q(("purged_at__isnull", False)),
                        fields=["purged_at"],
                        name="observation_purged",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("source", "key"), name="observation_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("asset__isnull", False), ("purged_at__isnull", True)),
                            models.Q(("asset__isnull", True), ("purged_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="observation_whole_or_purged",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TelegramOffset",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("bot_id", models.CharField(max_length=40)),
                ("next_update_id", models.BigIntegerField()),
                ("saved_at", models.DateTimeField()),
                (
                    "connector",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="telegram_offset",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="TelegramAcknowledgement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("query_id", models.CharField(max_length=100)),
                ("acknowledged_at", models.DateTimeField()),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="telegram_acknowledgements",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["connector", "acknowledged_at"], name="telegram_acknowledged_age")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connector", "query_id"), name="telegram_acknowledged_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SidecarState",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("starting", "Starting"),
                            ("running", "Running"),
                            ("backoff", "Backoff"),
                            ("failed", "Failed"),
                            ("stopped", "Stopped"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                ("instance_id", models.CharField(blank=True, default="", max_length=200)),
                ("manifest", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("last_error", models.CharField(blank=True, default="", max_length=500)),
                ("restarts", models.PositiveIntegerField(default=0)),
                ("worker", models.CharField(blank=True, default="", max_length=200)),
                ("pid", models.PositiveIntegerField(default=0)),
                ("since", models.DateTimeField()),
                (
                    "connector",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sidecar",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "ordering": ["connector"],
                "indexes": [],
                "constraints": [],
            },
        ),
        migrations.CreateModel(
            name="ConnectorLease",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lease_id", models.CharField(max_length=40, unique=True)),
                ("grant_id", models.CharField(max_length=40)),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                ("slots", sessions_app.models.base.JSONObject(blank=True, default=dict)),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="leases",
                        to="connectors_app.connector",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["connector", "expires_at"], name="connector_lease_life")],
                "constraints": [],
            },
        ),
    ]
