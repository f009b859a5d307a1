"""Shapes of requests, which are enforced, and of answers, which document what the projections make.

Rules are the services' business: nothing here knows what a value means.
"""
