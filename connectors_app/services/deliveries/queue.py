"""How a message enters the queues of its targets: in the transaction that commits its cause."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models.functions import Now

from connectors_app.models import Delivery, DeliveryKind, DeliveryTarget
from connectors_app.services import handles
from connectors_app.services.deliveries import attachments as attachments_of
from connectors_app.services.deliveries import bell, entries
from connectors_app.services.deliveries.targets import hold
from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from kheish_site.lib.transactions import require_transaction
from sessions_app.models import Run, Session
from sessions_app.services import journal

_COPIED = (
    "session", "run", "kind", "content", "size_bytes", "parts", "parts_count", "attachments", "buttons",
    "metadata",
)  # fmt: skip
_OUTPUT_MEMBERS = frozenset(
    {"content", "parts", "attachments", "files", "buttons", "reply_targets", "metadata"}
)


def enqueue(
    session: Session,
    run: Run | None,
    *,
    targets: Iterable[Mapping[str, Any]],
    key: str,
    content: str,
    parts: Sequence[Mapping[str, Any]] = (),
    attachments: Sequence[str] = (),
    buttons: Sequence[Sequence[Mapping[str, Any]]] = (),
    metadata: Mapping[str, Any] | None = None,
    kind: str = DeliveryKind.OUTPUT,
) -> list[Delivery]:
    """Queue one message for each of ``targets`` (handles in normal form); local ones are passed over.

    Of several handles with one queue, the first gives the message's placement. The content must be redacted
    already. ``attachments`` are asset ids, ``buttons`` rows of ``{"label", "data", "style"}``. The same
    ``key`` again adds nothing for a target that has it. Returns all deliveries of this key, old and new.
    Needs the open transaction that holds the session's row; it locks the target rows, by primary key.
    """
    require_transaction()
    files = _assets(attachments, parts)
    message = {
        "session": session,
        "run": run,
        "key": key,
        "kind": kind,
        "content": content,
        "size_bytes": len(content.encode()),
        "parts": [dict(part) for part in parts],
        "parts_count": len(parts),
        "attachments": files,
        "buttons": [[dict(button) for button in row] for row in buttons],
        "metadata": dict(metadata or {}),
    }
    attachments_of.hold(files)  # before the targets: the order in which outputs lock them
    wanted = list(targets)
    placements = {handles.digest_of(handle): handles.placement_of(handle) for handle in reversed(wanted)}
    return _into(hold(wanted), message, placements)


def _assets(attachments: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids of all assets a message names, each once."""
    named = (str(part["asset_id"]) for part in parts if part.get("asset_id"))
    return list(dict.fromkeys([*attachments, *named]))


def again(source: Delivery, target: DeliveryTarget, *, key: str) -> Delivery:
    """Queue the message of ``source`` once more, at the end of the queue of ``target``, whose row is locked.

    Parts that the target has confirmed are not sent again; a part that was only begun is left to the delivery
    that began it.
    """
    message = {name: getattr(source, name) for name in _COPIED}
    message["progress"] = {name: value for name, value in source.progress.items() if name != "begun"}
    placements = {target.digest: source.placement}
    return _into([target], {**message, "key": key, "replayed_from": source}, placements)[0]


def output_emitted(run: Run, output: Mapping[str, Any], key: str) -> None:
    """Queue an output of ``run`` for the targets it names, else for the run's (``ports.on_output``)."""
    targets = output.get("reply_targets") or run.reply_targets
    if not targets:
        return
    enqueue(
        run.session,
        run,
        targets=targets,
        key=key,
        content=str(output.get("content", "")),
        parts=output.get("parts", ()),
        attachments=output.get("attachments", ()),
        buttons=output.get("buttons", ()),
        metadata={
            **output.get("metadata", {}),
            **{name: value for name, value in output.items() if name not in _OUTPUT_MEMBERS},
        },
    )


def _into(
    rows: Sequence[DeliveryTarget],
    message: Mapping[str, Any],
    placements: Mapping[str, Mapping[str, Any]],
) -> list[Delivery]:
    key = message["key"]
    earlier = Delivery.objects.select_related("target", "session", "run").filter(target__in=rows, key=key)
    known = {delivery.target_id: delivery for delivery in earlier} if rows else {}
    now = clock.now()
    fresh = [
        Delivery(
            delivery_id=new_id("dlv"),
            target=target,
            placement=dict(placements[target.digest]),
            created_at=now,
            **message,
        )
        for target in rows
        if target.pk not in known
    ]
    if fresh:
        Delivery.objects.bulk_create(fresh)
        attachments_of.refer(fresh)
        pks = [delivery.target_id for delivery in fresh]
        DeliveryTarget.objects.filter(pk__in=pks, next_at=None).update(next_at=Now())
        queued = [entries.entry(delivery, delivery.status, key=key, kind=delivery.kind) for delivery in fresh]
        journal.append(message["session"].pk, *queued)
        bell.ring()
    return sorted([*known.values(), *fresh], key=lambda delivery: delivery.pk)
