"""The core: what may run, what ran, what waits.

Read it as a story: ``models``; then the life of a run in five files, ``services/runs.py`` (accepted),
``services/leases.py`` (claimed), ``engine/loop.py`` (driven), ``engine/step.py`` (one turn),
``services/run_state.py`` (moved); then ``services/writes`` (the one door to the journal),
``tasks.py``, ``api``, ``streams`` and ``admin``.
"""
