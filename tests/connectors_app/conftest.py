"""What every test of the connectors stands on."""

import pytest

from connectors_app.services import ingress


@pytest.fixture(autouse=True)
def no_refusals_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals are written at most once a second, by connector; every test has its own second."""
    monkeypatch.setattr(ingress, "_REFUSALS", ingress._Refusals())
