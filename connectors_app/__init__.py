"""Connectors: events in, the sessions they feed, and deliveries out.

Read ``models``; then ``services/contracts.py`` (what a kind of connector is), ``services/ingress.py`` (an
event becomes exactly one run), ``services/deliveries`` (an output reaches its targets), then one folder of
``kinds`` whole, then ``api`` and ``admin``.
"""
