"""Transports that bring input in and carry answers out."""
