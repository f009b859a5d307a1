"""The connectors' part of a session's page: who feeds it, and where its answers went."""

from connectors_app.models import BindingKey, Connector, Delivery, IngressReceipt
from connectors_app.services.deliveries import find
from sessions_app.admin import session_page, show
from sessions_app.admin.base import Section, all_of
from sessions_app.models import Session

SHOWN = 5


def _fed_by(session: Session) -> Section:
    """Return the connectors whose conversations are bound here, with the last event of each."""
    bound = BindingKey.objects.filter(session=session, connector__isnull=False).values("connector")
    rows = list(Connector.objects.filter(pk__in=bound).order_by("kind", "name")[:SHOWN])
    last: dict[int, IngressReceipt] = {}
    for receipt in IngressReceipt.objects.filter(session=session).order_by("-pk")[:100]:
        last.setdefault(receipt.connector_id, receipt)
    return Section(
        title="Fed by",
        columns=("connector", "last event"),
        rows=[
            (
                str(row) if row.removed_at else show.link(row, str(row)),
                show.age(last[row.pk].accepted_at) if row.pk in last else show.NOTHING,
            )
            for row in rows
        ],
        more=all_of(IngressReceipt, session__id__exact=session.pk) if rows else "",
        empty="No connector: input comes by the API, the command line and this page.",
    )


def _answers_to(session: Session) -> Section:
    """Return the newest deliveries."""
    rows = list(find.rows().filter(session=session).order_by("-pk")[:SHOWN])
    return Section(
        title="Answers go to",
        columns=("target", "status", "when"),
        rows=[
            (
                show.link(row.target, row.target.name),
                show.link(row, show.badge(row.status)),
                show.age(row.created_at),
            )
            for row in rows
        ],
        more=all_of(Delivery, session__id__exact=session.pk) if rows else "",
        empty="Nowhere but here: the session has no reply target that was used.",
    )


session_page.add(_fed_by)
session_page.add(_answers_to)
