"""The ceiling per caller."""

from sessions_app.api.throttles import TokenBuckets


def test_a_full_minute_at_once_then_refilled_evenly():
    buckets = TokenBuckets()
    assert all(not buckets.take("a", per_minute=60, now=0.0) for _ in range(60))
    assert buckets.take("a", per_minute=60, now=0.0) == 1.0
    assert buckets.take("a", per_minute=60, now=1.0) == 0.0


def test_callers_do_not_share():
    buckets = TokenBuckets()
    assert not buckets.take("a", per_minute=1, now=0.0)
    assert buckets.take("a", per_minute=1, now=0.0)
    assert not buckets.take("b", per_minute=1, now=0.0)
