"""web_fetch: a text document from the public Internet."""

import time

from sessions_app.tools.addresses import Patience
from sessions_app.tools.base import MIB, Arguments, ToolContext, ToolResult, ToolSpec, object_schema


class WebFetch:
    """GET one address, without cookies, credentials or proxies."""

    spec = ToolSpec(
        name="web_fetch",
        description=(
            "Fetch a text document (HTML as its readable text, JSON, XML, plain text) from a public http "
            "or https address. Follows up to five redirects and shows the first MiB."
        ),
        schema=object_schema(("url",), url={"type": "string", "minLength": 1, "maxLength": 8192}),
        effect="read",
        sandbox="network_enabled",
        timeout_seconds=30.0,
        output_limit_bytes=MIB,
        allows_parallel=True,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return the text of the document; an HTTP error status is an error result with its text."""
        from sessions_app.tools import web_get  # the HTTP client is paid for by who fetches

        patience = Patience(
            deadline=time.monotonic() + self.spec.timeout_seconds, is_cancelled=context.cancelled.is_set
        )
        return web_get.fetch(arguments["url"], patience, allow_private=context.allow_private_addresses)
