"""Django's backend for PostgreSQL, with what the hot path needs of it: see ``base``."""
