"""Live views of the journal over SSE and WebSocket.

Reading order: ``sources`` (what a stream shows), ``subscription`` (one client's place and buffer),
``hub`` (one reader for all clients of the process), ``follow`` (the loop of one client), then the two
wires: ``frames`` and ``views`` for SSE, ``consumers`` for WebSocket. ``opening`` decides who may see
what, and from where.
"""
