"""Which class ``django.contrib.admin.site`` is: the console's own."""

from django.contrib.admin.apps import SimpleAdminConfig


class ConsoleConfig(SimpleAdminConfig):
    """The admin with our site. ``urls.py`` finds the pages: workers need none."""

    default_site = "kheish_site.console.site.ConsoleSite"
