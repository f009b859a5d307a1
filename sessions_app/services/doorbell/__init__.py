"""How processes wake each other. A doorbell carries ids and a number, and may be lost at any time.

``embedded`` and ``redis_bell`` ring, ``listening`` hears, ``live`` carries token deltas beside the
journal, ``relay`` is what a worker puts deltas into. ``services/wake.py`` is the port that the rest of
the code calls; whoever misses a ring finds the rows by the sweep or the poll, only later.
"""
