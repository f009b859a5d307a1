"""The ASGI application that daphne serves."""

import os

from kheish_site.lib import collector

collector.hold_off()
from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")
django = get_asgi_application()  # loads the apps, which the streams need

from kheish_site.edge import judging_origins, mend_requests, without_bodies_for_heads  # noqa: E402
from kheish_site.pooled import PooledHandler, short_requests  # noqa: E402
from sessions_app.streams.routing import application as websocket  # noqa: E402
from sessions_app.streams.shutdown import finishing  # noqa: E402

http = short_requests(PooledHandler(), django)
application = ProtocolTypeRouter(
    {
        "http": finishing(without_bodies_for_heads(judging_origins(http))),
        "websocket": finishing(judging_origins(websocket)),
    }
)
mend_requests()
collector.settle()
