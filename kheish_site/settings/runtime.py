"""``settings.KHEISH``: everything about the runtime that an operator may choose, read once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kheish_site.settings import deliveries, env, keys
from kheish_site.settings.deliveries import Deliveries

BASH_ENVIRONMENT = ("PATH", "HOME", "USER", "SHELL", "LANG", "LC_ALL", "TERM", "TZ", "TMPDIR")
ENVELOPE_BYTES = 65_536
"""What a body has around a file: names, and JSON."""


@dataclass(frozen=True, kw_only=True)
class Kheish:
    """The configuration of one installation. URLs and keys are left out of ``repr``."""

    state_dir: Path
    """Holds the keys, the database of the embedded profile, the lock and the workspaces; mode 0700."""
    database_url: str = field(repr=False)
    """PostgreSQL URL of the services profile; "" is SQLite in the state folder."""
    database_connections: int
    """Connections to PostgreSQL one process opens at most; 0 is one for each worker thread and eight more."""
    prepared_statements: bool
    """Lets PostgreSQL keep prepared statements; off behind a pooler that cannot (old PgBouncer)."""
    redis_url: str = field(repr=False)
    """Redis URL of the services profile; "" is one machine: SQLite and processes that watch its file."""
    master_keys: tuple[str, ...] = field(repr=False)
    """Fernet keys that seal secrets at rest, newest first."""
    master_key_file: Path
    """Where ``master_keys`` were read from, unless the environment held them."""
    master_keys_in_environment: bool
    """True when ``KHEISH_MASTER_KEY`` holds the keys themselves."""
    audit_signing_key: str = field(repr=False)
    """Ed25519 key that signs the external-action ledger: 32 bytes in base64."""
    workspace_root: Path
    """One folder per session is made below it."""
    routes_file: Path | None
    """TOML file of routes and secret slots, loaded at start."""
    connectors_file: Path | None
    """TOML file of connectors, loaded at start and when it changes."""
    keep_receipts_days: float
    """How long an accepted event is known, so that a repeat makes no second run; 0 is for ever."""
    service_url: str
    """Where child processes of the workers reach this service; ``serve`` says it to its workers."""
    lease_seconds: float
    """How long a worker may be silent before another one takes its sessions over."""
    sweep_seconds: float
    """How often a worker looks for work whose wake-up was lost, and for expired leases."""
    drain_seconds: float
    """How long steps in flight may go on after the service was asked to stop."""
    max_turns: int
    """Model calls a run may make before it fails with ``turn_limit``."""
    worker_threads: int
    """Runs one worker process drives at once; they mostly wait for the network."""
    web_processes: int
    """Web processes ``serve`` starts on one socket; more than one needs Redis."""
    worker_processes: int
    """Worker processes ``serve`` starts; more than one needs Redis."""
    stream_max_seconds: float
    """Age at which a stream is closed; its client resumes where it was."""
    stream_max_bytes: int
    """What a stream may send before it is closed; the server buffers it for a client that does not read."""
    public_url: str
    """Where people reach the console, for links in what is sent to them; "" is no link."""
    cors_origins: tuple[str, ...]
    """Pages of other sites that may use the API with a token; loopback only, empty is any loopback page."""
    environment: str
    """What the console's ribbon calls this installation, "staging" for instance; "" shows none."""
    max_body_bytes: int
    """Largest request body that is read."""
    max_asset_bytes: int
    """Largest file that is stored as an asset."""
    web_fetch_allow_private: bool
    """Lets web_fetch reach loopback and private addresses: for tests on one machine only."""
    bash_env_allowlist: tuple[str, ...]
    """Names of environment variables that shell commands may see."""
    four_eyes: bool
    """Whoever started a run may not approve its calls of high risk."""
    reason_required: tuple[str, ...]
    """Which decisions want a reason: ``deny``, ``high`` (any decision on a call of high risk)."""
    approval_minutes: Mapping[str, float]
    """How long an approval stays open, by risk, where the rule that asks does not say; 0 is for ever."""
    login_failures: int
    """Failed logins of an account from one address before it is blocked from there; 0 never blocks."""
    login_block_minutes: float
    """How long a block lasts, and how long failures are added up."""
    session_hours: float
    """How long a login of a browser lasts at most."""
    session_idle_minutes: float
    """How long it lasts without anything being done; 0 is as long as it may."""
    second_factor_required: bool
    """Everybody who signs in to the console needs a second factor and enrols it at the next login."""
    keep_answers_hours: float
    """How long the answer to an ``Idempotency-Key`` is repeated."""
    keep_task_output_days: float
    """How long the output of an ended shell task is kept; 0 is for ever."""
    keep_ended_sessions_days: float
    """How long an ended session is kept, journal and all; 0, the default, is for ever."""
    keep_external_actions_days: float
    """How long the signed records of a deleted session are kept; 0, the default, is for ever."""
    keep_audit_days: float
    """How long the audit log is kept; 0, the default, is for ever."""
    keep_unused_assets_days: float
    """How long an asset that nothing refers to is kept; 0 is for ever."""
    deliveries: Deliveries
    """How outbound deliveries are sent, and sent again."""
    keep_purged_observations_days: float
    """How long the row of a purged observation is kept, so that a repeated upload is recognised."""

    @property
    def embedded(self) -> bool:
        """True when nothing but Python is needed: SQLite and no Redis."""
        return not self.database_url and not self.redis_url

    @property
    def largest_body_bytes(self) -> int:
        """What any address reads at most: the largest JSON, or a file in Base64 with what is around it."""
        return max(self.max_body_bytes, self.max_asset_bytes * 4 // 3 + ENVELOPE_BYTES)

    @property
    def heartbeat_seconds(self) -> float:
        """How often a worker renews its leases: a third of their life, so two renewals may be lost."""
        return self.lease_seconds / 3


def load() -> Kheish:
    """Read the environment. Raises ImproperlyConfigured naming the variable at fault."""
    state_dir = env.path("KHEISH_STATE_DIR") or Path.cwd() / ".kheish"
    return Kheish(
        state_dir=state_dir,
        database_url=env.url("KHEISH_DATABASE_URL", schemes=("postgres", "postgresql")),
        database_connections=env.integer("KHEISH_DATABASE_CONNECTIONS", 0, low=0, high=1000),
        prepared_statements=env.flag("KHEISH_PREPARED_STATEMENTS", True),
        redis_url=env.url("KHEISH_REDIS_URL", schemes=("redis", "rediss", "unix")),
        master_keys=keys.master_keys(state_dir),
        master_key_file=keys.master_key_file(state_dir),
        master_keys_in_environment=bool(env.text("KHEISH_MASTER_KEY")),
        audit_signing_key=keys.audit_signing_key(state_dir),
        workspace_root=env.path("KHEISH_WORKSPACE_ROOT") or state_dir / "workspaces",
        routes_file=env.path("KHEISH_ROUTES_FILE"),
        connectors_file=env.path("KHEISH_CONNECTORS_FILE"),
        keep_receipts_days=env.number("KHEISH_KEEP_RECEIPTS_DAYS", 7, low=0, high=36_500),
        service_url=env.url("KHEISH_SERVICE_URL", schemes=("http", "https")) or "http://127.0.0.1:4000",
        lease_seconds=env.number("KHEISH_LEASE_SECONDS", 15, low=0.5, high=600),
        sweep_seconds=env.number("KHEISH_SWEEP_SECONDS", 2, low=0.1, high=60),
        drain_seconds=env.number("KHEISH_DRAIN_SECONDS", 10, low=0, high=600),
        max_turns=env.integer("KHEISH_MAX_TURNS", 500, low=1, high=100_000),
        worker_threads=env.integer("KHEISH_WORKER_THREADS", 32, low=1, high=1000),
        web_processes=env.integer("KHEISH_WEB_PROCESSES", 1, low=1, high=64),
        worker_processes=env.integer("KHEISH_WORKER_PROCESSES", 1, low=1, high=64),
        stream_max_seconds=env.number("KHEISH_STREAM_MAX_SECONDS", 600, low=1, high=86_400),
        stream_max_bytes=env.integer("KHEISH_STREAM_MAX_BYTES", 8_388_608, low=65_536, high=1_073_741_824),
        public_url=env.url("KHEISH_PUBLIC_URL", schemes=("http", "https")).rstrip("/"),
        cors_origins=env.names("KHEISH_CORS_ORIGINS"),
        environment=env.text("KHEISH_ENVIRONMENT")[:40],
        max_body_bytes=env.integer("KHEISH_MAX_BODY_BYTES", 25_165_824, low=65_536, high=1_073_741_824),
        max_asset_bytes=env.integer("KHEISH_MAX_ASSET_BYTES", 12_582_912, low=1024, high=268_435_456),
        web_fetch_allow_private=env.flag("KHEISH_WEB_FETCH_ALLOW_PRIVATE", False),
        bash_env_allowlist=env.names("KHEISH_BASH_ENV_ALLOWLIST", BASH_ENVIRONMENT),
        four_eyes=env.flag("KHEISH_FOUR_EYES", False),
        reason_required=env.words("KHEISH_REASON_REQUIRED", choices=("deny", "high")),
        approval_minutes={
            "low": env.number("KHEISH_APPROVAL_LOW_MINUTES", 0, low=0, high=525_600),
            "medium": env.number("KHEISH_APPROVAL_MEDIUM_MINUTES", 0, low=0, high=525_600),
            "high": env.number("KHEISH_APPROVAL_HIGH_MINUTES", 0, low=0, high=525_600),
        },
        login_failures=env.integer("KHEISH_LOGIN_FAILURES", 5, low=0, high=1000),
        login_block_minutes=env.number("KHEISH_LOGIN_BLOCK_MINUTES", 15, low=1, high=1440),
        session_hours=env.number("KHEISH_SESSION_HOURS", 12, low=0.1, high=8_760),
        session_idle_minutes=env.number("KHEISH_SESSION_IDLE_MINUTES", 120, low=0, high=525_600),
        second_factor_required=env.flag("KHEISH_SECOND_FACTOR_REQUIRED", False),
        keep_answers_hours=env.number("KHEISH_KEEP_ANSWERS_HOURS", 168, low=1, high=8_760),
        keep_task_output_days=env.number("KHEISH_KEEP_TASK_OUTPUT_DAYS", 30, low=0, high=36_500),
        keep_ended_sessions_days=env.number("KHEISH_KEEP_ENDED_SESSIONS_DAYS", 0, low=0, high=36_500),
        keep_external_actions_days=env.number("KHEISH_KEEP_EXTERNAL_ACTIONS_DAYS", 0, low=0, high=36_500),
        keep_audit_days=env.number("KHEISH_KEEP_AUDIT_DAYS", 0, low=0, high=36_500),
        keep_unused_assets_days=env.number("KHEISH_KEEP_UNUSED_ASSETS_DAYS", 30, low=0, high=36_500),
        deliveries=deliveries.load(),
        keep_purged_observations_days=env.number(
            "KHEISH_KEEP_PURGED_OBSERVATIONS_DAYS", 30, low=1, high=36_500
        ),
    )
