"""Project glue: settings, entry points, supervisor and the small library everything stands on.

Reading order: ``settings`` (what may be configured), ``bootstrap`` and ``supervisor`` (how the service
starts, without Django), ``asgi`` and ``celery`` (the two processes), ``urls``, ``lib`` (leaf helpers).
"""

__version__ = "0.1.0"
