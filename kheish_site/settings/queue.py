"""Celery. Messages are doorbells: the rows say what is to be done, so nothing is acknowledged late."""

from typing import Any

from kheish_site.settings.runtime import Kheish

MEMORY_OPTIONS = {"polling_interval": 0.2}
"""Nobody sends messages there: the worker's feeder hands what is due to its pool."""
REDIS_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
}


def celery_settings(kheish: Kheish) -> dict[str, Any]:
    """``CELERY_*`` settings of either profile."""
    return {
        "CELERY_BROKER_URL": kheish.redis_url or "localhost",
        "CELERY_BROKER_TRANSPORT": "" if kheish.redis_url else "kheish_site.broker:Transport",
        "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "CELERY_BROKER_TRANSPORT_OPTIONS": REDIS_OPTIONS if kheish.redis_url else MEMORY_OPTIONS,
        "CELERY_RESULT_BACKEND": None,
        "CELERY_TASK_IGNORE_RESULT": True,
        # Early: with late acknowledgement a broker restart stops the consumer for good, and the sweep
        # finds unfinished work from the rows anyway.
        "CELERY_TASK_ACKS_LATE": False,
        "CELERY_TASK_SERIALIZER": "json",
        "CELERY_ACCEPT_CONTENT": ["json"],
        "CELERY_TASK_DEFAULT_QUEUE": "kheish",
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 1,
        "CELERY_WORKER_CONCURRENCY": kheish.worker_threads,
        "CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS": False,
        "CELERY_WORKER_SEND_TASK_EVENTS": False,
        "CELERY_TASK_SEND_SENT_EVENT": False,
        "CELERY_WORKER_ENABLE_REMOTE_CONTROL": False,
        "CELERY_WORKER_REDIRECT_STDOUTS": False,
        "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
        "CELERY_DB_REUSE_MAX": 10**9,
        "CELERY_TIMEZONE": "UTC",
    }


def channel_layers(kheish: Kheish) -> dict[str, Any]:
    """The channel layer: Redis where several processes serve, else in memory."""
    if kheish.redis_url:
        config = {"hosts": [kheish.redis_url], "prefix": "kheish"}
        return {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": config}}
    return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
