"""Leaf helpers: they import the standard library, Django and small libraries, never an app."""
