"""``manage.py screenshots``: take the pictures of the documentation from a real service.

Reading order: ``scene`` (what is going on), ``camera`` (a headless Chromium), then the list of pictures here.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kheish_site.demo.stage import ROOT, OwnService
from kheish_site.screenshots.camera import Camera, camera
from kheish_site.screenshots.scene import Scene
from kheish_site.testing.browser import install_browser

__all__ = ["main"]

EDITED = """{
  "command": "kubectl rollout restart deployment/api --namespace checkout",
  "description": "Restart all pods of the deployment, one after the other"
}"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One file of ``docs/pictures``. ``path`` may name a run of the scene in braces."""

    name: str
    path: str
    width: int = 1360
    height: int = 900
    theme: str = "light"
    edit: bool = False


PICTURES = (
    Picture(name="home", path="/admin/", height=980),
    Picture(name="run", path="/admin/sessions_app/run/{approval}/change/"),
    Picture(name="approve-with-edits", path="/admin/inbox/{to_edit}/", height=1060, theme="dark", edit=True),
    Picture(name="phone", path="/admin/inbox/{to_edit}/", width=390, height=844),
)


def main(arguments: Sequence[str]) -> int:
    """Take all pictures, or those that are named; prints each file. 0 when all were taken."""
    parser = argparse.ArgumentParser(prog="manage.py screenshots", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(one.name for one in PICTURES))
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "pictures", help="folder of the pictures")
    options = parser.parse_args(arguments)
    wanted = [one for one in PICTURES if not options.names or one.name in options.names]
    install_browser()
    options.to.mkdir(parents=True, exist_ok=True)
    with OwnService() as stage:
        scene = Scene(stage.client)
        scene.set(lambda: _crash(stage))
        waits = stage.client.runs(scene.run_ids["approval"]).get()["pending_approval_ids"][0]
        with camera(stage.client.base_url) as taken:
            taken.sign_in("admin", stage.password)
            for picture in wanted:
                _take(taken, picture, picture.path.format(**scene.run_ids, to_edit=waits), options.to)
    return 0


def _crash(stage: OwnService) -> None:
    stage.kill()
    stage.restart()


def _take(taken: Camera, picture: Picture, path: str, folder: Path) -> None:
    taken.look(picture.width, picture.height, picture.theme)
    taken.open(path)
    if picture.edit:
        taken.edit(EDITED)
    file = folder / f"{picture.name}.png"
    taken.shoot(file)
    print(file, file=sys.stdout)
