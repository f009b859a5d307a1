"""Measurements anyone can repeat: ``python3 manage.py bench NAME``."""
