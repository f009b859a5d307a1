"""Drivers that turn a neutral request into a stream of neutral parts. No database, no Django."""
