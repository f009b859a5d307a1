"""Captures over HTTP: ``sources`` and ``runs`` for people with API tokens, ``uploads`` for devices."""
