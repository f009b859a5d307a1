"""What an operator may write of a Slack connector."""

from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from connectors_app.kinds.slack import tokens
from connectors_app.services import ingress, registry
from connectors_app.services.contracts import ConnectorInvalid
from kheish_site.lib.errors import Unavailable
from sessions_app.models import SecretSlot
from sessions_app.services import secrets
from sessions_app.services.secrets import SecretInUse
from tests.connectors_app.kinds.slack.world import make_slack
from tests.factories import make_secret
from tests.support.slack_server import TOKEN

pytestmark = pytest.mark.django_db


def test_the_least_a_connector_needs() -> None:
    said = make_slack().settings
    assert said["api_base_url"] == "https://slack.com/api"
    assert said["include_self_output"] is True
    assert said["ingress_events_per_second"] == 60


def test_a_team_token_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ConnectorInvalid, match="no secret slot nothing; make it first: secrets set nothing --provider slack"
    ):
        make_slack(team_bot_tokens=[{"team_id": "T1", "bot_token_secret_ref": "nothing"}])


@pytest.mark.parametrize(
    ("given_secrets", "settings"),
    [
        ({"bot_token": {"value": TOKEN}}, {}),
        ({"signing_secret": {"value": "s"}}, {}),
        ({}, {"allow_unauthenticated_ingress": True}),
        (None, {"api_base_url": "http://slack.test/api"}),
    ],
)
def test_definitions_that_do_not_add_up(given_secrets: Any, settings: dict[str, Any]) -> None:
    given = settings if given_secrets is None else {**settings, "secrets": given_secrets}
    with pytest.raises(ConnectorInvalid):
        make_slack(**given)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_base_url": "https://user@slack.test/api"},
        {"api_base_url": "https://slack.test/api?x=1"},
        {"api_base_url": "ftp://slack.test"},
        {"api_base_url": "https://slack.test:99999/api"},
        {"allowed_channel_ids": ["C 1"]},
        {"allowed_file_hosts": ["https://files.test"]},
        {"ingress_events_per_second": 0},
        {"team_bot_tokens": [{"team_id": "T1", "bot_token": "xoxb-plain"}]},
        {
            "team_bot_tokens": [
                {"team_id": "T1", "bot_token_secret_ref": "a"},
                {"team_id": "T1", "bot_token_secret_ref": "b"},
            ]
        },
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_be_read(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_slack(**settings)


def test_a_teams_own_token_is_preferred_and_is_enough() -> None:
    make_secret("team-one", "xoxb-team-canary-one")
    entry = {"team_id": "T1", "bot_token_secret_ref": "team-one"}
    connector = make_slack(team_bot_tokens=[entry])
    assert tokens.bot_token(connector, "T1") == "xoxb-team-canary-one"
    assert tokens.bot_token(connector, "T2") == tokens.bot_token(connector) == TOKEN
    with pytest.raises(SecretInUse):
        secrets.delete("team-one")
    alone = make_slack(
        name="alone", secrets={"signing_secret": {"value": "s-canary"}}, team_bot_tokens=[entry]
    )
    assert tokens.has_token(alone, "T1") and not tokens.has_token(alone, "T2")
    SecretSlot.objects.filter(slot_id="team-one").delete()  # as when a backup is older than the connector
    with pytest.raises(Unavailable):
        tokens.bot_token(alone, "T1")


def test_the_test_event_is_let_in_by_the_connectors_own_lists() -> None:
    connector = make_slack(allowed_team_ids=["T9"], allowed_channel_ids=["C9"])
    kind = registry.kind("slack")
    first, second = kind.test_event(connector), kind.test_event(connector)
    assert first.key != second.key
    assert first.natural_session_id.startswith("slack:ops:team:T9:C9:")
    assert first.reply_targets == ()
    assert ingress.accept(connector, first).run.actor_id == "U0TEST"
