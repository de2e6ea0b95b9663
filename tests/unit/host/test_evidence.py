"""What an installation says of itself."""

from __future__ import annotations

import shutil
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

import presenced
from presenced.host.evidence import (
    OS_TEXT_CHARS_MAX,
    collect_evidence,
    describe_os,
    hash_distribution,
    hash_installed,
    hash_package,
)
from presenced.ids import HASH_BYTES
from presenced.trust.attestation import parse_evidence

FILES = {
    "presenced/__init__.py": "version = 1",
    "presenced/net/udp.py": "port = 4000",
    "presenced-1.dist-info/METADATA": "Name: presenced",
    "presenced-1.dist-info/WHEEL": "Wheel-Version: 1.0",
}


def install(site: Path, changes: dict[str, str] | None = None) -> Distribution:
    """A wheel as an installer lays it out."""
    files = FILES | (changes or {})
    extra = {
        "presenced-1.dist-info/INSTALLER": site.name,
        "presenced-1.dist-info/direct_url.json": site.name,
        "presenced-1.dist-info/REQUESTED": site.name,
        "presenced/__pycache__/x.pyc": site.name,
    }
    for name, text in (files | extra).items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    names = [*files, *extra, "../../../bin/presenced", "presenced-1.dist-info/RECORD"]
    record = site / "presenced-1.dist-info/RECORD"
    record.write_text("".join(f"{name},sha256=untrue,1\n" for name in names))
    return PathDistribution(site / "presenced-1.dist-info")


def test_two_installs_of_one_wheel_have_one_digest(tmp_path: Path) -> None:
    first = hash_distribution(install(tmp_path / "one"))
    second = hash_distribution(install(tmp_path / "two"))
    assert first is not None
    assert first == second
    assert (len(first.digest), first.count, first.is_editable) == (HASH_BYTES, len(FILES), False)


@pytest.mark.parametrize(
    "changes",
    [
        {"presenced/net/udp.py": "port = 4001"},
        {"presenced/more.py": ""},
        {"presenced-1.dist-info/METADATA": "Name: other"},
    ],
)
def test_a_changed_file_changes_the_digest_whatever_record_says(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    first = hash_distribution(install(tmp_path / "one"))
    second = hash_distribution(install(tmp_path / "two", changes))
    assert first is not None
    assert second is not None
    assert first.digest != second.digest


def test_a_missing_file_changes_the_digest(tmp_path: Path) -> None:
    first = hash_distribution(install(tmp_path / "one"))
    distribution = install(tmp_path / "two")
    (tmp_path / "two/presenced/net/udp.py").unlink()
    second = hash_distribution(distribution)
    assert first is not None
    assert second is not None
    assert first.digest != second.digest


def test_an_editable_install_is_hashed_as_it_lies_and_says_so(tmp_path: Path) -> None:
    install(tmp_path)
    record = tmp_path / "presenced-1.dist-info/RECORD"
    record.write_text("_editable_impl_presenced.pth,,\npresenced-1.dist-info/METADATA,,\n")
    assert hash_distribution(PathDistribution(tmp_path / "presenced-1.dist-info")) is None
    files = hash_package(tmp_path / "presenced")
    assert files.is_editable
    assert files.count == 2
    shutil.rmtree(tmp_path / "presenced/__pycache__")
    assert hash_package(tmp_path / "presenced") == files


async def test_the_evidence_of_what_runs_here_travels() -> None:
    evidence = await collect_evidence("key-file")
    files = hash_installed()
    assert evidence.version.startswith(presenced.__version__)
    assert evidence.version.endswith("(editable)") == files.is_editable
    assert evidence.distribution_digest == files.digest
    assert evidence.os == describe_os()
    assert len(evidence.os) <= OS_TEXT_CHARS_MAX
    assert parse_evidence(evidence.encode()) == evidence
