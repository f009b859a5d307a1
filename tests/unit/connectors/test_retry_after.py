"""What a target may ask for with ``Retry-After``, and what says nothing."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from connectors_app.services.outbound import LONGEST_RETRY_AFTER_SECONDS, retry_after
from kheish_site.lib import clock


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("5", 5.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("1e400", LONGEST_RETRY_AFTER_SECONDS),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER_SECONDS),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 2021 23:59:59 +999999999999", None),
        ("Fri, 31 Dec 2021 23:59:59 -0000", None),  # a date that names no zone
    ],
)
def test_what_a_header_asks_for(text: str, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_a_date_is_counted_from_now() -> None:
    asked = retry_after(format_datetime(clock.now() + timedelta(seconds=60), usegmt=True))
    assert asked is not None and 55 < asked <= 60
