"""The runner's verdict: green needs at least one test that ran."""

import subprocess
import sys

import pytest

from kheish_site.testing import servers, suite

PASSED = {"passed": 3, "failed": 0, "code": 0}
FAILED = {"passed": 3, "failed": 1, "code": 1}
EMPTY = {"passed": 0, "failed": 0, "code": suite.NOTHING_COLLECTED}
CRASHED = {"passed": 3, "failed": 0, "code": 3}


@pytest.mark.parametrize(
    ("results", "code", "line"),
    [
        ([PASSED, PASSED], 0, "6 passed, 0 failed"),
        ([PASSED, EMPTY], 0, "3 passed, 0 failed"),
        ([PASSED, FAILED], 1, "6 passed, 1 failed"),
        ([EMPTY, EMPTY], 1, "0 passed, 0 failed"),
        ([PASSED, CRASHED], 1, "6 passed, 0 failed"),
    ],
)
def test_the_verdict(capsys, results, code, line):
    assert suite._conclude(results) == code
    assert capsys.readouterr().out.splitlines()[-1] == line


@pytest.mark.parametrize(
    ("selection", "parallel"), [([], True), (["-k", "x"], True), (["-n0"], False), (["--pdb"], False)]
)
def test_some_workers_unless_asked_otherwise(monkeypatch, selection, parallel):
    monkeypatch.setattr(suite.os, "cpu_count", lambda: 2)
    assert bool(suite._workers(selection)) is parallel


@pytest.mark.slow
def test_servers_start_and_leave_nothing(monkeypatch):
    monkeypatch.delenv("KHEISH_TEST_DATABASE_URL", raising=False)
    monkeypatch.delenv("KHEISH_TEST_REDIS_URL", raising=False)
    with servers.servers() as named:
        code = (
            "import psycopg, redis, sys\n"
            "assert psycopg.connect(sys.argv[1]).execute('SELECT 1').fetchone() == (1,)\n"
            "assert redis.Redis.from_url(sys.argv[2]).ping()\n"
        )
        urls = [named["KHEISH_TEST_DATABASE_URL"], named["KHEISH_TEST_REDIS_URL"]]
        subprocess.run([sys.executable, "-c", code, *urls], check=True, timeout=300)
        ports = [int(url.rpartition(":")[2].partition("/")[0]) for url in urls]
    assert not any(servers._listens(port) for port in ports)


def test_named_servers_are_used(monkeypatch):
    named = {"KHEISH_TEST_DATABASE_URL": "postgresql://h/d", "KHEISH_TEST_REDIS_URL": "redis://h/0"}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    with servers.servers() as told:
        assert told == named
