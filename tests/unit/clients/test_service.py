from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from presenced.clients.cli import service
from presenced.clients.cli.failure import Exit

FAKE_SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$2" in
  is-active) echo active;;
  is-enabled) echo enabled;;
  enable|disable) exit ${ENABLE_EXIT:-0};;
esac
"""


@pytest.fixture
def calls(offline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A systemctl that notes how it is called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("systemctl", FAKE_SYSTEMCTL), ("presenced", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    (tmp_path / "calls").write_text("")
    return tmp_path / "calls"


def test_install_status_and_uninstall(offline: Any, calls: Path) -> None:
    assert offline("service", "status").code == Exit.FINDINGS
    assert offline("service", "uninstall").code == Exit.NOT_FOUND
    told = offline("--json", "service", "install").json
    unit = Path(told["unit"])
    assert unit == calls.parent / "config" / "systemd" / "user" / "presenced.service"
    (line,) = [it for it in unit.read_text().splitlines() if it.startswith("ExecStart=")]
    assert line == f"ExecStart={calls.parent}/bin/presenced run"
    assert "--user daemon-reload\n--user enable --now presenced.service" in calls.read_text()
    assert offline("--json", "service", "status").json["active"] == "active"
    assert offline("service", "uninstall").code == Exit.OK
    assert not unit.exists()
    assert "--user disable --now presenced.service" in calls.read_text()


def test_a_unit_can_be_removed_where_systemd_does_not_answer(
    offline: Any, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Path(offline("--json", "service", "install").json["unit"])
    link = unit.parent / "default.target.wants" / unit.name
    link.parent.mkdir()
    link.symlink_to(unit)
    monkeypatch.setenv("ENABLE_EXIT", "1")
    ran = offline("--json", "service", "uninstall")
    assert (ran.code, ran.json["stopped"]) == (Exit.FINDINGS, False)
    assert not unit.exists()
    assert not link.is_symlink()
    assert offline("service", "uninstall").code == Exit.NOT_FOUND


def test_a_failing_systemctl_says_what_else_to_do(
    offline: Any, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENABLE_EXIT", "1")
    ran = offline("service", "install")
    assert ran.code == Exit.FAILED
    assert "presenced run" in ran.err


def test_without_systemd_only_the_file_is_written(
    offline: Any, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (calls.parent / "bin" / "systemctl").unlink()
    monkeypatch.setenv("PATH", str(calls.parent / "bin"))
    assert offline("service", "install", "--no-start").code == Exit.OK
    assert offline("service", "install").code == Exit.FAILED
    assert offline("--json", "service", "status").json["active"] == "unknown"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/usr/bin/presenced", "/usr/bin/presenced"),
        ("/home/a b/presenced", '"/home/a b/presenced"'),
        ('/x"%$\\', '"/x\\"%%$$\\\\"'),
    ],
)
def test_a_path_is_one_word_of_the_unit(path: str, word: str) -> None:
    assert service.quoted(path) == word


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("user/max_user_namespaces", "0", False),
        ("user/max_user_namespaces", "15000", True),
        ("kernel/unprivileged_userns_clone", "0", False),
        ("kernel/unprivileged_userns_clone", "1", True),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", False),
        ("kernel/apparmor_restrict_unprivileged_userns", "0", True),
    ],
)
def test_the_kernel_says_whether_users_get_namespaces(
    name: str, value: str, given: bool, tmp_path: Path
) -> None:
    assert service.user_namespaces(tmp_path)
    setting = tmp_path / name
    setting.parent.mkdir()
    setting.write_text(f"{value}\n")
    assert service.user_namespaces(tmp_path) is given


def test_where_users_get_no_namespaces_the_sandbox_is_fitted_and_taken_away_with_the_unit(
    offline: Any, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "user_namespaces", lambda: False)
    unit = Path(offline("--json", "service", "install").json["unit"])
    drop_in = service.drop_in_path(unit)
    assert "PrivateUsers=no" in drop_in.read_text()
    monkeypatch.setattr(service, "user_namespaces", lambda: True)
    offline("service", "install")
    assert not drop_in.exists()
    monkeypatch.setattr(service, "user_namespaces", lambda: False)
    offline("service", "install")
    (drop_in.parent / "mine.conf").write_text("[Service]\n")
    assert offline("service", "uninstall").code == Exit.OK
    assert [file.name for file in drop_in.parent.iterdir()] == ["mine.conf"]
