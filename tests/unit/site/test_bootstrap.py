"""From a bare Python to an environment that holds a lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kheish_site import bootstrap

ROOT = Path(bootstrap.__file__).resolve().parent.parent
MANAGE = "import sys; print(sys.prefix, sys.argv[1:])"
ENTER = """
from pathlib import Path
from kheish_site import bootstrap
bootstrap.enter({}, lock=bootstrap.RUNTIME_LOCK, arguments=["a", "b"])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose locks are empty: installing them needs no network."""
    (tmp_path / "manage.py").write_text(MANAGE)
    for lock in bootstrap.SIGN:
        (tmp_path / lock).write_text("")
    return tmp_path


def enter(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the bootstrap by the Python below our own environment, which has no Django."""
    code = ENTER.format(f"Path({str(project)!r})")
    told = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(project), **environment}
    python = Path(sys.base_prefix) / "bin" / "python3"
    return subprocess.run([python, "-S", "-c", code], env=told, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_it_makes_the_environment_once_and_runs_the_command_inside(project):
    """One environment for all of it: to make one takes seconds."""
    first = enter(project)
    assert first.stdout.split(maxsplit=1) == [str(project / ".venv"), "['a', 'b']\n"], first.stderr
    assert "Making" in first.stderr
    second = enter(project)
    assert second.stdout == first.stdout
    assert second.stderr == ""
    (project / bootstrap.RUNTIME_LOCK).write_text("# changed\n")
    assert "Installing" in enter(project).stderr
    _a_failed_installation_shows_the_words_of_pip_and_is_tried_again(project)


def _a_failed_installation_shows_the_words_of_pip_and_is_tried_again(project: Path) -> None:
    (project / bootstrap.RUNTIME_LOCK).write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")
    for _ in range(2):
        failed = enter(project, PIP_NO_INDEX="1")
        assert failed.returncode == 1
        assert "no-such-package" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_python_that_is_too_old_is_told_so():
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 2); "
        f"sys.argv = ['manage.py']; runpy.run_path({str(ROOT / 'manage.py')!r}, run_name='__main__')"
    )
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "needs Python 3.11" in refused.stderr


@pytest.mark.parametrize(("installed", "left_alone"), [("5.2.19", True), ("4.2", False)])
def test_an_environment_of_somebody_else_is_used_when_it_fits(project, installed, left_alone):
    venv = project / ".venv"
    (project / bootstrap.RUNTIME_LOCK).write_text("django==5.2.19 \\\n    --hash=sha256:0\n")
    packages = venv / "lib" / "python3.11" / "site-packages" / f"django-{installed}.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Django\nVersion: {installed}\n")
    (venv / "bin").mkdir()
    (venv / "bin" / "python").touch()
    assert bootstrap._stamped(venv, project, bootstrap.RUNTIME_LOCK) is left_alone
    assert not bootstrap._stamped(venv, project, bootstrap.DEVELOPMENT_LOCK)


def test_without_any_pip_the_line_to_run_is_printed(project, monkeypatch):
    monkeypatch.setattr(bootstrap, "WHEEL_FOLDERS", ())
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        bootstrap._pip(project / ".venv")
    assert bootstrap.APT_LINE in str(caught.value)
