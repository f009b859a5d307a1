"""Makes ``django.contrib.admin.site`` the console's own site."""

from django.contrib.admin.apps import SimpleAdminConfig


class ConsoleConfig(SimpleAdminConfig):
    """The admin with our site. ``urls.py`` loads the pages, as workers need none."""

    default_site = "kheish_site.console.site.ConsoleSite"
