"""``manage.py test`` and ``manage.py lint``: what CI runs, the same on every machine."""
