"""Browser-facing policy: content security policy and cookies."""

from typing import Any

from csp.constants import NONE, SELF

CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],  # the API documentation draws its icons from data: addresses
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}


def transport_security(behind_https: bool, *, session_hours: float) -> dict[str, Any]:
    """Cookie and transport settings. Plain HTTP is for loopback; anything else sits behind HTTPS."""
    settings: dict[str, Any] = {
        "SESSION_COOKIE_NAME": "kheish_session",
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_AGE": int(session_hours * 3600),
        "SESSION_COOKIE_SECURE": behind_https,
        "CSRF_COOKIE_NAME": "kheish_csrf",
        "CSRF_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_SECURE": behind_https,
        "X_FRAME_OPTIONS": "DENY",
        "SECURE_REFERRER_POLICY": "same-origin",
    }
    if behind_https:
        settings |= {
            "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
            "SECURE_HSTS_SECONDS": 31_536_000,
        }
    return settings
