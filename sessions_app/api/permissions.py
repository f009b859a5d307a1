"""Which role a verb needs: one rule, read from two attributes of the view."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from sessions_app.services import access
from sessions_app.services.principal import Principal


class RolePermission(BasePermission):
    """Safe methods need the view's ``read_role``, the others its ``write_role``."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Pass, or raise TokenMissing or InsufficientAccess with the role that is missing."""
        principal = request.auth
        if not isinstance(principal, Principal):
            raise access.TokenMissing("sign in, or send an API token as bearer")
        access.require(principal, view.read_role if request.method in SAFE_METHODS else view.write_role)
        return True
