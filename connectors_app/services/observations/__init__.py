"""Observations: stored when a device uploads them, shown to an agent on request or by schedule.

Read ``sources`` (who may send), ``uploads`` (what came in), ``retention`` (what is purged), ``selection``,
``frames`` and ``materialize`` (observations become one run), ``schedules`` and ``keeper`` (background work).
Only ``stored`` uses the core's assets.
"""
