"""HTTP under ``/v1/``: parse, authorise, call one service, answer with a projection.

Read ``views/base.py`` first, then one view; ``problems.py`` says how every failure is answered.
"""
