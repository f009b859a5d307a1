"""Every address of the connectors: the control plane's, and each kind's own for events."""

from connectors_app.api import urls as control
from connectors_app.kinds import described
from connectors_app.kinds.external import urls as external
from connectors_app.kinds.http import urls as http
from connectors_app.kinds.slack import urls as slack
from connectors_app.kinds.telegram import urls as telegram

described.describe_ways_in()
urlpatterns = [
    *external.urlpatterns,  # before the control plane, which reads "external/metrics" as a connector's name
    *control.urlpatterns,
    *http.urlpatterns,
    *slack.urlpatterns,
    *telegram.urlpatterns,
]
