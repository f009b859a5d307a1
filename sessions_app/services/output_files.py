"""Files that go out with what a run says: of its workspace, stored once, or those its session has.

``prepare`` opens and judges them, outside any transaction; ``keep`` stores them in the one that commits the
output. The same file again is the same asset, so a call that runs again after a crash adds nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kheish_site.lib.errors import KheishError
from sessions_app.models import Asset, AssetReference, Run
from sessions_app.services import assets
from sessions_app.services.assets import AssetMissing, OpenedFile
from sessions_app.tools.base import GivenFile, OutputFile

DOMAIN: Final = "run"
ROLE: Final = "output"
View = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A file on its way out: opened and found good, or an asset that was there."""

    file: OpenedFile | Asset

    @property
    def hashes(self) -> set[str]:
        """Everything that is stored for it, for ``assets.hold``."""
        return self.file.hashes if isinstance(self.file, OpenedFile) else assets.hashes_of(self.file)

    @property
    def view(self) -> View:
        """What people and targets are told of it, its id aside."""
        return {name: getattr(self.file, name) for name in ("file_name", "media_type", "size_bytes")}


class FileRefused(KheishError):
    """A file cannot go out; ``detail`` names it and says why."""


def prepare(session_id: str, files: Sequence[OutputFile]) -> list[Outgoing]:
    """Open the files of the workspace and find those the session has. Stores nothing.

    Call it outside a transaction: a document or an image is opened in a process of its own.
    Raises: FileRefused, with the code of the reason.
    """
    named = [file.asset_id for file in files if isinstance(file, GivenFile)]
    known = _of_session(session_id, named) if named else {}
    return [_outgoing(file, known) for file in files]


def _outgoing(file: OutputFile, known: dict[str, Asset]) -> Outgoing:
    if isinstance(file, GivenFile):
        return Outgoing(file=known[file.asset_id])
    try:
        return Outgoing(file=assets.prepare(file.content, media_type="", file_name=file.name))
    except KheishError as error:
        raise FileRefused(f"{file.name}: {error.detail}", code=error.error_code) from error


def _of_session(session_id: str, asset_ids: Sequence[str]) -> dict[str, Asset]:
    """Return assets by id that runs of the session were given or sent. Those of others are as if missing."""
    uses = AssetReference.objects.filter(domain=DOMAIN, parent_id=session_id)
    found = assets.everything().filter(asset_id__in=asset_ids, pk__in=uses.values("asset"))
    known = {asset.asset_id: asset for asset in found}
    for asset_id in asset_ids:
        if asset_id not in known:
            raise FileRefused(f"this session was given no file {asset_id}", code=AssetMissing.code)
    return known


def hold(files: Iterable[Outgoing]) -> None:
    """Hold the content of all files that are to be kept in this transaction: once, before any is kept."""
    assets.hold({sha256 for file in files for sha256 in file.hashes})


def keep(run: Run, files: Sequence[Outgoing], *, principal: str) -> View:
    """Store and refer to ``files``; return the members they add to an output: ``attachments``, ``files``.

    Needs the transaction that commits the output, with the session's row locked and the files held in it.
    """
    if not files:
        return {}
    kept: dict[str, tuple[Asset, View]] = {}
    for each in files:
        asset = (
            assets.keep(each.file, principal=principal) if isinstance(each.file, OpenedFile) else each.file
        )
        kept.setdefault(asset.asset_id, (asset, each.view))
    _refer(run, [asset for asset, _ in kept.values()])
    views = [{"asset_id": asset_id, **view} for asset_id, (_, view) in kept.items()]
    return {"attachments": list(kept), "files": views}


def _refer(run: Run, found: Sequence[Asset]) -> None:
    """Keep the assets as long as the run, once however often it sends one."""
    there = AssetReference.objects.filter(domain=DOMAIN, owner_id=run.run_id, role=ROLE)
    known = set(there.values_list("asset_id", flat=True))
    new = [asset for asset in found if asset.pk not in known]
    assets.refer(new, domain=DOMAIN, owner_id=run.run_id, parent_id=run.session.session_id, role=ROLE)
