"""Typed readers of the environment."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from kheish_site.settings import env


@pytest.mark.parametrize(("written", "value"), [("1", True), ("off", False), ("", True), ("  ", True)])
def test_flag(monkeypatch, written, value):
    monkeypatch.setenv("KHEISH_X", written)
    assert env.flag("KHEISH_X", True) is value


@pytest.mark.parametrize("written", ["2", "maybe", "nil"])
def test_a_flag_that_is_none_names_the_variable(monkeypatch, written):
    monkeypatch.setenv("KHEISH_X", written)
    with pytest.raises(ImproperlyConfigured, match="KHEISH_X"):
        env.flag("KHEISH_X", True)


@pytest.mark.parametrize("written", ["0", "11", "1.5", "ten", "nan", "inf"])
def test_integers_are_bounded(monkeypatch, written):
    monkeypatch.setenv("KHEISH_X", written)
    with pytest.raises(ImproperlyConfigured, match="KHEISH_X"):
        env.integer("KHEISH_X", 5, low=1, high=10)


def test_a_url_never_repeats_its_password(monkeypatch):
    monkeypatch.setenv("KHEISH_X", "mysql://me:hunter22@host/db")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.url("KHEISH_X", schemes=("postgresql",))
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("password", ["ab/cd", "ab?cd", "ab#cd"])
def test_a_url_whose_password_breaks_it_says_how_to_write_it(monkeypatch, password):
    monkeypatch.setenv("KHEISH_X", f"postgresql://me:{password}@host:5432/db")
    with pytest.raises(ImproperlyConfigured, match=r"KHEISH_X.*%2F") as caught:
        env.url("KHEISH_X", schemes=("postgresql",))
    assert "ab" not in str(caught.value)


def test_paths_are_absolute(monkeypatch):
    monkeypatch.setenv("KHEISH_X", "state")
    assert env.path("KHEISH_X") == Path.cwd() / "state"


def test_names_drop_blanks(monkeypatch):
    monkeypatch.setenv("KHEISH_X", "a, ,b,")
    assert env.names("KHEISH_X") == ("a", "b")
