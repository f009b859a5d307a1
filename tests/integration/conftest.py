"""The engine's fixtures, for tests with several workers, real threads and deaths."""

from tests.sessions_app.engine.conftest import heartbeat, script, session, workspaces

__all__ = ["heartbeat", "script", "session", "workspaces"]
