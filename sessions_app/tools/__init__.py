"""What an agent may do: one file per tool, beside ``base`` (shapes), ``registry`` and ``policy``.

Nothing here knows the database. What a tool needs of it comes through the ports of its context.
"""
