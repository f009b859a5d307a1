"""A busy morning, set once in a test run and copied for the pages of each file."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.conftest import installed, made_once
from tests.browser.scenes import SETTINGS, Morning, morning, set_morning
from tests.support.service import Deployment, Service


@pytest.fixture(scope="session")
def scenery(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an installation that had the morning and was stopped."""
    with made_once(tmp_path_factory, "scenery", partial(_set, prepared), shutil.rmtree) as folder:
        yield folder


def _set(prepared: Deployment, folder: Path) -> None:
    with installed(prepared, folder, Service, **SETTINGS) as made:
        made.start()
        (folder / "runs.json").write_text(json.dumps(set_morning(made)))
        assert made.stop() == 0, made.words()


@pytest.fixture(scope="module")
def service(scenery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service on a copy of the scene, for the pages of one file."""
    left = Service(scenery / "state")
    with installed(left, tmp_path_factory.mktemp("scene"), Service, **SETTINGS) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def scene(service: Service, scenery: Path) -> Morning:
    """What is on the pages."""
    return morning(service, json.loads((scenery / "runs.json").read_text()))
