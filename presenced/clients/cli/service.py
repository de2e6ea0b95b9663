"""`presence service`: the systemd user unit that starts presenced at every login."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click

from presenced.clients.cli.commands import Command, LazyGroup, session_of
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.text import safe

_HERE: Final = "presenced.clients.cli.service:"
UNIT: Final = "presenced.service"
_SYSTEMCTL_SECONDS: Final = 30.0
_WANTED_BY: Final = "default.target.wants"
"where `enable` leaves its link"

_EXEC_LINE: Final = "ExecStart="

DROP_IN: Final = "no-user-namespaces.conf"
"turns off the part of the sandbox that a user's service manager needs a namespace for"

_FORBIDDING: Final = (
    ("user/max_user_namespaces", "0"),
    ("kernel/unprivileged_userns_clone", "0"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1"),
)
"kernel settings (below /proc/sys) with the value that gives users no namespaces"


@click.group(
    cls=LazyGroup,
    lazy={
        "install": (_HERE + "install", "Install the user unit and start it."),
        "status": (_HERE + "status", "Show whether it is installed and runs."),
        "uninstall": (_HERE + "uninstall", "Stop it and remove the unit."),
    },
    examples="""
    presence service install
    presence service status
    """,
)
def service() -> None:
    """Run presenced at every login (a systemd user unit)."""


@click.command(cls=Command, examples="presence service install")
@click.option("--no-start", is_flag=True, help="Only write the unit.")
@click.pass_context
def install(context: click.Context, no_start: bool) -> None:
    """Install the user unit and start it. Your data stays where it is."""
    session = session_of(context)
    path = unit_path()
    text = unit_text(_daemon())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        _fit_sandbox(path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}", Exit.FAILED) from error
    if not no_start:
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", UNIT)
    told = {"unit": str(path), "started": not no_start}
    session.answer(told, lambda: [f"installed {safe(str(path))}"])
    if not no_start:
        session.say("It runs, and at every login. Next: `presence init --name NAME`.")


@click.command(cls=Command, examples="presence service status")
@click.pass_context
def status(context: click.Context) -> int:
    """Show whether the unit is installed and runs. Exit code 8 if it does not."""
    session = session_of(context)
    path = unit_path()
    installed = path.exists()
    active = _state("is-active")
    enabled = _state("is-enabled")
    told: dict[str, Any] = {
        "unit": str(path),
        "installed": installed,
        "active": active,
        "enabled": enabled,
    }
    session.answer(
        told,
        lambda: [
            f"unit     {safe(str(path))}{'' if installed else ' (not installed)'}",
            f"active   {active}",
            f"enabled  {enabled}",
        ],
    )
    return Exit.OK if installed and active == "active" else Exit.FINDINGS


@click.command(cls=Command, examples="presence service uninstall")
@click.pass_context
def uninstall(context: click.Context) -> int:
    """Stop presenced and remove the unit. Your data stays.

    Exit code 8 if systemd could not be asked to stop it.
    """
    session = session_of(context)
    path = unit_path()
    if not path.exists():
        raise Failure(
            "the unit is not installed",
            Exit.NOT_FOUND,
            next_step="`presence service install` installs it.",
            code="not-installed",
        )
    stopped = _tell_systemd("disable", "--now", UNIT)
    path.unlink()
    (path.parent / _WANTED_BY / UNIT).unlink(missing_ok=True)
    _remove_drop_in(path)
    _tell_systemd("daemon-reload")
    told = {"unit": str(path), "installed": False, "stopped": stopped}
    session.answer(told, lambda: ["removed; your data stays"])
    if stopped:
        return Exit.OK
    session.say("systemd could not be asked to stop it; if it runs, end it with `kill`.")
    return Exit.FINDINGS


def _tell_systemd(*arguments: str) -> bool:
    """Whether it did that."""
    try:
        _systemctl(*arguments)
    except Failure:
        return False
    return True


def unit_path() -> Path:
    """Where the user's own units lie (systemd.unit(5))."""
    base = os.environ.get("XDG_CONFIG_HOME")
    config = Path(base) if base and base.startswith("/") else Path.home() / ".config"
    return config / "systemd" / "user" / UNIT


def user_namespaces(settings: Path = Path("/proc/sys")) -> bool:
    """Whether the kernel gives users namespaces; yes if it has no setting that says no."""
    for name, forbidding in _FORBIDDING:
        try:
            if (settings / name).read_text(encoding="ascii").strip() == forbidding:
                return False
        except OSError:
            continue
    return True


def drop_in_path(unit: Path) -> Path:
    return unit.with_name(f"{unit.name}.d") / DROP_IN


def _fit_sandbox(unit: Path) -> None:
    """With the drop-in where the kernel gives users no namespaces, else without it."""
    if user_namespaces():
        _remove_drop_in(unit)
        return
    drop_in = drop_in_path(unit)
    drop_in.parent.mkdir(exist_ok=True)
    packaged = files("presenced.host") / "units" / DROP_IN
    drop_in.write_text(packaged.read_text(encoding="utf-8"), encoding="utf-8")


def _remove_drop_in(unit: Path) -> None:
    drop_in = drop_in_path(unit)
    drop_in.unlink(missing_ok=True)
    with suppress(OSError):  # somebody's own drop-ins stay, and so does their directory
        drop_in.parent.rmdir()


def unit_text(daemon: Path) -> str:
    """The packaged unit, running this daemon."""
    unit = files("presenced.host") / "units" / UNIT
    lines = unit.read_text(encoding="utf-8").splitlines()
    return (
        "\n".join(
            f"{_EXEC_LINE}{quoted(str(daemon))} run" if line.startswith(_EXEC_LINE) else line
            for line in lines
        )
        + "\n"
    )


def quoted(path: str) -> str:
    """A path as one word of a unit file (systemd.service(5), command lines)."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != path or " " in path else path


def _daemon() -> Path:
    """The `presenced` of this installation. Raises `Failure`."""
    beside = Path(sys.argv[0]).absolute().parent / "presenced"
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("presenced")
    if found is None:
        raise Failure(
            "the program presenced is not on the PATH",
            Exit.FAILED,
            next_step="Install the package with pipx or uv, then try again.",
            code="no-daemon",
        )
    return Path(found)


def _systemctl(*arguments: str) -> None:
    """Raises `Failure` if it cannot be done."""
    done = _run(*arguments)
    if done is None:
        raise Failure(
            "there is no systemctl here",
            Exit.FAILED,
            next_step="Start `presenced run` from your own service manager.",
            code="no-systemd",
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Failure(
            f"systemctl --user {arguments[0]} failed: {lines[-1] if lines else done.returncode}",
            Exit.FAILED,
            next_step="Is this a login session with its own systemd? Else run `presenced run`.",
            code="systemctl-failed",
        )


def _state(verb: str) -> str:
    done = _run(verb, UNIT)
    return "unknown" if done is None else done.stdout.strip() or "unknown"


def _run(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    program = shutil.which("systemctl")
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, "--user", *arguments],
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure("systemctl did not answer in time", Exit.NO_ANSWER) from error
