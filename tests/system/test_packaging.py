"""Wheel and sdist are built, installed in a clean environment and started."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import presenced
from presenced.testing.daemons import scratch_daemons

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.system


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return out


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a clean environment that has the wheel, and what it depends on.

    The dependencies are those of this environment, by path: a test needs no network. An editable
    presenced is not seen through it, because that one is found by a path file of its own.
    """
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel
    )
    site = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_sdist_has_what_builds_tests_and_explains_it(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for needed in (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "pyproject.toml",
        "presenced/__init__.py",
        "systemd/presenced@.service",
        "docs/architecture.md",
        "tests/system/test_packaging.py",
    ):
        assert needed in names


def test_the_wheel_has_the_package_its_units_its_types_and_its_licence(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "presenced/py.typed" in names
    assert "presenced/host/units/presenced.service" in names
    assert f"presenced-{presenced.__version__}.dist-info/licenses/LICENSE" in names
    assert not any(name.startswith("tests/") for name in names)


def test_the_installed_program_is_the_wheel_and_starts(programs: Path) -> None:
    where = run(
        programs / "python", "-c", "import presenced; print(presenced.__file__)", cwd=programs
    )
    assert Path(where.strip()).is_relative_to(programs.parent)
    with scratch_daemons("packaged", programs=programs) as (daemon,):
        daemon.start()
        assert daemon.port > 0
        made = daemon.ask("init", "--name", "packaged")
        assert daemon.ask("status")["identity"] == made["identity"]
        assert daemon.stop() == 0
