"""Outbound deliveries: an output reaches its targets, at least once, in order, with evidence.

Read ``states`` (what a delivery can be), ``targets`` (the queues), ``queue`` (how a message enters them),
``claims`` (who sends, and what is committed before and after), ``send`` (one attempt), ``pump`` (the threads
that do all that in a worker), then ``operate`` and ``control`` (what people do).

Locks are taken in this order: the session's row, target rows by primary key.
"""

from connectors_app.services.deliveries.queue import enqueue

__all__ = ["enqueue"]
