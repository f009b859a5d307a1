"""Whose page sent a request: what browsers say in ``Origin``, against what this service calls its own.

Other clients send no ``Origin``. A browser cannot be talked into a wrong one.
"""

from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_PORT: Final = 5


class Origin(NamedTuple):
    """Scheme, host without brackets, and port, also where it is the default."""

    scheme: str
    host: str
    port: int


def read(text: str) -> Origin | None:
    """Return what ``text`` names; None for ``null``, for other schemes, and with a path or anything else."""
    try:
        page = urlsplit(text)
        port = page.port
    except ValueError:  # brackets that do not close, a port that is no number
        return None
    host = page.hostname
    whole = text.lower() == f"{page.scheme}://{page.netloc}".lower() and "@" not in text
    if page.scheme not in _PORTS or not host or not whole:
        return None
    return Origin(page.scheme, host, _PORTS[page.scheme] if port is None else port)


def is_loopback(origin: Origin) -> bool:
    """Tell whether only programs of the visitor's own machine can serve this page."""
    try:
        return origin.host == "localhost" or ip_address(origin.host).is_loopback
    except ValueError:
        return False


def is_ours(text: str, host: str) -> bool:
    """Tell whether a page of this service sent ``Origin: text`` with ``Host: host``.

    That is one under the host name it was sent to, if we answer to it (a port left out is the default of the
    page's own scheme), the public address, or an origin the operator trusts.
    """
    page = read(text)
    if page is None:
        return False
    public = urlsplit(settings.KHEISH.public_url)
    if page == read(f"{public.scheme}://{public.netloc}"):
        return True
    if any(_fits(page, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS):
        return True
    domain, port = split_domain_port(host)
    if not domain or len(port) > _LONGEST_PORT or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    if settings.SESSION_COOKIE_SECURE and page.scheme != "https":
        return False
    return page.host == domain.strip("[]") and page.port == int(port or _PORTS[page.scheme])


def may_ask(text: str) -> bool:
    """Tell whether a page that is not ours may use the API with a token: loopback, and on the list if any."""
    page, listed = read(text), settings.KHEISH.cors_origins
    if page is None or not is_loopback(page):
        return False
    return not listed or page in [read(entry) for entry in listed]


def _fits(page: Origin, trusted: str) -> bool:
    """Read a trusted origin as Django does, which lets ``https://*.example.com`` stand for its subdomains."""
    scheme, _, netloc = trusted.partition("://")
    if not netloc.startswith("*."):
        return page == read(trusted)
    usual = page.port == _PORTS[page.scheme]
    ours = page.host if usual else f"{page.host}:{page.port}"
    return page.scheme == scheme and is_same_domain(ours, netloc[1:])
