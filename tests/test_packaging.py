"""What an admin installs: the wheel alone, the systemd unit, the image's description of itself.

The image itself is built and started by packaging/check-image.sh.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "packaging" / "bootstrapper.service"
DOCKERFILE = ROOT / "Dockerfile"
EXAMPLE = ROOT / "cluster-desc.example.yaml"
ROOTLESS = {"NET_BIND_SERVICE", "NET_RAW"}
AS_ROOT = ROOTLESS | {"SETUID", "SETGID", "SETPCAP", "CHOWN", "DAC_OVERRIDE", "FOWNER"}


def settings(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_is_never_root() -> None:
    unit = settings(UNIT.read_text())
    assert unit["DynamicUser"] == ["yes"]
    assert {name.removeprefix("CAP_") for name in unit["CapabilityBoundingSet"][0].split()} == ROOTLESS
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["StateDirectoryMode"] == ["0700"]


@pytest.mark.parametrize("path", ["Dockerfile", "docs/install.md", "README.md"])
def test_the_capabilities_of_the_container_are_written_the_same_everywhere(path: str) -> None:
    """Without DAC_OVERRIDE and FOWNER, root cannot open a state directory that it gave away at the first start."""
    found = re.search(r"--cap-drop=ALL --cap-add=\{([A-Z_,]+)\}", (ROOT / path).read_text())
    assert found is not None
    assert set(found[1].split(",")) == AS_ROOT


def test_the_unit_and_the_image_run_the_same_command() -> None:
    command = "serve /etc/bootstrapper/cluster-desc.yaml --state /var/lib/bootstrapper"
    assert settings(UNIT.read_text())["ExecStart"] == [f"/opt/bootstrapper/bin/bootstrapper {command}"]
    words = ", ".join(f'"{word}"' for word in command.split())
    assert f"CMD [{words}]" in DOCKERFILE.read_text()


def test_the_ports_of_the_image() -> None:
    exposed = re.search(r"^EXPOSE (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert exposed is not None
    assert set(exposed[1].split()) >= {
        "53/udp",
        "53/tcp",
        "67/udp",
        "69/udp",
        "80/tcp",
        "123/udp",
        "443/tcp",
        "4011/udp",
    }


@pytest.mark.interop
def test_systemd_takes_the_unit_and_finds_it_tight(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "bootstrapper.service"
    unit.write_text(UNIT.read_text().replace("ExecStart=/opt/bootstrapper/bin/bootstrapper", "ExecStart=/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    rated = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
    done = subprocess.run(rated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment outside the tree that has the wheel, and the dependencies of this one: that they are all
    named is found when the image is built."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    (site,) = home.glob("lib/python3*/site-packages")
    # A path that a .pth file adds has its own .pth files ignored, so the editable install here stays unseen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    yield home / "bin"


def run(installed: Path, *words: str) -> str:
    command = [str(installed / "bootstrapper"), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=installed, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.interop
def test_everything_that_is_not_code_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "bootstrapper"
    data = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    templates = {
        f"bootstrapper/_templates/{path.relative_to(ROOT / 'templates')}" for path in files(ROOT / "templates")
    }
    assert templates
    assert (data | templates) - names == set()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.interop
def test_the_wheel_works_alone(installed: Path) -> None:
    where = [str(installed / "python"), "-c", "import bootstrapper; print(bootstrapper.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, cwd=installed, check=True).stdout
    assert found.startswith(str(installed.parent))
    assert run(installed, "--version").startswith("bootstrapper, version ")
    assert "no problems" in run(installed, "check", str(EXAMPLE))
    assert run(installed, "render", str(EXAMPLE), "00:25:90:c0:f7:80", "cloud-config").startswith("#cloud-config\n")
    assert run(installed, "render", str(EXAMPLE), "00:25:90:c0:f7:80", "boot.ipxe").startswith("#!ipxe\n")


@pytest.mark.interop
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(installed: Path, shell: str) -> None:
    script = run(installed, "completion", shell)
    assert "_BOOTSTRAPPER_COMPLETE=" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
