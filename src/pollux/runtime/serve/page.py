"""The built dashboard, served from memory: only the files that were there at start have an address."""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

STATIC = Path(__file__).parent / "static"
PLAIN = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>Pollux</title><h1>Pollux</h1>"
    b"<p>The dashboard is not built into this installation. The API is at <a href=/api/v1/docs>/api/v1/docs</a>.</p>"
)


@dataclass(frozen=True)
class File:
    """One file of the page."""

    content: bytes
    packed: bytes | None
    kind: str
    tag: str
    forever: bool
    """Whether its name changes with its content."""


def load(folder: Path = STATIC) -> dict[str, File]:
    """Path below `/` -> file. Without a built page there is a plain one."""
    found: dict[str, File] = {}
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                found[name] = _file(path.read_bytes(), name)
    found.setdefault("index.html", _file(PLAIN, "index.html"))
    return found


def respond(request: Request, file: File) -> Response:
    """The file, packed where the client can unpack it; 304 when it has it already."""
    headers = {
        "etag": file.tag,
        "cache-control": "public, max-age=31536000, immutable" if file.forever else "no-cache",
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, media_type=file.kind, headers=headers | {"content-encoding": "gzip"})
    return Response(file.content, media_type=file.kind, headers=headers)


def _file(content: bytes, name: str) -> File:
    kind = guess_type(name)[0] or "application/octet-stream"
    text = kind.startswith("text/") or kind.endswith(("javascript", "json", "xml", "svg+xml"))
    packed = gzip.compress(content, 6, mtime=0) if text and len(content) > 600 else None
    return File(content, packed, kind, f'"{sha256(content).hexdigest()[:20]}"', name.startswith("assets/"))
