"""The content security policy: pages have the settings' own, answers of the API are no page at all."""

from typing import Any, Final

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from kheish_site.lib.addresses import API

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
"""What an answer that is no page may load when a browser shows it as one."""


class ContentPolicy(CSPMiddleware):
    """``django-csp`` for pages. It builds each policy anew, which the API's answers have no use for."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the policy unless the answer brought its own."""
        if not request.path_info.startswith(API):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, NOTHING)
        return response

    def process_request(self, request: HttpRequest) -> Any:
        """Prepare a nonce for pages."""
        return None if request.path_info.startswith(API) else super().process_request(request)
