"""The systemd units: what they promise, and what the tool of the system says about them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
USER_UNIT = ROOT / "systemd" / "presenced.service"
SYSTEM_UNIT = ROOT / "systemd" / "presenced@.service"
DROP_IN = ROOT / "presenced" / "host" / "units" / "no-user-namespaces.conf"

# Exposure, in tenths of a point, that `systemd-analyze security` may find at most.
USER_EXPOSURE_MAX = 40
SYSTEM_EXPOSURE_MAX = 15

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments: str | Path, runtime: Path) -> subprocess.CompletedProcess[str]:
    """Run `systemd-analyze` without a running service manager."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_PAGER": ""}
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def installed(unit: Path, directory: Path, name: str | None = None) -> Path:
    """The unit as it is installed: with the full path of a program that exists."""
    text, count = re.subn(
        r"(?m)^ExecStart=presenced ", f"ExecStart={sys.executable} ", unit.read_text()
    )
    assert count == 1
    copy = directory / (name or unit.name)
    copy.write_text(text)
    return copy


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of a unit with its values, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def test_the_user_unit_is_the_one_that_the_program_installs() -> None:
    packaged = files("presenced.host").joinpath("units", "presenced.service").read_text()
    assert USER_UNIT.read_text() == packaged


@pytest.mark.parametrize("unit", [USER_UNIT, SYSTEM_UNIT], ids=["user", "system"])
def test_a_unit_notifies_is_watched_and_comes_back(unit: Path) -> None:
    found = settings(unit)
    assert found["Type"] == ["notify"]
    assert int(found["WatchdogSec"][0]) > 0
    assert found["Restart"] == ["on-failure"]


@pytest.mark.parametrize("unit", [USER_UNIT, SYSTEM_UNIT], ids=["user", "system"])
def test_a_unit_has_the_sockets_that_the_daemon_needs_and_no_others(unit: Path) -> None:
    families = set(settings(unit)["RestrictAddressFamilies"][0].split())
    assert families == {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}


def test_the_system_unit_runs_as_the_user_it_is_named_after_in_a_home_nobody_else_reads() -> None:
    found = settings(SYSTEM_UNIT)
    assert found["User"] == ["%i"]
    assert "PRESENCED_HOME=/var/lib/presenced/%i" in found["Environment"][0]
    assert found["StateDirectory"] == ["presenced/%i"]
    assert found["StateDirectoryMode"] == ["0700"]


def test_the_drop_in_turns_off_what_needs_a_namespace_and_keeps_the_filters() -> None:
    names = set(settings(DROP_IN))
    assert {"PrivateUsers", "CapabilityBoundingSet", "PrivateDevices"} <= names
    assert names.isdisjoint({"SystemCallFilter", "NoNewPrivileges", "RestrictAddressFamilies"})
    assert names <= set(settings(USER_UNIT))


@needs_systemd
def test_the_user_unit_is_valid(tmp_path: Path) -> None:
    unit = installed(USER_UNIT, tmp_path)
    result = analyze("verify", "--user", "--man=no", unit, runtime=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_the_user_unit_is_valid_with_the_drop_in(tmp_path: Path) -> None:
    unit = installed(USER_UNIT, tmp_path)
    drop_ins = tmp_path / f"{unit.name}.d"
    drop_ins.mkdir()
    (drop_ins / DROP_IN.name).write_text(DROP_IN.read_text())
    result = analyze("verify", "--user", "--man=no", unit, runtime=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_the_system_unit_is_valid(tmp_path: Path) -> None:
    unit = installed(SYSTEM_UNIT, tmp_path)
    result = analyze("verify", "--man=no", unit, runtime=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(
    ("unit", "scope", "exposure_max"),
    [
        (USER_UNIT, ["--user"], USER_EXPOSURE_MAX),
        (SYSTEM_UNIT, [], SYSTEM_EXPOSURE_MAX),
    ],
    ids=["user", "system"],
)
def test_a_unit_exposes_little(
    unit: Path, scope: list[str], exposure_max: int, tmp_path: Path
) -> None:
    result = analyze(
        "security",
        *scope,
        "--offline=true",
        f"--threshold={exposure_max}",
        "--no-pager",
        unit,
        runtime=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
