"""A service with a busy morning on it, and people of each group to sign in as."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Final

from kheish_site.cli.client import Client
from kheish_site.screenshots.scene import Scene
from tests.support.service import ROOT, Service

SETTINGS: Final = {"KHEISH_APPROVAL_HIGH_MINUTES": "45"}
"""The services that browsers look at: approvals of high risk have an end to show."""
PASSWORD = "a-long-enough-password"
PEOPLE = """
import django; django.setup()
from django.contrib.auth.models import Group, Permission, User
for name, group in (("vera", "viewer"), ("nora", "operator"), ("otto", "operator")):
    user = User.objects.create_user(name, password="%s", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    if group == "operator":
        user.user_permissions.add(Permission.objects.get(codename="decide_high_risk"))
"""
ROWS = """
import json
from tests.support import desk
print(json.dumps(desk.fill()))
"""


@dataclass
class Morning:
    """What the tests of one file look at."""

    service: Service
    client: Client
    run_ids: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)

    def key(self, noun: str, of: str, number: int = 0) -> str:
        """The id of what a run of the scene waits for."""
        return str(self.client.runs(self.run_ids[of]).get()[f"pending_{noun}_ids"][number])

    def key_of(self, tool_name: str, of: str) -> str:
        """The id of the first open approval of a run for a call of this tool."""
        asked = {"run_id": self.run_ids[of], "status": "pending"}
        found = self.client.page("/v1/approvals", query=asked)["items"]
        return min(str(one["approval_id"]) for one in found if one["tool_name"] == tool_name)

    def inbox(self, noun: str, of: str, number: int = 0) -> str:
        """The page on which that is decided."""
        return f"/admin/inbox/{self.key(noun, of, number)}/"

    def run_page(self, of: str) -> str:
        """The page of a run of the scene."""
        return f"/admin/sessions_app/run/{self.run_ids[of]}/change/"


def set_morning(service: Service) -> dict[str, str]:
    """Set what stays of the scene, with its people; returns the names of its runs."""
    scene = Scene(Client(service.url, service.token))
    scene.set_what_stays(service.kill_workers)
    run_beside(service, "-c", PEOPLE % PASSWORD)
    return scene.run_ids


def morning(service: Service, run_ids: dict[str, str]) -> Morning:
    """The scene on a service that was started on what `set_morning` left."""
    client = Client(service.url, service.token)
    scene = Scene(client)
    scene.go_on()
    return Morning(service, client, run_ids | scene.run_ids)


def add_rows(found: Morning) -> None:
    """Connectors, deliveries and captures too."""
    said = run_beside(found.service, "-c", "import django; django.setup()" + ROWS)
    found.pages = json.loads(said.splitlines()[-1])


def run_beside(service: Service, *arguments: str) -> str:
    """Run Python with the settings of a running service; returns what it printed."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "kheish_site.settings",
        "KHEISH_STATE_DIR": str(service.state_dir),
    }
    told = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stderr
    return told.stdout
