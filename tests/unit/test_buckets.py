"""Token buckets: a full one at once, then evenly."""

from functools import partial

from kheish_site.lib.buckets import TokenBuckets


def test_a_full_minute_at_once_then_refilled_evenly() -> None:
    take = partial(TokenBuckets().take, "a", capacity=60, per_second=1)
    assert all(not take(now=0.0) for _ in range(60))
    assert take(now=0.0) == 1.0
    assert take(now=1.0) == 0.0


def test_keys_do_not_share() -> None:
    buckets = TokenBuckets()
    assert not buckets.take("a", capacity=1, per_second=1, now=0.0)
    assert buckets.take("a", capacity=1, per_second=1, now=0.0)
    assert not buckets.take("b", capacity=1, per_second=1, now=0.0)
