"""The pages on which a verb is confirmed, for one row, for selected rows, and for a new one."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, re_path, reverse
from django.utils.html import format_html

from kheish_site.lib.errors import KheishError
from sessions_app.admin import addresses, courses, permits
from sessions_app.admin.caller import principal
from sessions_app.admin.once import Told, new_key, once, once_for
from sessions_app.admin.verbs import MOST_ROWS, Outcome, Verb, perform, reason_mark

TEMPLATE = "sessions_app/admin/verb.html"
ONCE_TEMPLATE = "sessions_app/admin/once.html"
COURSE_TEMPLATE = "sessions_app/admin/course.html"
_SEEN: Final = re.compile(r"seen-[0-9]{1,19}")
PREVIEWED: Final = 5
"""Rows shown before a verb goes through more of them than anybody reads."""


class VerbPages:
    """What a ``ModelAdmin`` with verbs needs; see ``base.ConsoleAdmin`` for the attributes used."""

    verbs: ClassVar[Sequence[Verb]]
    creates: ClassVar[Sequence[Verb]]
    facts: Callable[[Any], Sequence[tuple[str, Any]]]
    get_object: Callable[..., Any]
    opts: Any
    admin_site: Any
    plural: ClassVar[str]
    title_of: Callable[[Any], str]

    def verb_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages here."""
        name, guarded = self._url_name, self.admin_site.admin_view
        made = "|".join(verb.name for verb in self.creates)  # no other: a row may be called "new"
        return [
            re_path(rf"^new/(?P<verb_name>{made})/$", guarded(self.create_view), name=name("new")),
            path("<path:object_id>/do/<slug:verb_name>/", guarded(self.verb_view), name=name("do")),
        ]

    def verbs_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the verbs for the page of ``row``: with a form on it, and with a page of their own."""
        possible = [verb for verb in self.verbs if verb.applies(row)]
        allowed = [verb for verb in possible if permits.may(request, verb, row)]
        inline = [self._offer(verb, row) for verb in allowed if verb.inline]
        return {
            "console_verbs": [self._offer(verb, row) for verb in allowed if not verb.inline],
            "console_inline": inline,
            "console_inline_form": _shared_form([offer["verb"] for offer in inline], row),
            "console_seen": {row.pk: _seal(allowed, row)} if inline else {},
            "console_refusal": permits.refusal(request, possible[0], row) if possible and not allowed else "",
        }

    def _offer(self, verb: Verb, row: Any) -> dict[str, Any]:
        url = addresses.of_verb(row, verb.name)
        return {"verb": verb, "url": url, "wants_reason": verb.wants_reason(row)}

    def bulk(self, verb: Verb) -> Callable[..., HttpResponse | None]:
        """Return the action of a list for ``verb``: first the page that asks, then the deed."""

        def action(model_admin: Any, request: HttpRequest, rows: Any) -> HttpResponse | None:
            if "course" in request.POST:
                return self._go_on(request, verb, rows)
            chosen = list(rows[: MOST_ROWS + 1])
            if len(chosen) <= MOST_ROWS:
                return self._many(request, verb, chosen)
            if verb.seal is not None or verb.keyed:
                why = "Each must be looked at" if verb.seal is not None else "Each becomes something new"
                messages.error(request, f"{why}: at most {MOST_ROWS}. Nothing was done.")
                return None
            return self._preview(request, verb, rows, _bound(request, verb.form_class(None)))

        return action

    def _many(self, request: HttpRequest, verb: Verb, rows: list[Any]) -> HttpResponse | None:
        form = _bound(request, verb.form_class(None))
        if not form.is_valid():
            return self._ask(request, verb, rows, form, bulk=True)
        guard = {}
        if verb.keyed:  # what is made of them comes in their order
            guard, rows = {"once": partial(once_for, request)}, sorted(rows, key=lambda row: row.pk)
        tally = perform(verb, rows, form.cleaned_data, principal(request), _seen(request), **guard)
        messages.add_message(request, tally.level, str(tally))
        return None

    def _preview(self, request: HttpRequest, verb: Verb, rows: Any, form: Form) -> HttpResponse | None:
        """Say how many rows a verb would go through, with the first of them, before it does anything."""
        course = courses.begin(self._course_of(verb), rows)
        if course is None:
            return None
        return self._ask(
            request,
            verb,
            list(courses.left(course, rows)[:PREVIEWED]),
            form,
            bulk=True,
            course=course,
            possible=courses.possible(course, rows, verb),
        )

    def _go_on(self, request: HttpRequest, verb: Verb, rows: Any) -> HttpResponse | None:
        """Do the next batch of a course; say what came of it, or how far it is and how to go on."""
        course = courses.read(self._course_of(verb), request.POST["course"])
        if course is None:
            messages.error(request, "The page was of another list: nothing was done. Begin again.")
            return None
        form = _bound(request, verb.form_class(None))
        if not form.is_valid():
            return self._preview(request, verb, rows, form)
        after = courses.go_on(course, rows, verb, form.cleaned_data, principal(request))
        if after.over:
            messages.add_message(request, after.tally.level, str(after.tally))
            return None
        return TemplateResponse(request, COURSE_TEMPLATE, self._frame(request, verb, form, after))

    def _course_of(self, verb: Verb) -> str:
        return f"{self.opts.label_lower}.{verb.name}"

    def _frame(
        self, request: HttpRequest, verb: Verb, form: Form, course: courses.Course | None
    ) -> dict[str, Any]:
        """Return what the pages about many rows have in common."""
        return {
            **self.admin_site.each_context(request),
            "title": verb.label,
            "opts": self.opts,
            "verb": verb,
            "form": form,
            "course": course,
            "plural": self.plural,
            "list_url": self._list_url(),
            "action_name": helpers.ACTION_CHECKBOX_NAME,
            "action_url": request.get_full_path() if course is not None else self._list_url(),
        }

    def verb_view(self, request: HttpRequest, object_id: str, verb_name: str) -> HttpResponse:
        """One verb on one row."""
        row, verb = self.get_object(request, object_id), _named(self.verbs, verb_name)
        if row is None:
            raise Http404("no such row")
        permits.require(request, verb, row)
        form = _bound(request, verb.form_class(row), initial=verb.initial(row))
        if form.is_valid():
            cleaned = {**form.cleaned_data, "seen": _seen(request).get(row.pk, "")}
            answer = self._try(request, verb, row, form, cleaned)
            if answer is not None:
                return answer
        return self._ask(request, verb, [row], form)

    def create_view(self, request: HttpRequest, verb_name: str) -> HttpResponse:
        """One verb that makes something new."""
        verb = _named(self.creates, verb_name)
        permits.require(request, verb)
        form = _bound(request, verb.form_class(None), initial=verb.initial(None))
        if form.is_valid():
            answer = self._try(request, verb, None, form, form.cleaned_data)
            if answer is not None:
                return answer
        return self._ask(request, verb, [], form)

    def _try(
        self, request: HttpRequest, verb: Verb, row: Any, form: Form, cleaned: dict[str, Any]
    ) -> HttpResponse | None:
        """Do it and go where the result is seen; a refusal becomes an error of the form (None)."""

        def work() -> Told:
            return self._told(verb, row, verb.do(row, cleaned, principal(request)))

        try:
            told = once(request, work) if verb.keyed else work()
        except KheishError as refusal:
            form.add_error(None, problem(refusal))
            return None
        except ValidationError as error:
            form.add_error(None, error)
            return None
        if told.secret:
            return self._show_once(request, verb, told.secret)
        messages.success(request, told.words)
        return HttpResponseRedirect(told.url)

    def _told(self, verb: Verb, row: Any, outcome: Outcome) -> Told:
        there = outcome.row if outcome.row is not None else row
        gone = there is None or there.pk is None
        url = self._list_url() if gone else addresses.of(there)
        return Told(words=f"{done_words(verb, outcome)}.", url=url, secret=outcome.once)

    def _ask(
        self,
        request: HttpRequest,
        verb: Verb,
        rows: list[Any],
        form: Form,
        *,
        bulk: bool = False,
        course: courses.Course | None = None,
        possible: int = 0,
    ) -> HttpResponse:
        mark_reason(form, reason_mark([verb], None if bulk or not rows else rows[0]))
        context = self._frame(request, verb, form, course)
        context |= {
            "title": verb.label if not rows or bulk else f"{verb.label}: {self.title_of(rows[0])}",
            "rows": [{"pk": row.pk, "facts": self.facts(row), "applies": verb.applies(row)} for row in rows],
            "seen": {row.pk: _seal([verb], row) for row in rows},
            "bulk": bulk,
            "possible": possible,
            "most": courses.MOST,
            "once": new_key() if verb.keyed else "",
            "back_url": addresses.of(rows[0]) if len(rows) == 1 and not bulk else context["action_url"],
        }
        return TemplateResponse(request, TEMPLATE, context)

    def _show_once(self, request: HttpRequest, verb: Verb, secret: str) -> HttpResponse:
        """Show a value in this answer alone: a redirect would have to store it somewhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": verb.past[:1].upper() + verb.past[1:],
            "opts": self.opts,
            "plural": self.plural,
            "once": secret,
            "list_url": self._list_url(),
        }
        answer = TemplateResponse(request, ONCE_TEMPLATE, context)
        answer["Cache-Control"] = "no-store"
        return answer

    def _url_name(self, what: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{what}"

    def _list_url(self) -> str:
        return reverse(f"admin:{self._url_name('changelist')}")


def _bound(request: HttpRequest, form: type[Form], initial: dict[str, Any] | None = None) -> Form:
    """Return the form with what was sent once the person has confirmed, empty before."""
    confirmed = request.method == "POST" and "confirmed" in request.POST
    return form(request.POST) if confirmed else form(initial=initial)


def _shared_form(verbs: Sequence[Verb], row: Any) -> Form | None:
    """Return the form that several verbs on one page send, its reason marked for those that want one."""
    if not verbs:
        return None
    form = verbs[0].form_class(row)()
    mark_reason(form, reason_mark(verbs, row))
    return form


def mark_reason(form: Form, mark: str) -> None:
    """Say beside the reason's label who must give one, and let browsers ask for it; services insist."""
    field = form.fields.get("reason")
    if field is not None and mark:
        field.label = f"Reason ({mark})"
        field.widget.attrs["required"] = True


def _named(verbs: Sequence[Verb], name: str) -> Verb:
    for verb in verbs:
        if verb.name == name:
            return verb
    raise Http404("no such verb")


def _seal(verbs: Sequence[Verb], row: Any) -> str:
    return next((verb.seal(row) for verb in verbs if verb.seal is not None), "")


def _seen(request: HttpRequest) -> dict[Any, str]:
    """Return by row what the page that was confirmed had shown of it."""
    marks = (name for name in request.POST if _SEEN.fullmatch(name))
    return {int(name[5:]): request.POST[name] for name in marks}


def done_words(verb: Verb, outcome: Outcome) -> str:
    """Return what came of a verb, as the beginning of a sentence."""
    said = outcome.word or verb.past
    return f"{said[:1].upper()}{said[1:]}"


def problem(refusal: KheishError) -> ValidationError:
    """Return why a service refused as an error of a form, with the code that the API answers with."""
    words = format_html("{} <code>{}</code>", sentence(refusal), refusal.error_code)
    return ValidationError(words, code=refusal.error_code)


def sentence(refusal: KheishError) -> str:
    """Return why a service refused, as a sentence."""
    problems = refusal.extra.get("errors")
    words = refusal.detail or refusal.error_code
    if isinstance(problems, list) and problems:
        named = (item.get("detail", "") if isinstance(item, dict) else item for item in problems)
        words = f"{words}: {'; '.join(str(item) for item in named)}"
    return f"Refused: {words}."
