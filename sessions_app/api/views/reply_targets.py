"""Where a session's future runs answer to. Edits are prospective: runs that exist keep what they have."""

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import examples
from sessions_app.api.etags import check_match, etag
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import sessions as shapes
from sessions_app.api.views.base import KheishView
from sessions_app.models import Session
from sessions_app.services import reply_targets, sessions

_BODY = {"reply_targets": [{"type": "http", "url": "https://example.com/hook"}]}


class SessionReplyTargets(KheishView):
    """``/v1/sessions/{session_id}/reply-targets``."""

    @describe(
        "sessions_reply_targets_get",
        "Get where a session's future runs answer to",
        answer=shapes.ReplyTargetsView,
        example=examples.REPLY_TARGETS,
    )
    def get(self, request: Request, session_id: str) -> Response:
        """The defaults; header values and queries of URLs are masked."""
        return _answer(sessions.get(session_id))

    @describe(
        "sessions_reply_targets_post",
        "Add reply targets to a session",
        body=shapes.AddedReplyTargetsBody,
        answer=shapes.ReplyTargetsView,
        body_example=_BODY,
        example=examples.REPLY_TARGETS,
        description="Appends; one that is there already changes nothing.",
    )
    @idempotent
    def post(self, request: Request, session_id: str) -> Response:
        """Append."""
        body = self.body(shapes.AddedReplyTargetsBody)
        revision = self._seen(session_id) if request.headers.get("If-Match") else None
        return _answer(
            reply_targets.append(
                session_id, body["reply_targets"], principal=self.principal, expected_revision=revision
            )
        )

    @describe(
        "sessions_reply_targets_put",
        "Replace a session's reply targets",
        body=shapes.ReplyTargetsBody,
        answer=shapes.ReplyTargetsView,
        body_example={**_BODY, "pinned": True},
        example=examples.REPLY_TARGETS,
        if_match=True,
        description="`pinned` keeps connectors from changing them; without it that stays as it is.",
    )
    def put(self, request: Request, session_id: str) -> Response:
        """Replace, having seen what is there."""
        body = self.body(shapes.ReplyTargetsBody)
        return _answer(
            reply_targets.replace(
                session_id,
                body["reply_targets"],
                pinned=body.get("pinned"),
                principal=self.principal,
                expected_revision=self._seen(session_id),
            )
        )

    @describe(
        "sessions_reply_targets_delete",
        "Clear a session's reply targets",
        answer=shapes.ReplyTargetsView,
        if_match=True,
        description="Outputs of future runs stay in the session; the targets are no longer pinned.",
    )
    def delete(self, request: Request, session_id: str) -> Response:
        """Back to none."""
        return _answer(
            reply_targets.replace(
                session_id,
                [],
                pinned=False,
                principal=self.principal,
                expected_revision=self._seen(session_id),
            )
        )

    def _seen(self, session_id: str) -> int:
        revision = sessions.get(session_id).revision
        check_match(self.request, revision)
        return revision


def _answer(session: Session) -> Response:
    view = {
        "session_id": session.session_id,
        "reply_targets": reply_targets.shown(session.reply_targets),
        "pinned": session.reply_targets_pinned,
        "revision": session.revision,
    }
    return Response(view, headers={"ETag": etag(session.revision)})
