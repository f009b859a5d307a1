"""Captures: stored when a device sends them, shown to an agent when somebody asks or a schedule says so.

Read ``sources`` (who may send), ``uploads`` (what came in), ``retention`` (what goes again), ``selection``,
``frames`` and ``materialize`` (observations become one run), ``schedules`` and ``keeper`` (what happens
without anybody asking). ``stored`` is the only one that knows the core's assets.
"""
