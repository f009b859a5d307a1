"""Drivers by name."""

from collections.abc import Callable, Iterable
from typing import Final

from sessions_app.providers.base import Endpoint, Provider, ProviderError

Factory = Callable[[Endpoint], Provider]


def _openai(endpoint: Endpoint) -> Provider:
    # Imported here, like what reads scripts below: up to a second and 40 MB that most processes save.
    from sessions_app.providers import openai_chat

    return openai_chat.OpenAIChat(endpoint)


def _scripted(endpoint: Endpoint) -> Provider:
    from sessions_app.providers import scripted

    return scripted.Scripted(endpoint)


_factories: dict[str, Factory] = {"openai": _openai, "scripted": _scripted}
OPTIONS: Final = frozenset(
    {
        "connect_timeout_seconds",
        "read_timeout_seconds",
        "total_timeout_seconds",
        "images",
        "context_window",
    }
)
"""Options of a route whatever its driver (docs/operations.md)."""
_own_options: dict[str, frozenset[str]] = {
    "openai": frozenset({"headers", "extra_body", "tool_protocol"}),
    "scripted": frozenset({"script", "script_path", "delay_ms", "chunk_delay_ms"}),
}


def register(name: str, factory: Factory, *, options: Iterable[str] = ()) -> None:
    """Add a driver, or replace one; called while the process starts. ``options`` are those it reads."""
    _factories[name] = factory
    _own_options[name] = frozenset(options)


def drivers() -> list[str]:
    """Names that ``Endpoint.driver`` may have, sorted."""
    return sorted(_factories)


def unread_options(endpoint: Endpoint) -> list[str]:
    """The options that neither the driver nor anything else reads, sorted."""
    return sorted(set(endpoint.options) - OPTIONS - _own_options.get(endpoint.driver, frozenset()))


def build(endpoint: Endpoint) -> Provider:
    """Make the provider of an endpoint. Contacts nothing.

    Raises ProviderError(invalid) for an unknown driver or unusable settings.
    """
    factory = _factories.get(endpoint.driver)
    if factory is None:
        raise ProviderError("invalid", f"unknown driver {endpoint.driver!r}; known: {', '.join(drivers())}")
    endpoint.takes_images  # noqa: B018  # evaluated for its error
    return factory(endpoint)


def problems(endpoint: Endpoint) -> list[str]:
    """Why ``build`` would refuse the endpoint, as sentences; empty when it would not. Contacts nothing."""
    try:
        build(endpoint)
    except ProviderError as error:
        return [error.message]
    return []
