"""Deliveries to Slack: text in pieces, then files, and no piece twice.

``progress`` says what Slack has confirmed and what was begun: ``{"sent": [ts, …], "begun": {"step", "at",
"answered"}, "uploads": {asset_id: file_id}, "shared": bool}``. Each step is recorded as begun before its
request leaves. When its outcome is unknown, the conversation is searched for it: at once, and again before a
later attempt repeats the step.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from connectors_app.kinds.slack import addresses, blocks, mrkdwn, probe, tokens
from connectors_app.kinds.slack.probe import Conversation, Inconclusive, Matches
from connectors_app.kinds.slack.settings import options
from connectors_app.kinds.slack.web import SlackApi, Unsettled
from connectors_app.services.contracts import (
    Address,
    Ambiguous,
    Attachment,
    Parcel,
    Refused,
    RetryLater,
    Sent,
)
from kheish_site.lib import clock
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import release_connection

_NAMESPACE: Final = uuid.UUID("5c0e7a36-0d3f-5a5e-9a43-6b1f6f5b3f0e")
_LOST_UPLOADS: Final = ("file_not_found", "invalid_file", "file_deleted")
_SHARE: Final = "files"


class SlackSender:
    """See ``contracts.Sender``.

    ``looks`` are the pauses before each look for a message whose answer was lost; after ``settle_seconds``
    Slack has shown everything that ever reached it.
    """

    plugin = "slack"

    def __init__(
        self,
        *,
        timeout_seconds: float = 20.0,
        looks: tuple[float, ...] = (0.0, 1.0, 3.0),
        settle_seconds: float = 30.0,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.looks = looks
        self.settle_seconds = settle_seconds

    def normal(self, address: Any) -> Address:
        """Return the address in normal form. Raises: InvalidReplyTarget."""
        return addresses.normal(address)

    def check(self, address: Address) -> None:
        """Refuse an address that cannot work now. Raises: InvalidReplyTarget, ConnectorMissing."""
        addresses.usable(address)

    def honours_keys(self, address: Address) -> bool:
        """Slack takes a repeat for a new message."""
        return False

    def send(self, parcel: Parcel) -> Sent:
        """Send what Slack has not confirmed yet. Raises: RetryLater, Refused, Ambiguous."""
        try:
            connector = addresses.usable(parcel.address)
            if not connector.enabled:
                raise Refused("terminal", f"{connector} is disabled")
            token = tokens.bot_token(connector, parcel.address.get("team_id", ""))
        except KheishError as error:
            kind = RetryLater if error.retryable else Refused
            raise kind("internal" if error.retryable else "terminal", error.detail) from error
        release_connection()
        api = SlackApi(config=options(connector), token=token, timeout_seconds=self.timeout_seconds)
        return _Sending(parcel=parcel, api=api, sender=self).run()


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """One message. ``blocks`` hold its buttons, if any; a ``literal`` one has no markup."""

    text: str
    literal: bool = False
    blocks: list[dict[str, Any]] = field(default_factory=list)


def pieces(parcel: Parcel) -> list[_Piece]:
    """Return the messages of a parcel, the same at every attempt; the last one has the buttons."""
    text = parcel.content
    if not text.strip():
        text = "\n\n".join(str(part["text"]) for part in parcel.parts if part.get("text"))
    literal = parcel.literal
    shown = mrkdwn.escaped(text) if literal else mrkdwn.of_markdown(text)
    found = mrkdwn.split(shown, mrkdwn.LONGEST_TEXT) if text.strip() else []
    if not parcel.buttons:
        return [_Piece(text=piece, literal=literal) for piece in found]
    ending = mrkdwn.split(found.pop(), blocks.LONGEST_SECTION) if found else [""]
    before = "".join(ending[:-1])
    plain = [*found, before] if before else found
    last = _Piece(
        text=ending[-1] or "?",
        literal=literal,
        blocks=blocks.asking(ending[-1], parcel.buttons, literal=literal),
    )
    return [*(_Piece(text=piece, literal=literal) for piece in plain), last]


class _Sending:
    """One attempt at one parcel."""

    def __init__(self, *, parcel: Parcel, api: SlackApi, sender: SlackSender) -> None:
        self._parcel = parcel
        self._api = api
        self._sender = sender
        self._conversation = Conversation(api=api, address=parcel.address)
        self._progress: dict[str, Any] = dict(parcel.progress)

    def run(self) -> Sent:
        messages = pieces(self._parcel)
        if not messages and not self._parcel.attachments:
            raise Refused("terminal", "there is nothing to send")
        for number, piece in enumerate(messages):
            if number >= len(self._sent):
                self._keep(sent=[*self._sent, self._post(number, piece)], begun=None)
        if self._parcel.attachments and not self._progress.get("shared"):
            self._share(self._parcel.attachments)
            self._keep(shared=True, begun=None)
        channel_id = self._parcel.address["channel_id"]
        files = sorted(self._progress.get("uploads", {}).values())
        return Sent(
            reference=":".join([channel_id, *self._sent[:1]]),
            detail={"channel_id": channel_id, "messages": self._sent, "files": files},
        )

    @property
    def _sent(self) -> list[str]:
        return list(self._progress.get("sent", ()))

    def _keep(self, **changes: Any) -> None:
        self._progress = {**self._progress, **changes}
        self._parcel.keep(dict(self._progress))
        release_connection()

    def _post(self, number: int, piece: _Piece) -> str:
        """Post one message and return its timestamp."""
        delivery_id = self._parcel.delivery_id
        message_id = str(uuid.uuid5(_NAMESPACE, f"{delivery_id}:{number}"))
        body: dict[str, Any] = {
            "channel": self._parcel.address["channel_id"],
            "text": piece.text,
            "mrkdwn": not piece.literal,
            "client_msg_id": message_id,
            "metadata": {
                "event_type": probe.EVENT_TYPE,
                "event_payload": {"delivery_id": delivery_id, "part": number},
            },
            # A model's text must not make Slack fetch addresses.
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if piece.blocks:
            body["blocks"] = piece.blocks
        if thread_ts := self._parcel.address.get("thread_ts"):
            body["thread_ts"] = thread_ts

        def post() -> str:
            moment = self._api.write("chat.postMessage", body).get("ts")
            if not isinstance(moment, str):
                raise Ambiguous("decode", "Slack said ok but gave no timestamp")
            return moment

        return self._once(str(number), post, probe.of_delivery(delivery_id, number, message_id))

    def _share(self, attachments: tuple[Attachment, ...]) -> None:
        """Upload the files not uploaded yet, then share all of them in one message."""
        for attachment in attachments:
            uploads = self._progress.get("uploads", {})
            if attachment.asset_id not in uploads:
                self._keep(uploads={**uploads, attachment.asset_id: self._upload(attachment)})
        uploads = self._progress["uploads"]
        files = [{"id": uploads[each.asset_id], "title": each.file_name} for each in attachments]
        body: dict[str, Any] = {"files": files, "channel_id": self._parcel.address["channel_id"]}
        if thread_ts := self._parcel.address.get("thread_ts"):
            body["thread_ts"] = thread_ts

        def share() -> str:
            self._api.write("files.completeUploadExternal", body)
            return ""

        try:
            self._once(_SHARE, share, probe.of_files(frozenset(entry["id"] for entry in files)))
        except Refused as refused:
            if refused.message.removeprefix("Slack: ") not in _LOST_UPLOADS:
                raise
            self._keep(uploads={}, begun=None)
            raise RetryLater("status", "Slack has lost the uploads; they will be repeated") from refused

    def _upload(self, attachment: Attachment) -> str:
        """Upload a file to Slack, where nobody sees it yet, and return its id."""
        data = attachment.read()
        release_connection()
        arguments = {"filename": attachment.file_name or attachment.asset_id, "length": str(len(data))}
        try:
            place = self._api.read("files.getUploadURLExternal", arguments)
            url, file_id = place.get("upload_url"), place.get("file_id")
            if not isinstance(url, str) or not isinstance(file_id, str):
                raise RetryLater("decode", "Slack named no address for the upload")
            self._api.upload(url, data)
        except Ambiguous as lost:
            raise RetryLater(lost.error_class, lost.message) from lost
        return file_id

    def _once(self, step: str, act: Callable[[], str], matches: Matches) -> str:
        """Do one visible step unless it was done; return the result of ``act`` or the timestamp found."""
        begun = self._progress.get("begun")
        if begun and begun["step"] == step:
            found = self._found_earlier(begun, matches)
            if found is not None:
                return found
        now = clock.now().timestamp()
        begun = {"step": step, "at": now, "answered": False}
        self._keep(begun=begun)
        try:
            return act()
        except Ambiguous as lost:
            return self._found_after(lost, matches, since=now)
        except Unsettled:
            self._keep(begun={**begun, "answered": True})
            raise
        except (Refused, RetryLater):
            self._keep(begun=None)
            raise

    def _found_earlier(self, begun: dict[str, Any], matches: Matches) -> str | None:
        """Return the timestamp of an earlier attempt's message, None when the step may be done (again).

        Raises: Ambiguous when that cannot be known, RetryLater when it is too early to know.
        """
        try:
            found = self._conversation.find(matches, since=begun["at"])
        except Inconclusive as reason:
            if begun["answered"]:
                return None  # Slack itself said that it failed
            raise Ambiguous("internal", f"Slack may or may not have the message: {reason}") from reason
        age = clock.now().timestamp() - begun["at"]
        if found is None and not begun["answered"] and age < self._sender.settle_seconds:
            raise RetryLater(
                "internal",
                "an earlier attempt may still arrive at Slack",
                retry_after_seconds=self._sender.settle_seconds - age,
            )
        return found

    def _found_after(self, lost: Ambiguous, matches: Matches, *, since: float) -> str:
        """Return the timestamp of the message whose answer was lost. Raises: Ambiguous."""
        try:
            found = self._conversation.find_soon(matches, since=since, pauses=self._sender.looks)
        except Inconclusive as reason:
            raise Ambiguous(lost.error_class, f"{lost.message}; Slack could not be asked: {reason}") from lost
        if found is None:
            raise Ambiguous(lost.error_class, f"{lost.message}; the message was not found") from lost
        return found
