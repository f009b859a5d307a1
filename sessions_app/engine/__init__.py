"""One turn of one run. A ``Turn`` is what the modules pass around.

Read ``loop`` (a session is driven), ``step`` (one model call) and ``tools_phase`` (its tool calls); then what
a model call needs: ``context``, ``compaction``, ``model_call``; what tool calls need: ``plan``, ``suspend``,
``execute``, ``recover``; and ``settle`` (how a run ends or leaves its worker).
"""
