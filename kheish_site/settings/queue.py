"""Celery runs the worker processes. No task is sent: rows say what is due, doorbells only say it sooner."""

from typing import Any

from kheish_site.settings.runtime import Kheish

QUIET_OPTIONS = {"polling_interval": 0.2}


def celery_settings(kheish: Kheish) -> dict[str, Any]:
    """``CELERY_*`` settings. The broker is in the process itself: a worker starts and works without Redis."""
    return {
        "CELERY_BROKER_URL": "localhost",
        "CELERY_BROKER_TRANSPORT": "kheish_site.broker:Transport",
        "CELERY_BROKER_TRANSPORT_OPTIONS": QUIET_OPTIONS,
        "CELERY_RESULT_BACKEND": None,
        "CELERY_WORKER_CONCURRENCY": kheish.worker_threads,
        "CELERY_WORKER_SEND_TASK_EVENTS": False,
        "CELERY_WORKER_ENABLE_REMOTE_CONTROL": False,
        "CELERY_WORKER_REDIRECT_STDOUTS": False,
        "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
        "CELERY_TIMEZONE": "UTC",
    }


def channel_layers(kheish: Kheish) -> dict[str, Any]:
    """The channel layer: Redis where several processes serve, else in memory."""
    if kheish.redis_url:
        config = {"hosts": [kheish.redis_url], "prefix": "kheish"}
        return {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": config}}
    return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
