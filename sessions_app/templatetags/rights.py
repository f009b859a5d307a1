"""Asking in a template what the person may do: ``{% may "operator" as allowed %}``."""

from typing import Any

from django import template

from sessions_app.admin import rights
from sessions_app.models import Approval
from sessions_app.services import approvals
from sessions_app.services.approvals import Behavior

register = template.Library()


@register.simple_tag(takes_context=True)
def may(context: Any, what: str) -> bool:
    """Tell whether the person holds the role or right ``what``."""
    return rights.may(context["request"], what)


@register.simple_tag(takes_context=True)
def why_not(context: Any, row: Approval, behavior: Behavior = "allow") -> str:
    """Return why the person's word would not count on an approval; "" when it would."""
    return rights.why_not(context["request"], row, behavior)


@register.simple_tag
def needs_reason(row: Approval, behavior: Behavior) -> bool:
    """Tell whether a decision on this approval has to say why."""
    return approvals.needs_reason(row, behavior)
