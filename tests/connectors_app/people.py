"""Connectors, people of platforms, and runs that wait for them."""

from typing import Any

from django.contrib.auth.models import Group, Permission, User

from connectors_app.models import ChatIdentity, Connector
from connectors_app.services import button_data, identities
from kheish_site.lib import clock
from sessions_app.models import Approval, Session
from sessions_app.services import accounts, tokens
from sessions_app.services.principal import SYSTEM


def make_connector(name: str = "ops", kind: str = "slack", **settings: Any) -> Connector:
    """A connector of this kind, defined without a transport."""
    return Connector.objects.create(kind=kind, name=name, settings=settings)


def make_account(name: str, role: str = "operator") -> User:
    """An account in the group of this role."""
    accounts.ensure_groups()
    user: User = User.objects.create(username=name)
    user.groups.add(Group.objects.get(name=role))
    if role == "operator":
        user.user_permissions.add(Permission.objects.get(codename="decide_high_risk"))
    return user


def make_person(
    connector: Connector, external_id: str, principal: str, role: str = "operator", *, held: str = ""
) -> ChatIdentity:
    """A mapped person, whose token is made if there is neither token nor account of that name."""
    if not User.objects.filter(username=principal).exists() and not tokens.live_named([principal]).exists():
        rights = ["decide_high_risk"] if (held or role) != "viewer" else []
        tokens.create(principal, role=held or role, rights=rights)
    return identities.put(connector, external_id, principal=principal, role=role, by=SYSTEM)[0]


def target_of(connector: Connector, **address: Any) -> dict[str, Any]:
    """A reply target of ``connector``."""
    return {"plugin": connector.kind, "address": {"connector": connector.name, **address}}


def answer_to(session: Session, *targets: dict[str, Any]) -> None:
    """Make these the reply targets of a session."""
    Session.objects.filter(pk=session.pk).update(reply_targets=list(targets))


def bind(connector: Connector, session: Session) -> None:
    """Bind a conversation of ``connector`` to the session."""
    session.bindings.create(
        connector=connector, key=f"k-{session.pk}", digest=f"{session.pk:064}", created_at=clock.now()
    )


def press(approval: Approval, behavior: Any = "allow") -> str:
    """The data of a button under a notice of ``approval``."""
    return button_data.for_approval(approval, behavior)
