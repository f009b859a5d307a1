"""Notices: what a run asks people is also said where the run answers to, with buttons.

One delivery for each item and target, queued in the transaction that suspends the run: no run waits unheard,
and none is announced that does not wait. Nothing is sent when somebody decides elsewhere; whoever presses a
button of an old notice is told who decided, and when (``chat_actions``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db.models import Q

from connectors_app.services import connectors, deliveries, notice_text
from connectors_app.services.button_data import for_approval, for_decline, for_option
from connectors_app.services.chat_actions import answerable
from connectors_app.services.contracts import Button
from sessions_app.models import Approval, Run, UserQuestion
from sessions_app.services.ports import Asked

KIND: Final = "notice"
SETTING: Final = "send_notices"
_CHATS: Final = frozenset({"slack", "telegram"})
_BY_SETTING: Final = frozenset({"external", "http"})
_LONGEST_LABEL: Final = 40
Rows = tuple[tuple[Button, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What is said about one item."""

    key: str
    content: str
    buttons: Rows
    metadata: Mapping[str, Any]


def asked(run: Run, items: Sequence[Asked]) -> None:
    """Queue a notice of each item for each target that takes notices (``ports.on_asked``).

    Chats take them unless their connector says ``send_notices: false``; others only when it says ``true``.
    """
    targets = _listening(run)
    if not targets:
        return
    for item in items:
        notice = _notice(run, item)
        deliveries.enqueue(
            run.session,
            run,
            targets=targets,
            key=notice.key,
            content=notice.content,
            buttons=[[asdict(button) for button in row] for row in notice.buttons],
            metadata=notice.metadata,
            kind=KIND,
        )


def _listening(run: Run) -> list[dict[str, Any]]:
    """Return the targets of ``run`` that take notices; at most one query."""
    named = [(target, found) for target in run.reply_targets if (found := _connector_of(run, target))]
    if not named:
        return []
    wanted = Q()
    for _, (kind, name) in named:
        wanted |= Q(kind=kind, name=name)
    rows = connectors.everything().filter(wanted).values_list("kind", "name", "settings")
    known = {(kind, name): settings for kind, name, settings in rows}
    return [
        target
        for target, found in named
        if found in known and bool(known[found].get(SETTING, target["plugin"] in _CHATS))
    ]


def _connector_of(run: Run, target: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the connector that says whether ``target`` takes notices, by kind and name; None for no one.

    The address of an ``http`` target names none: there it is the one that brought the run.
    """
    plugin, address = target["plugin"], target["address"]
    if plugin not in _CHATS | _BY_SETTING:
        return None
    if plugin == "http":
        return ("http", run.source_kind) if run.source_plugin == "http" else None
    return plugin, str(address.get("connector", ""))


def _notice(run: Run, item: Asked) -> Notice:
    if isinstance(item, Approval):
        view = notice_text.of_approval(run, item)
        buttons = _approval_buttons(item, whole=view.whole)
        facts = {"approval_id": item.approval_id, "tool_name": item.tool_name, "digest": item.digest}
    elif isinstance(item, UserQuestion):
        view = notice_text.of_question(run, item)
        buttons = _question_buttons(item)
        facts = {"question_id": item.question_id}
    else:
        view = notice_text.of_decision(run, item)
        buttons = ()
        facts = {"decision_id": item.decision_id}
    return Notice(
        key=f"{view.item_id}:asked",
        content=view.text,
        buttons=buttons,
        metadata={"notice": view.noun, "run_id": run.run_id, **facts, **view.facts},
    )


def _approval_buttons(approval: Approval, *, whole: bool) -> Rows:
    """Return the buttons of a call. What could not be shown whole can be denied here, not allowed."""
    deny = Button(label="Deny", data=for_approval(approval, "deny"), style="danger")
    if not whole:
        return ((deny,),)
    return ((Button(label="Allow", data=for_approval(approval, "allow"), style="primary"), deny),)


def _question_buttons(question: UserQuestion) -> Rows:
    """Return a button for each option where one press answers everything, and one that declines."""
    decline = Button(label="Decline", data=for_decline(question))
    if not answerable(question):
        return ((decline,),)
    options = enumerate(question.questions[0]["options"])
    chosen = (Button(label=_label(option["label"]), data=for_option(question, 0, n)) for n, option in options)
    return (*((button,) for button in chosen), (decline,))


def _label(text: str) -> str:
    text = notice_text.plain(text, keep_lines=False)
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"
