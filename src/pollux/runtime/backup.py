"""A backup of a project while it runs, and the way back.

    OUT/backup.json   what is in it, with the SHA-256 of every file
    OUT/state/        journal, audit log with head and key, tokens, the latched stop, whatever else the folder holds
    OUT/project/      pollux.toml and the code beside it: what is needed to raise the twins again

It is made in `OUT.partial`, checked there, and gets its name as the last step: what is called OUT is whole. The
journal is copied before the audit log, so every decision in the copy has its audit record there.
"""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from pollux import __version__
from pollux.autonomy.audit import Head, load_key, open_head, verify
from pollux.core.errors import CorruptionError, InputError
from pollux.runtime.folders import new_folder
from pollux.runtime.serve.presence import FILE as PRESENCE
from pollux.runtime.store.backup import check_store, copy_store
from pollux.runtime.wiring import Wiring

MANIFEST = "backup.json"
JOURNAL = "journal.db"
AUDIT = ("audit.jsonl", "audit.head")
CODE = (".py", ".toml", ".svg")
"""Files of a project that belong to its definition."""

Progress = Callable[[float], None]


def back_up(
    wiring: Wiring, state: Path, out: Path, now: float, progress: Progress = lambda share: None
) -> dict[str, Any]:
    """Copy a project, running or not, into the new folder `out`: the manifest. The writer does not wait.

    Every row that was acknowledged before is in the copy. Raises `InputError` where `out` is taken, `StoreError`,
    `CorruptionError` where the copy does not hold.
    """
    if not state.is_dir():
        raise InputError(f"There is no state folder {str(state)!r}; name it with `--state FOLDER`")
    if out.resolve().is_relative_to(state.resolve()):
        raise InputError(f"A backup lies outside of the state folder; {str(out)!r} is in it, give another folder")
    with new_folder(out) as partial:
        kept, code = partial / "state", partial / "project"
        kept.mkdir(mode=0o700)
        rows = events = 0
        if wiring.store.url is None:
            copy_store(state / JOURNAL, kept / JOURNAL, progress)
            rows, events = check_store(kept / JOURNAL)
        records = _copy_audit(state, kept)
        _copy_rest(state, kept)
        _copy_code(wiring.folder, code, (state.resolve(), partial.resolve()))
        manifest = {
            "project": wiring.name,
            "pollux": __version__,
            "made": now,
            "journal": "file" if wiring.store.url is None else "postgresql",
            "rows": rows,
            "events": events,
            "audit_records": records,
            "files": {
                str(p.relative_to(partial)): {"size": p.stat().st_size, "sha256": _digest(p)} for p in _files(partial)
            },
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def check_backup(folder: Path) -> dict[str, Any]:
    """Compare every file of a backup with its manifest: the manifest. Raises `InputError`, `CorruptionError`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files: dict[str, Any] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{str(folder)!r} is no backup: it has no readable {MANIFEST}; name the folder of one"
        ) from None
    there = {str(p.relative_to(folder)) for p in _files(folder)} - {MANIFEST}
    if there != set(files):
        odd = sorted(there ^ set(files))
        raise CorruptionError(
            f"A backup holds the files of its manifest: {odd[0]!r} is missing or strange; take another"
        )
    for name, said in files.items():
        if _digest(folder / name) != said["sha256"]:
            raise CorruptionError(f"A file of a backup must match its checksum: {name!r} does not; take another backup")
    return manifest


def restore(folder: Path, state: Path) -> dict[str, Any]:
    """Put the state of a backup, checked, into the new folder `state`: the manifest. The backup stays as it is.

    Raises `InputError` where `state` is taken, `CorruptionError` where the backup does not hold.
    """
    manifest = check_backup(folder)
    with new_folder(state) as partial:
        for file in _files(folder / "state"):
            _copy(file, partial / file.relative_to(folder / "state"))
        if manifest["journal"] == "file":
            check_store(partial / JOURNAL)
    return manifest


def _copy_audit(state: Path, kept: Path) -> int:
    """The audit log up to its head, which is read first: records that come meanwhile are left out. Their number."""
    log, head, key = state / AUDIT[0], state / AUDIT[1], state / "keys" / "audit.key"
    if not (key.exists() and head.exists()):
        return 0
    _copy(key, kept / "keys" / key.name)
    sealed = head.read_bytes()
    end: Head = open_head(load_key(key), sealed)
    with log.open("rb") as lines, (kept / AUDIT[0]).open("wb") as copy:
        for _, line in zip(range(end.n), lines, strict=False):
            copy.write(line)
    (kept / AUDIT[1]).write_bytes(sealed)
    for name in AUDIT:
        (kept / name).chmod(0o600)
    report = verify(kept / AUDIT[0], kept / AUDIT[1], kept / "keys" / key.name)
    if not report.ok:
        raise CorruptionError(
            f"The copy of the audit log does not hold: {report.reason}; `pollux audit verify` tells more"
        )
    return report.records


def _copy_rest(state: Path, kept: Path) -> None:
    """Every other file of the state folder, but those that belong to the running process."""
    for file in _files(state):
        name = file.relative_to(state)
        own = name.parts[0].startswith(JOURNAL) or name.name in (*AUDIT, PRESENCE, ".probe") or name.suffix == ".lock"
        if not own and not (kept / name).exists():
            _copy(file, kept / name)


def _copy_code(folder: Path, code: Path, without: tuple[Path, ...]) -> None:
    """The files of a project's definition; not those of other backups in its folder."""
    others = {p.parent for p in folder.rglob(MANIFEST)}
    for file in _files(folder):
        name = file.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in name.parts[:-1]) or others & set(file.parents)
        if file.suffix in CODE and not hidden and not any(file.resolve().is_relative_to(p) for p in without):
            _copy(file, code / name)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copy2(file, target)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        digest = sha256()
        while part := opened.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
