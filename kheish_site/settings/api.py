"""Settings of Django REST framework and of the OpenAPI document."""

from typing import Any

from kheish_site import __version__
from kheish_site.settings import env

REQUESTS_PER_MINUTE = env.integer("KHEISH_REQUESTS_PER_MINUTE", 60_000, low=0, high=10_000_000)

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "sessions_app.api.schema.KheishSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "sessions_app.api.auth.TokenAuthentication",
        "sessions_app.api.auth.LoginAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["sessions_app.api.permissions.RolePermission"],
    "DEFAULT_THROTTLE_CLASSES": ["sessions_app.api.throttles.CallerThrottle"],
    "DEFAULT_PARSER_CLASSES": ["sessions_app.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": [],
    "EXCEPTION_HANDLER": "sessions_app.api.problems.handle",
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is a query parameter like any other: unknown
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "TEST_REQUEST_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Kheish",
    "DESCRIPTION": "Durable agent sessions: submit work, watch it, decide what needs a person.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/v1/",
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "connector": {
                "type": "http",
                "scheme": "bearer",
                "description": "The token of one connector, or the lease of its child process.",
            }
        }
    },
    "POSTPROCESSING_HOOKS": [
        "sessions_app.api.stream_schema.add_streams",
        "sessions_app.api.schema.add_problems",
    ],
    # Served from the box: no page of the service loads anything from elsewhere.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "displayRequestDuration": True,
        "tryItOutEnabled": True,
        "validatorUrl": None,  # Swagger's default asks a server on the internet
    },
    "REDOC_DIST": "SIDECAR",
}
