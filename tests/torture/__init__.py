"""Torture: the real thing as processes, killed and cut at every place, judged by witnesses outside of it.

Read ``schedule`` (what a seed means), ``stage`` (the processes), ``oracles`` (the witnesses), ``load`` (what
clients do, with their own transcripts), ``faults``, ``evidence`` and ``invariants`` (the judgement),
``report``, ``command``; then ``bugs``, which proves that the judgement can fail, and ``simulator``.
"""
