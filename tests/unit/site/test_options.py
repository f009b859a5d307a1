"""What ``serve`` reads before anything is loaded."""

import pytest

from kheish_site.supervisor.options import Refused, read_options


@pytest.mark.parametrize("written", ["inf", "-inf", "nan", "many", "1,5"])
def test_a_setting_that_is_no_number_is_named(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KHEISH_WEB_PROCESSES", "KHEISH_WORKER_PROCESSES", "KHEISH_DRAIN_SECONDS"):
        monkeypatch.setenv(name, written)
        with pytest.raises(Refused, match=f"{name} must be a number, not '{written}'"):
            read_options([])
        monkeypatch.delenv(name)


def test_numbers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KHEISH_WEB_PROCESSES", "3")
    assert (read_options([]).web_processes, read_options([]).worker_processes) == (3, 1)
