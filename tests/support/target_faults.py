"""How an HTTP target fails: what a target of the tests may do with an arrival instead of taking it."""

from tests.support.http_target import Arrival, HttpTarget


def limited(target: HttpTarget, arrival: Arrival) -> None:
    """Ask for patience."""
    arrival.answer(429, Retry_After="1")


def broken(target: HttpTarget, arrival: Arrival) -> None:
    """Fail, and say so."""
    arrival.answer(500)


def nonsense(target: HttpTarget, arrival: Arrival) -> None:
    """Take it, and answer what nobody understands."""
    target.take(arrival, answer=False)
    arrival.answer(200, b"<html>\xff what?")


def took_and_reset(target: HttpTarget, arrival: Arrival) -> None:
    """Take it, and break the connection."""
    target.take(arrival, answer=False)
    arrival.reset()


def reset(target: HttpTarget, arrival: Arrival) -> None:
    """Break the connection."""
    arrival.reset()


def gateway(target: HttpTarget, arrival: Arrival) -> None:
    """Take it, behind a gateway that no longer waits."""
    target.take(arrival, answer=False)
    arrival.answer(504)
