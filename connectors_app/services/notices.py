"""Notices tell a run's reply targets what it asks people, with buttons, and how its background tasks ended.

One delivery for each item and target, queued in the transaction that suspends the run: no run waits
unannounced, and none is announced that does not wait. Nothing is sent when somebody decides elsewhere; a
press on an old notice answers who decided, and when (``chat_actions``).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db.models import Q

from connectors_app.services import connectors, deliveries, notice_text
from connectors_app.services.button_data import for_approval, for_decline, for_option
from connectors_app.services.chat_actions import answerable
from connectors_app.services.contracts import Button
from kheish_site.lib.visible import shortened
from sessions_app.models import Approval, Run, ShellTask, UserQuestion
from sessions_app.services.ports import Asked

KIND: Final = "notice"
SETTING: Final = "send_notices"
_CHATS: Final = frozenset({"slack", "telegram"})
_BY_SETTING: Final = frozenset({"external", "http"})
_LONGEST_LABEL: Final = 40
Rows = tuple[tuple[Button, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The message about one item."""

    key: str
    content: str
    buttons: Rows
    metadata: Mapping[str, Any]


def asked(run: Run, items: Sequence[Asked]) -> None:
    """Queue a notice of each item for each target that takes notices (``ports.on_asked``).

    Chats take them unless their connector has ``send_notices: false``; others only when it has ``true``.
    """
    targets = _listening(run, unasked=_CHATS)
    if not targets:
        return
    for item in items:
        _queue(run, _notice(run, item), targets)


def task_ended(task: ShellTask) -> None:
    """Queue a notice of the end of a background task for each of its run's targets (``ports.on_task_ended``).

    All take it but those whose connector has ``send_notices: false``.
    """
    run = task.run
    view = notice_text.of_task(run, task)
    metadata = {"notice": view.noun, "run_id": run.run_id, **view.facts}
    notice = Notice(key=f"{task.task_id}:ended", content=view.text, buttons=(), metadata=metadata)
    _queue(run, notice, _listening(run, unasked=_CHATS | _BY_SETTING))


def _queue(run: Run, notice: Notice, targets: Sequence[Mapping[str, Any]]) -> None:
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


def _listening(run: Run, *, unasked: Collection[str]) -> list[dict[str, Any]]:
    """Return the targets of ``run`` that take notices; at most one query.

    Where no connector decides it, targets of the plugins ``unasked`` take them.
    """
    pairs = [(target, _connector_of(run, target)) for target in run.reply_targets]
    wanted = Q()
    for _, connector in pairs:
        wanted |= Q(kind=connector[0], name=connector[1]) if connector else Q()
    rows = connectors.everything().filter(wanted).values_list("kind", "name", "settings") if wanted else ()
    known: dict[tuple[str, str] | None, Any] = {(kind, name): settings for kind, name, settings in rows}
    # No connector, no settings. An http target keeps working when its connector is gone: the same holds.
    known[None] = {}
    for _, connector in pairs:
        if connector and connector[0] == "http":
            known.setdefault(connector, {})
    return [
        target
        for target, connector in pairs
        if connector in known and bool(known[connector].get(SETTING, target["plugin"] in unasked))
    ]


def _connector_of(run: Run, target: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return kind and name of the connector that decides whether ``target`` takes notices; None without one.

    The address of an ``http`` target names no connector: there it is the one that brought the run.
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
    """Return the buttons of a call. One that is not shown whole can only be denied here."""
    deny = Button(label="Deny", data=for_approval(approval, "deny"), style="danger")
    if not whole:
        return ((deny,),)
    return ((Button(label="Allow", data=for_approval(approval, "allow"), style="primary"), deny),)


def _question_buttons(question: UserQuestion) -> Rows:
    """Return a button that declines, after one for each option where one press answers everything."""
    decline = Button(label="Decline", data=for_decline(question))
    if not answerable(question):
        return ((decline,),)
    options = enumerate(question.questions[0]["options"])
    chosen = (Button(label=_label(option["label"]), data=for_option(question, 0, n)) for n, option in options)
    return (*((button,) for button in chosen), (decline,))


def _label(text: str) -> str:
    return shortened(notice_text.plain(text, keep_lines=False), _LONGEST_LABEL)
