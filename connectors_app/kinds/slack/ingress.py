"""``POST /v1/connectors/slack/{name}``: events and clicks, answered within Slack's three seconds."""

from collections.abc import Mapping
from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.ingress import IngressUnauthorized, IngressView
from connectors_app.kinds.slack import answers, events, files, interactive, signature, tokens
from connectors_app.kinds.slack.events import InvalidEvent, Message
from connectors_app.kinds.slack.people import known_as
from connectors_app.kinds.slack.settings import options
from connectors_app.services import connectors, ingress
from connectors_app.services.ingress import Accepted
from kheish_site.lib.strict_json import loads
from kheish_site.lib.transactions import release_connection
from sessions_app.api.auth import remote_addr

_FORM: Final = "application/x-www-form-urlencoded"


class SlackView(IngressView):
    """The handling of clicks, which both addresses share."""

    kind = "slack"

    def take_click(self, request: Request) -> Response:
        """Decide as a button says. A click always needs a signature, even where events need none."""
        has_secret = connectors.holds(self.connector, "signing_secret")
        if not has_secret or not signature.is_authentic(self.connector, self.raw, request.headers):
            raise IngressUnauthorized("the click is not signed by Slack")
        click = interactive.click_of(options(self.connector), interactive.payload_of(self.raw))
        if click is not None:
            reply = interactive.perform(self.connector, click, remote_addr(request))
            answers.answer_later(self.connector, reply)
        return Response()


class SlackInteractive(SlackView):
    """``/v1/connectors/slack/{name}/interactive``."""

    def receive(self, request: Request) -> Response:
        """Take a click."""
        return self.take_click(request)


class SlackIngress(SlackView):
    """``/v1/connectors/slack/{name}``."""

    def receive(self, request: Request) -> Response:
        """Take an event, or a click."""
        if (request.content_type or "").partition(";")[0].strip().lower() == _FORM:
            return self.take_click(request)
        if not signature.is_authentic(self.connector, self.raw, request.headers):
            raise IngressUnauthorized("the event is not signed by Slack")
        envelope = loads(self.raw)
        if not isinstance(envelope, dict):
            raise InvalidEvent("an envelope is an object")
        return self._notice(envelope) or self._message(request, envelope)

    def _notice(self, envelope: Mapping[str, Any]) -> Response | None:
        """Answer an envelope that is not a message; None for a message."""
        if envelope.get("type") == "url_verification":
            challenge = envelope.get("challenge")
            if not isinstance(challenge, str):
                raise InvalidEvent("url_verification has a challenge")
            return Response({"challenge": challenge})
        if envelope.get("type") == "app_rate_limited":
            events.check_allowed(options(self.connector), envelope, channel_id=None)
            minute = envelope.get("minute_rate_limited")
            return Response({"ignored": True, "type": "app_rate_limited", "minute_rate_limited": minute})
        reason = events.ignored(envelope)
        return Response({"ignored": True, "reason": reason}) if reason else None

    def _message(self, request: Request, envelope: Mapping[str, Any]) -> Response:
        events.check_allowed(options(self.connector), envelope, channel_id=events.channel_of(envelope))
        message = events.read(self.connector.name, envelope)
        accepted = ingress.seen(self.connector, message.key, message.fingerprint)
        if accepted is None:
            accepted = self._accept(message, is_last=_retry_number(request) >= files.LAST_RETRY)
        return self.answer(accepted)

    def _accept(self, message: Message, *, is_last: bool) -> Accepted:
        config, items = options(self.connector), list[dict[str, Any]]()
        actor_id = known_as(self.connector, message.home_id, message.user_id)
        if message.files:
            signed = connectors.holds(self.connector, "signing_secret")
            token = tokens.bot_token(self.connector, message.place.team_id) if signed else ""
            release_connection()
            items = files.fetch(config, message.files, token=token, is_last=is_last)
            items = files.opened(message.files, items, is_last=is_last)
        return ingress.accept(self.connector, events.inbound(config, message, items, actor_id=actor_id))


def _retry_number(request: Request) -> int:
    text = request.headers.get("X-Slack-Retry-Num", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
