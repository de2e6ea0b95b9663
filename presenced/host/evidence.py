"""What this installation says of itself for attestation: version, digest of its files, system.

The digest is over the package's files as the wheel's RECORD lists them, read anew (not the digests
that RECORD claims). Left out is what differs between two installs of one wheel: scripts with the
interpreter's path, direct_url.json, INSTALLER, REQUESTED, RECORD itself, compiled files. Without a
RECORD of files (an editable install) the package's own sources are hashed, and the version says
so. All of it is a software-only claim.

Source: packaging specification, "Recording installed projects"; RFC 9334 §2 (evidence).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Final

import trio

import presenced
from presenced.ids import hash_bytes
from presenced.trust.attestation import Evidence

DIGEST_DOMAIN: Final = b"pd/distr/1"

OS_TEXT_CHARS_MAX: Final = 80
"of the system's name: it is shown in one line"

_INSTALLER_FILES: Final = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFiles:
    """What was hashed."""

    digest: bytes
    "32 bytes; empty when no file could be read"
    count: int
    is_editable: bool
    "hashed as sources in place, not as installed from a wheel"


async def collect_evidence(key_protection: str) -> Evidence:
    """This installation's claims. Files are read in a thread: some milliseconds."""
    files = await trio.to_thread.run_sync(hash_installed)
    version = presenced.__version__
    return Evidence(
        version=f"{version} (editable)" if files.is_editable else version,
        distribution_digest=files.digest,
        os=describe_os(),
        key_protection=key_protection,
    )


def hash_installed() -> InstalledFiles:
    """Digest of the files of the distribution that runs."""
    package = Path(presenced.__file__).parent
    try:
        found = distribution("presenced")
    except PackageNotFoundError:
        return hash_package(package)
    if Path(str(found.locate_file("presenced"))).resolve() != package.resolve():
        return hash_package(package)  # another copy is installed than the one that runs
    return hash_distribution(found) or hash_package(package)


def hash_distribution(found: Distribution) -> InstalledFiles | None:
    """Digest of what RECORD lists; None if it lists no package files (an editable install)."""
    listed = [
        path
        for path in found.files or ()
        if _is_same_in_every_install(PurePosixPath(path.as_posix()))
    ]
    if not any(path.parts[0] == "presenced" for path in listed):
        return None
    contents = {path.as_posix(): Path(str(path.locate())) for path in listed}
    return _hash_files(contents, is_editable=False)


def hash_package(package: Path) -> InstalledFiles:
    """Digest of the files of a package's directory."""
    contents = {
        path.relative_to(package.parent).as_posix(): path
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return _hash_files(contents, is_editable=True)


def describe_os() -> str:
    """Name and release of the system, and of the distribution where it says so."""
    text = f"{platform.system()} {platform.release()}"
    try:
        text += f" ({platform.freedesktop_os_release()['PRETTY_NAME']})"
    except (OSError, KeyError):
        pass
    return text[:OS_TEXT_CHARS_MAX]


def _is_same_in_every_install(path: PurePosixPath) -> bool:
    if ".." in path.parts or path.is_absolute() or "__pycache__" in path.parts:
        return False
    return not (path.parts[0].endswith(".dist-info") and path.name in _INSTALLER_FILES)


def _hash_files(contents: dict[str, Path], *, is_editable: bool) -> InstalledFiles:
    parts: list[bytes] = []
    for name in sorted(contents):
        try:
            data = contents[name].read_bytes()
        except OSError:  # listed, but not there: that is a difference worth showing
            data = b""
        parts += [name.encode(), data]
    digest = hash_bytes(DIGEST_DOMAIN, *parts) if parts else b""
    return InstalledFiles(digest=digest, count=len(contents), is_editable=is_editable)
