"""Combinations of settings that cannot work."""

from dataclasses import replace

import pytest
from django.conf import settings

from kheish_site.checks import impossible

POSTGRESQL = {"database_url": "postgresql://h/d"}
REDIS = {"redis_url": "redis://h/0"}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        (REDIS, ["kheish.E001"]),
        (POSTGRESQL, ["kheish.E002"]),
        (POSTGRESQL | REDIS, []),
        ({"worker_processes": 2}, ["kheish.E003"]),
        ({"web_processes": 2}, ["kheish.E003"]),
        (POSTGRESQL | REDIS | {"web_processes": 2}, []),
        (POSTGRESQL | REDIS | {"worker_processes": 2}, []),
        ({"sweep_seconds": 60.0}, ["kheish.E005"]),
        ({"cors_origins": ("http://localhost:3000", "https://[::1]")}, []),
        ({"cors_origins": ("*", "http://localhost:*")}, ["kheish.E007", "kheish.E007"]),
        ({"cors_origins": ("http://localhost:3000/", "http://desk.example")}, ["kheish.E007", "kheish.E007"]),
    ],
)
def test_impossible_combinations(changed, found):
    plain = replace(settings.KHEISH, database_url="", redis_url="")
    assert [message.id for message in impossible(replace(plain, **changed))] == found


def test_a_missing_routes_file_is_found(tmp_path):
    kheish = replace(settings.KHEISH, database_url="", redis_url="", routes_file=tmp_path / "missing.toml")
    assert [message.id for message in impossible(kheish)] == ["kheish.E004"]


def test_secrets_are_not_shown():
    kheish = replace(settings.KHEISH, database_url="postgresql://u:hunter22@h/d", master_keys=("hunter22",))
    assert "hunter22" not in repr(kheish)
