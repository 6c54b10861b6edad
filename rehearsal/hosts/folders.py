"""The folders of hosts that outlive the process: their files and their records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from rehearsal.atomic_files import write_atomically

_RECORD = "host.json"


@dataclass(frozen=True)
class HostRecord:
    """`system`: name and version of the booted system, None before the first boot. `broken`: by `POST host`."""

    system: tuple[str, str] | None = None
    broken: bool = False


class HostFolders:
    """The folders of one AWS, by instance id. Without a parent folder nothing is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def make(self, instance_id: str) -> Path | None:
        """Create the folder for the files of the instance's host."""
        if self._folder is None:
            return None
        files = self._folder / instance_id / "files"
        files.mkdir(mode=0o700, parents=True, exist_ok=True)
        return files

    def has(self, instance_id: str) -> bool:
        return self._folder is not None and (self._folder / instance_id / "files").is_dir()

    def read(self, instance_id: str) -> HostRecord:
        try:
            record = json.loads((self._of(instance_id) / _RECORD).read_text())
        except FileNotFoundError:
            return HostRecord()
        return HostRecord(tuple(record["system"]) if record["system"] else None, record["broken"])

    def write(self, instance_id: str, record: HostRecord) -> None:
        if not self.has(instance_id):
            return
        write_atomically(self._of(instance_id) / _RECORD, json.dumps(asdict(record)).encode())

    def remove(self, instance_id: str) -> None:
        """Rename the folder first, so that a folder that is removed in part is not resumed as a host."""
        if self.has(instance_id):
            removed = self._of(instance_id).with_suffix(".gone")
            self._of(instance_id).rename(removed)
            shutil.rmtree(removed, ignore_errors=True)

    def keep(self, instance_ids: Collection[str]) -> None:
        """Remove all other folders."""
        for folder in self._folder.iterdir() if self._folder is not None else ():
            if folder.name not in instance_ids:
                shutil.rmtree(folder, ignore_errors=True)

    def _of(self, instance_id: str) -> Path:
        return (self._folder or Path()) / instance_id
