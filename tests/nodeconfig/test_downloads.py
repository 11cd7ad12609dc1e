from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rack import TEMPLATES

from bootstrapper.cluster.model import Arch, Cluster
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.cloud_config import emit_cloud_config
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.ignition import emit_ignition
from bootstrapper.nodeconfig.model import RemoteFile
from bootstrapper.nodeconfig.roles.downloads import build_downloads, download_unit, remote_file

SCRIPT = TEMPLATES / "nodes/downloads/download.sh"


def test_a_file_by_its_name_and_hash(context: Context) -> None:
    lock = AssetLock({"tools/1.0/arm64/tools.tar.gz": "ab" * 32})
    context = replace(context, lock=lock)
    assert remote_file(context, "tools", "1.0", Arch.ARM64, "tools.tar.gz", member="tools-1.0/x") == RemoteFile(
        "/opt/bin/x", "tools/1.0/arm64/tools.tar.gz", "http://10.10.14.253/assets/tools/1.0/arm64/tools.tar.gz",
        "ab" * 32, 0o755, "tools-1.0/x",
    )  # fmt: skip
    assert remote_file(context, "a", "1", Arch.AMD64, "b", path="/opt/cni/bin/b").path == "/opt/cni/bin/b"
    assert remote_file(context, "a", "1", Arch.AMD64, "b").path == "/opt/bin/b"


def test_a_missing_hash_is_refused_where_it_would_be_used(context: Context) -> None:
    assert remote_file(context, "a", "1", Arch.AMD64, "b").sha256 is None
    with pytest.raises(RenderProblem) as caught:
        remote_file(replace(context, require_hashes=True), "a", "1", Arch.AMD64, "b")
    assert caught.value.message == "no hash is known for b of a 1, and nothing is run unproven"
    assert caught.value.hint == "`bootstrapper fetch` gets it and writes its hash into assets.lock"


def test_one_list_and_one_template_for_all(context: Context) -> None:
    files = (
        RemoteFile("/opt/bin/a", "x/1/amd64/x.tgz", "http://s/x.tgz", "ab" * 32, 0o755, "bin/a"),
        RemoteFile("/opt/bin/b", "x/1/amd64/x.tgz", "http://s/x.tgz", "ab" * 32, 0o700, "bin/b"),
        RemoteFile("/opt/bin/y", "y/1/amd64/y", "http://s/y", None),
    )
    config = build_downloads(files, context)
    texts = {file.path: file.content.decode() for file in config.files[1:]}
    assert texts == {
        "/etc/bootstrapper/downloads/x": (
            f"{'ab' * 32} http://s/x.tgz 0755 /opt/bin/a bin/a\n{'ab' * 32} http://s/x.tgz 0700 /opt/bin/b bin/b\n"
        ),
        "/etc/bootstrapper/downloads/y": "unknown http://s/y 0755 /opt/bin/y\n",
    }
    assert [unit.name for unit in config.units] == ["bootstrapper-download@.service"]
    assert download_unit("x") == "bootstrapper-download@x.service"
    assert build_downloads((), context).files == ()


def test_the_formats_leave_downloading_to_the_unit(context: Context, cluster: Cluster) -> None:
    """At their stage a server that is off would stop the boot: neither names a URL of /assets but in the lists."""
    config = build(cluster, cluster.machines[0], context)
    assert config.remote_files
    assert '"source": "http' not in emit_ignition(config, secrets=True)
    assert "bootstrapper-download@.service" in emit_cloud_config(config, context.environment, secrets=True)


def test_every_unit_that_runs_a_program_waits_for_it(context: Context, cluster: Cluster) -> None:
    for machine in cluster.machines:
        config = build(cluster, machine, context)
        where = {file.path: file.component for file in config.remote_files}
        seen = 0
        for unit in config.units:
            for line in (unit.content or "").splitlines():
                program = line.removeprefix("ExecStart=").split(" ")[0]
                if line.startswith("ExecStart=") and program in where:
                    seen += 1
                    for key in ("After=", "Wants="):
                        lines = [each for each in (unit.content or "").splitlines() if each.startswith(key)]
                        assert any(download_unit(where[program]) in each for each in lines), (unit.name, key)
        assert seen >= 3


