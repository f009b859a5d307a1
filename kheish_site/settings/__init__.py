"""Django settings. The environment is read here and nowhere else; ``docs/operations.md`` lists the names.

``settings.KHEISH`` (see :class:`kheish_site.settings.runtime.Kheish`) is what the code of the runtime asks.
"""

from pathlib import Path

from kheish_site.settings import env, keys
from kheish_site.settings.api import REQUESTS_PER_MINUTE as REQUESTS_PER_MINUTE
from kheish_site.settings.api import REST_FRAMEWORK as REST_FRAMEWORK
from kheish_site.settings.api import SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS
from kheish_site.settings.databases import databases
from kheish_site.settings.logs import logging_config
from kheish_site.settings.queue import celery_settings, channel_layers
from kheish_site.settings.runtime import load
from kheish_site.settings.web import CONTENT_SECURITY_POLICY, transport_security  # noqa: F401

BASE_DIR = Path(__file__).resolve().parent.parent.parent
KHEISH = load()

SECRET_KEY = keys.secret_key(KHEISH.state_dir)
DEBUG = env.flag("KHEISH_DEBUG", False)
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env.names("KHEISH_ALLOWED_HOSTS")]
CSRF_TRUSTED_ORIGINS = list(env.names("KHEISH_TRUSTED_ORIGINS"))

INSTALLED_APPS = [
    "sessions_app",  # before the admin, some of whose templates it extends
    "kheish_site.console.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "kheish_site",
    "channels_app",
    "connectors_app",
]
MIDDLEWARE = [
    "sessions_app.api.middleware.request_ids",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "kheish_site.policy.ContentPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "sessions_app.api.middleware.standing_logins",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "kheish_site.urls"
ASGI_APPLICATION = "kheish_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = databases(KHEISH)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = channel_layers(KHEISH)
vars().update(celery_settings(KHEISH))

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
# Static files are served from the installed packages: a fresh checkout needs no collecting step.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
DATA_UPLOAD_MAX_MEMORY_SIZE = KHEISH.max_body_bytes
vars().update(transport_security(env.flag("KHEISH_BEHIND_HTTPS", False), session_hours=KHEISH.session_hours))

LOGGING = logging_config()
