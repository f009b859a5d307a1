"""The engine's fixtures: scenarios are recorded by driving real runs."""

from tests.sessions_app.engine.conftest import heartbeat, script, session, workspaces

__all__ = ["heartbeat", "script", "session", "workspaces"]
