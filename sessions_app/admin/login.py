"""Signing in: the form that is slowed down when it fails, the second factor, and one's own password."""

from typing import Any

import segno
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache

from kheish_site.console.site import site
from kheish_site.lib.errors import KheishError
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.models import LoginThrottle, Role, SecondFactor
from sessions_app.services import audit, logins, people, second_factor
from sessions_app.services.access import role_of
from sessions_app.services.logins import Attempt, Standing, TooManyAttempts
from sessions_app.services.principal import Principal
from sessions_app.services.second_factor import WrongCode

TEMPLATE = "sessions_app/admin/second_factor.html"


@admin.register(LoginThrottle)
class LoginThrottleAdmin(ConsoleAdmin):
    """What failed before."""

    view_role = Role.ADMIN
    plural, singular = "Failed logins", "Failed login"
    empty = "Nobody failed to sign in lately."

    list_display = ("__str__", "failures", "last", "blocked")
    search_fields = ("account__exact", "address__exact")
    search_help_text = "An account, or an address"
    fields = ("account", "address", "failures", "last", "blocked")
    last = show.age_of("last_at", "last")
    blocked = show.age_of("blocked_until", "blocked until")


@admin.register(SecondFactor)
class SecondFactorAdmin(ConsoleAdmin):
    """The second factors; no page shows a key."""

    view_role = Role.ADMIN
    plural, singular = "Second factors", "Second factor"
    empty = "Nobody has a second factor. Each person adds their own, at /admin/second-factor/."

    list_display = ("__str__", "confirmed", "born")
    list_select_related = ("user",)
    fields = ("person", "confirmed", "born")
    confirmed = show.age_of("confirmed_at", "in force since")
    born = show.age_of("created_at", "begun")

    @admin.display(description="person")
    def person(self, row: SecondFactor) -> str:
        """Whose it is."""
        return row.user.get_username()


class LoginForm(AdminAuthenticationForm):
    """The admin's form, which refuses an account for a while after failures, whatever the password is."""

    def clean(self) -> dict[str, Any]:
        """Sign in, or say why not."""
        account, address = str(self.cleaned_data.get("username") or ""), _address(self.request)
        tried = _attempt(account, address)
        try:
            cleaned: dict[str, Any] = super().clean() or {}
        except forms.ValidationError:
            logins.failed(tried)
            raise
        if (user := self.get_user()) is not None:
            (logins.half_done if second_factor.is_on(user) else logins.succeeded)(tried)
            audit.record("person.signed_in", "person", account, principal=_person(user, address))
        return cleaned


class PasswordForm(AdminPasswordChangeForm):
    """The admin's form, in which a wrong old password counts as a failed login."""

    def __init__(self, user: Any, *args: Any, address: str, **named: Any) -> None:
        self.address = address
        super().__init__(user, *args, **named)

    def clean_old_password(self) -> str:
        """Check the old password. Failures stay counted: the second factor may still be missing."""
        tried = _attempt(self.user.get_username(), self.address)
        try:
            old: str = super().clean_old_password()
        except forms.ValidationError:
            logins.failed(tried)
            raise
        logins.half_done(tried)
        return old

    def save(self, commit: bool = True) -> Any:
        """Change the password through the service, like every change of a person."""
        with audit.acting(lambda: _person(self.user, self.address)):
            people.change_password(self.user, self.cleaned_data["new_password1"])
        return self.user


class PasswordView(PasswordChangeView):
    """One's own password, changed."""

    form_class = PasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add from where."""
        return {**super().get_form_kwargs(), "address": _address(self.request)}


def password_page(request: HttpRequest) -> HttpResponseBase:
    """Change one's own password."""
    done, frame = reverse("admin:password_change_done"), site().each_context(request)
    return PasswordView.as_view(success_url=done, extra_context=frame)(request)


class CodeForm(forms.Form):
    """A code of an authenticator app."""

    code = forms.CharField(
        max_length=10,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "autocomplete": "one-time-code", "autofocus": True}
        ),
    )


@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """Show the factor at login; else enrol one, or take it away."""
    user: Any = request.user
    on = second_factor.is_on(user)
    missing = logins.standing(request.session) is Standing.FACTOR_MISSING
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            news = _take(request, form.cleaned_data["code"], on=on, missing=missing)
        except KheishError as refusal:
            form.add_error(None, f"{refusal.detail[:1].upper()}{refusal.detail[1:]}.")
        else:
            if news:
                messages.success(request, news)
            return HttpResponseRedirect(_next(request))
    return TemplateResponse(request, TEMPLATE, _context(request, form, on=on, missing=missing))


def _take(request: HttpRequest, code: str, *, on: bool, missing: bool) -> str:
    """Act on a right code and return what to say; wrong ones count as failed logins."""
    user: Any = request.user
    account, address = user.get_username(), _address(request)
    tried = logins.attempt(account, address)
    with audit.acting(lambda: _person(user, address)):
        try:
            if not on:
                second_factor.confirm(user, code)
                news = "Your second factor is on."
            else:
                second_factor.verify(user, code)
                news = ""
        except WrongCode:
            logins.failed(tried)
            raise
        logins.succeeded(tried)
        if on and not missing:
            second_factor.remove(user, reason="by its owner")
            logins.begin(request.session, user)
            return "Your second factor is gone."
    request.session.cycle_key()
    logins.factor_shown(request.session)
    return news


def _context(request: HttpRequest, form: CodeForm, *, on: bool, missing: bool) -> dict[str, Any]:
    context = {
        **admin.site.each_context(request),
        "title": "Second factor",
        "form": form,
        "console_on": on and not missing,
        "console_button": "Remove it" if on and not missing else "Continue" if on else "Turn it on",
    }
    if not on:
        key = second_factor.begin(request.user)
        context |= {"console_key": key, "console_picture": picture(second_factor.address(request.user, key))}
    return context | ({"has_permission": False} if missing else {})


def picture(text: str) -> SafeString:
    """Return a QR code of ``text`` as SVG: paths and attributes alone, which a strict policy lets pass."""
    code = segno.make(text, error="m", micro=False)
    drawn = code.svg_inline(scale=5, border=4, dark="#000", light="#fff", title="QR code for your app")
    return mark_safe(drawn)  # noqa: S308 (made here, of a text that is drawn and not written)


def _next(request: HttpRequest) -> str:
    given = request.GET.get("next", "")
    if url_has_allowed_host_and_scheme(given, {request.get_host()}, require_https=request.is_secure()):
        return given
    return reverse("admin:index")


def _attempt(account: str, address: str) -> Attempt:
    """Let one try through. Raises: ValidationError while they are blocked."""
    try:
        return logins.attempt(account, address)
    except TooManyAttempts as refusal:
        raise forms.ValidationError(f"{refusal.detail[:1].upper()}{refusal.detail[1:]}.") from refusal


def _person(user: Any, address: str) -> Principal:
    return Principal(name=user.get_username(), role=role_of(user), auth_method="session", remote_addr=address)


def _address(request: HttpRequest | None) -> str:
    return str(request.META.get("REMOTE_ADDR") or "")[:64] if request is not None else ""


site().page("password_change/", "password_change", password_page)