class Assets(http.server.SimpleHTTPRequestHandler):
    """Files of a directory; what was asked for is kept."""

    asked: list[str]
    root: Path

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.root / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def assets(tmp_path: Path) -> Iterator[tuple[type[Assets], str]]:
    class Mine(Assets):
        asked: list[str] = []  # noqa: RUF012
        root = tmp_path / "assets"

    Mine.root.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Mine, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def start(tmp_path: Path, lines: list[str], path: str = "", **more: str) -> subprocess.Popen[str]:
    (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines))
    env = {"PATH": f"{path}/usr/bin:/bin", "BOOTSTRAPPER_KEPT": str(tmp_path / "kept"), "BOOTSTRAPPER_WAIT_MAX": "1"}
    env |= more
    return subprocess.Popen(
        ["bash", str(SCRIPT), str(tmp_path / "list")],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(child: subprocess.Popen[str]) -> str:
    output, _ = child.communicate(timeout=20)
    assert child.returncode == 0, output
    return output


def make_archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


@pytest.mark.loopback
def test_the_script_fetches_once_and_then_does_nothing(tmp_path: Path, assets: tuple[type[Assets], str]) -> None:
    served, base = assets
    plain, archive = b"#!/bin/true\n", make_archive({"dir/a": b"A", "./b": b"B", "dir/": b""})
    (served.root / "plain").write_bytes(plain)
    (served.root / "x.tgz").write_bytes(archive)
    target = tmp_path / "opt/bin"
    lines = [
        f"{sha256(plain)} {base}/plain 0755 {target}/plain",
        f"{sha256(archive)} {base}/x.tgz 0755 {target}/a dir/a",
        f"{sha256(archive)} {base}/x.tgz 0700 {target}/b b",
    ]
    finish(start(tmp_path, lines))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"plain": plain, "a": b"A", "b": b"B"}
    assert [oct((target / name).stat().st_mode & 0o777) for name in ("plain", "b")] == ["0o755", "0o700"]
    assert sorted(served.asked) == ["/plain", "/x.tgz"]
    assert not list((tmp_path / "kept").glob("*.part"))

    # The server is off, and the machine boots again.
    served.asked.clear()
    shutil.rmtree(served.root)
    finish(start(tmp_path, lines))
    assert served.asked == []


@pytest.mark.loopback
def test_the_script_asks_until_it_is_given_the_right_file(tmp_path: Path, assets: tuple[type[Assets], str]) -> None:
    served, base = assets
    right, target = b"right", tmp_path / "program"
    target.write_bytes(b"damaged")
    child = start(tmp_path, [f"{sha256(right)} {base}/program 0755 {target}"])
    wait_until(lambda: len(served.asked) >= 1)
    (served.root / "program").write_bytes(b"wrong")
    asked = len(served.asked)
    wait_until(lambda: len(served.asked) > asked)
    assert target.read_bytes() == b"damaged"
    (served.root / "program").write_bytes(right)
    output = finish(child)
    assert f"has the SHA-256 {sha256(b'wrong')}, expected {sha256(right)}: it is thrown away" in output
    assert target.read_bytes() == right


@pytest.mark.loopback
def test_the_script_repairs_a_file_taken_from_an_archive(tmp_path: Path, assets: tuple[type[Assets], str]) -> None:
    served, base = assets
    archive = make_archive({"a": b"A"})
    (served.root / "x.tgz").write_bytes(archive)
    line = f"{sha256(archive)} {base}/x.tgz 0755 {tmp_path}/a a"
    finish(start(tmp_path, [line]))
    (tmp_path / "a").write_bytes(b"B")
    finish(start(tmp_path, [line]))
    assert (tmp_path / "a").read_bytes() == b"A"


@pytest.mark.loopback
def test_the_true_error_is_said(tmp_path: Path, assets: tuple[type[Assets], str]) -> None:
    """On a full disk, tar's own words, and not that the archive has no ./a; also as the unit's status."""
    served, base = assets
    archive = make_archive({"a": b"A"})
    (served.root / "x.tgz").write_bytes(archive)
    programs = tmp_path / "bin"
    programs.mkdir()
    full, said = tmp_path / "full", tmp_path / "status"
    full.touch()
    real = shutil.which("tar")
    (programs / "tar").write_text(
        f'#!/bin/bash\n[ -e {full} ] || exec {real} "$@"\necho "tar: a: Wrote only 512 of 10240 bytes" >&2; exit 2\n'
    )
    (programs / "systemd-notify").write_text(f'#!/bin/bash\nprintf "%s\\n" "$1" >{said}\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    line = f"{sha256(archive)} {base}/x.tgz 0755 {tmp_path}/a a"
    child = start(tmp_path, [line], f"{programs}:", NOTIFY_SOCKET="/run/none")
    words = "tar: a: Wrote only 512 of 10240 bytes"
    wait_until(lambda: said.exists() and said.read_text().startswith(f"--status={base}/x.tgz: {words} {tmp_path}/a "))
    assert not (tmp_path / "a.new").exists()
    full.unlink()
    output = finish(child)
    assert f"{words}\n{tmp_path}/a cannot be put in place, with " in output
    assert "Not found" not in output
    assert (tmp_path / "a").read_bytes() == b"A"


@pytest.mark.loopback
def test_an_archive_without_the_file_is_said_to_be_so(tmp_path: Path, assets: tuple[type[Assets], str]) -> None:
    served, base = assets
    archive = make_archive({"b": b"B"})
    (served.root / "x.tgz").write_bytes(archive)
    child = start(tmp_path, [f"{sha256(archive)} {base}/x.tgz 0755 {tmp_path}/a a"])
    try:
        assert child.stdout is not None
        assert "./a: Not found in archive" in child.stdout.readline()
    finally:
        child.kill()
        child.communicate()


@pytest.mark.loopback
def test_nothing_is_fetched_without_a_hash(tmp_path: Path, assets: tuple[type[Assets], str]) -> None:
    served, base = assets
    (served.root / "program").write_bytes(b"anything")
    child = start(tmp_path, [f"unknown {base}/program 0755 {tmp_path}/program"])
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == (
            f"no hash is known for {base}/program: put it in assets.lock beside the description, and install again\n"
        )
    finally:
        child.kill()
        child.communicate()
    assert served.asked == []
    assert not (tmp_path / "program").exists()


def wait_until(what: object) -> None:
    assert callable(what)
    until = time.monotonic() + 15
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)
