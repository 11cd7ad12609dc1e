"""`fetch` against an upstream that is slow, lies, cuts off, forges and goes in circles; and a kill at any point.

Everything is on loopback; where the real publishers would be asked, a proxy that nobody listens on is in the way.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gpg_keys import Signing, make_signers
from rack import ONE_MACHINE
from upstream import Handler, Upstream, serving_upstream

from bootstrapper.assets.fetch import PARTS, Fetcher
from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.holding import hold
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.transfer import Client
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock, parse_lock

pytestmark = pytest.mark.interop
CONTENT = bytes(range(251)) * 4_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "tool/1.0/amd64/tool"


@pytest.fixture(autouse=True)
def _nobody_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving_upstream() as found:
        found.files["/tool"] = CONTENT
        yield found


@dataclass
class Run:
    """One run of `fetch` into `root`, and what it left."""

    root: Path
    lock: AssetLock
    results: list[Result]
    said: list[str]

    @property
    def only(self) -> Result:
        assert len(self.results) == 1
        return self.results[0]

    def parts(self) -> list[Path]:
        return sorted((self.root / PARTS).glob("*.part"))


def fetch(root: Path, *items: Item, lock: AssetLock | None = None, **plan: object) -> Run:
    said: list[str] = []
    locks = [lock or AssetLock()]
    settings = {"client": Client(time.monotonic, read_s=3.0), "wait_s": 0.01, "tries": 4, **plan}
    fetcher = Fetcher(
        Plan(root=root, beside=root, **settings),  # type: ignore[arg-type]
        Watcher(say=said.append),
        locks.append,
        locks[0],
    )
    results = fetcher.run(items)
    return Run(root, locks[-1], results, said)


def item(upstream: Upstream, path: str = "/tool", name: str = NAME, **proof: object) -> Item:
    return Item(name, Kind.FILE, "program", upstream.base + path, Proof(**proof))  # type: ignore[arg-type]


def test_a_file_is_fetched_once_and_written_down(upstream: Upstream, tmp_path: Path) -> None:
    tool = item(upstream, sha256=SHA256)
    first = fetch(tmp_path, tool)
    assert first.only == Result(tool, Outcome.FETCHED, SHA256, len(CONTENT))
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert first.lock == AssetLock({NAME: SHA256}, {}, {NAME: len(CONTENT)}, {})
    assert first.parts() == [] and (tmp_path / NAME).stat().st_mode & 0o777 == 0o644
    upstream.asked.clear()
    again = fetch(tmp_path, tool, lock=first.lock)
    assert again.only.outcome is Outcome.PRESENT
    assert upstream.asked == []


def cut_at(size: int) -> Callable[[Handler, Upstream], None]:
    """Says the whole length, sends `size` bytes of what was asked for, and closes."""

    def answer(handler: Handler, upstream: Upstream) -> None:
        content = upstream.files[handler.path]
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        where = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        handler.begin(206 if start else 200, Content_Length=len(content) - start, ETag='"a"', **where)
        handler.wfile.write(content[start : start + size])
        handler.close_connection = True

    return answer


def test_a_connection_that_breaks_is_taken_up_where_it_broke(upstream: Upstream, tmp_path: Path) -> None:
    upstream.behaviours["/tool"] = cut_at(400_000)
    run = fetch(tmp_path, item(upstream, sha256=SHA256))
    assert run.only.outcome is Outcome.FETCHED
    assert [each.range for each in upstream.asked] == [None, "bytes=400000-", "bytes=800000-"]
    assert [each.if_range for each in upstream.asked] == [None, '"a"', '"a"']


def test_a_later_run_goes_on_with_what_the_first_left(upstream: Upstream, tmp_path: Path) -> None:
    upstream.behaviours["/tool"] = cut_at(100_000)
    run = fetch(tmp_path, item(upstream, sha256=SHA256), tries=2)
    assert run.only.message.endswith("it ended after 200000 of 1004000 bytes (2 tries)") or "tries" in run.only.message
    assert not (tmp_path / NAME).exists() and run.parts()[0].stat().st_size == 200_000
    upstream.asked.clear()
    upstream.behaviours["/tool"] = cut_at(10**9)
    assert fetch(tmp_path, item(upstream, sha256=SHA256)).only.outcome is Outcome.FETCHED
    assert [each.range for each in upstream.asked] == ["bytes=200000-"]


def test_a_server_that_ignores_range_sends_it_all_again(upstream: Upstream, tmp_path: Path) -> None:
    upstream.behaviours["/tool"] = cut_at(100_000)
    fetch(tmp_path, item(upstream, sha256=SHA256), tries=1)

    def whole(handler: Handler, upstream: Upstream) -> None:
        handler.begin(200, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT)

    upstream.behaviours["/tool"] = whole
    assert fetch(tmp_path, item(upstream, sha256=SHA256)).only.outcome is Outcome.FETCHED
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_part_of_another_release_does_not_spoil_the_file(upstream: Upstream, tmp_path: Path) -> None:
    """The server says it is the same file, and it is not: found by the hash, and fetched from the start."""
    upstream.files["/tool"] = b"x" * len(CONTENT)
    upstream.behaviours["/tool"] = cut_at(300_000)
    fetch(tmp_path, item(upstream, sha256=SHA256), tries=1)
    upstream.files["/tool"] = CONTENT
    upstream.behaviours["/tool"] = cut_at(10**9)
    run = fetch(tmp_path, item(upstream, sha256=SHA256))
    assert run.only.outcome is Outcome.FETCHED and (tmp_path / NAME).read_bytes() == CONTENT
    assert run.said == [f"{NAME}: what an earlier run left does not fit: from the start"]


def test_a_wrong_byte_is_never_visible(upstream: Upstream, tmp_path: Path) -> None:
    forged = bytearray(CONTENT)
    forged[500_000] ^= 1
    upstream.files["/tool"] = bytes(forged)
    run = fetch(tmp_path, item(upstream, sha256=SHA256))
    found = hashlib.sha256(forged).hexdigest()
    assert run.only.message == (
        f"{NAME} is not genuine: expected sha256 {SHA256}, found {found} (from {upstream.base}/tool)"
    )
    assert not (tmp_path / NAME).exists() and run.parts() == [] and run.lock == AssetLock()


@pytest.mark.parametrize("declared", [len(CONTENT) - 1000, len(CONTENT) + 1000])
def test_a_server_that_lies_about_the_length(upstream: Upstream, tmp_path: Path, declared: int) -> None:
    def lie(handler: Handler, upstream: Upstream) -> None:
        handler.begin(200, Content_Length=declared)
        handler.wfile.write(CONTENT)
        handler.close_connection = True

    upstream.behaviours["/tool"] = lie
    run = fetch(tmp_path, item(upstream, sha256=SHA256), tries=2)
    assert run.only.outcome is Outcome.FAILED and not (tmp_path / NAME).exists()
    wanted = "is not genuine" if declared < len(CONTENT) else f"it ended after {len(CONTENT)} of {declared} bytes"
    assert wanted in run.only.message or "IncompleteRead" in run.only.message


@pytest.mark.parametrize(
    ("status", "asked", "outcome"), [(404, 1, Outcome.FAILED), (403, 1, Outcome.FAILED), (500, 4, Outcome.FAILED)]
)
def test_what_helps_to_ask_again(upstream: Upstream, tmp_path: Path, status: int, asked: int, outcome: Outcome) -> None:
    upstream.behaviours["/tool"] = lambda handler, _: handler.refuse(status)
    run = fetch(tmp_path, item(upstream, sha256=SHA256))
    assert (len(upstream.asked), run.only.outcome) == (asked, outcome)
    assert f"it answered {status}" in run.only.message and upstream.base in run.only.message


def test_an_error_that_passes(upstream: Upstream, tmp_path: Path) -> None:
    from upstream import plain

    def fail_twice(handler: Handler, upstream: Upstream) -> None:
        plain(handler, upstream) if len(upstream.asked) > 2 else handler.refuse(503)

    upstream.behaviours["/tool"] = fail_twice
    assert fetch(tmp_path, item(upstream, sha256=SHA256)).only.outcome is Outcome.FETCHED
    assert [each.status for each in upstream.asked] == [503, 503, 200]


def test_redirects_are_followed_but_not_in_circles(upstream: Upstream, tmp_path: Path) -> None:
    def redirect(to: str) -> Callable[[Handler, Upstream], None]:
        return lambda handler, _: handler.begin(302, Location=to, Content_Length=0)

    upstream.behaviours["/a"] = redirect("/b?x=1")
    upstream.behaviours["/b?x=1"] = redirect(f"{upstream.base}/tool")
    assert fetch(tmp_path, item(upstream, "/a", sha256=SHA256)).only.outcome is Outcome.FETCHED
    upstream.behaviours["/loop"] = redirect("/loop")
    upstream.asked.clear()
    run = fetch(tmp_path, item(upstream, "/loop", "tool/2.0/amd64/tool", sha256=SHA256))
    assert f"it redirects more than 10 times, at last to {upstream.base}/loop" in run.only.message
    assert len(upstream.asked) == 11
    upstream.behaviours["/file"] = redirect("file:///etc/passwd")
    run = fetch(tmp_path, item(upstream, "/file", "tool/3.0/amd64/tool", sha256=SHA256))
    assert "it redirects to file:///etc/passwd, and file is not followed from http" in run.only.message


def test_a_server_that_stops_sending(upstream: Upstream, tmp_path: Path) -> None:
    release = threading.Event()

    def stall(handler: Handler, upstream: Upstream) -> None:
        handler.begin(200, Content_Length=len(CONTENT), ETag='"a"')
        handler.wfile.write(CONTENT[:1000])
        release.wait(20)
        handler.close_connection = True

    upstream.behaviours["/tool"] = stall
    client = Client(time.monotonic, read_s=0.3)
    run = fetch(tmp_path, item(upstream, sha256=SHA256), client=client, tries=2)
    release.set()
    assert run.only.outcome is Outcome.FAILED and "timed out" in run.only.message
    assert run.parts()[0].read_bytes() == CONTENT[:1000]


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tool = Item(NAME, Kind.FILE, "program", f"http://127.0.0.1:{port}/tool", Proof(sha256=SHA256))
    run = fetch(tmp_path, tool, tries=2)
    assert "Connection refused" in run.only.message and "object at 0x" not in run.only.message


def test_a_proxy_is_asked_for_what_is_outside(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", upstream.base)
    upstream.files["http://mirror.test/tool"] = CONTENT
    tool = Item(NAME, Kind.FILE, "program", "http://mirror.test/tool", Proof(sha256=SHA256))
    assert fetch(tmp_path, tool).only.outcome is Outcome.FETCHED
    assert [each.path for each in upstream.asked] == ["http://mirror.test/tool"]


# -- sources ----------------------------------------------------------------------
def test_a_mirror_and_a_disk_are_asked_first(upstream: Upstream, tmp_path: Path) -> None:
    disk, root = tmp_path / "usb", tmp_path / "assets"
    (disk / "tool/1.0/amd64").mkdir(parents=True)
    (disk / NAME).write_bytes(CONTENT)
    outside = Item(NAME, Kind.FILE, "program", "https://dl.test/x/tool", Proof(sha256=SHA256))
    assert fetch(root, outside, sources=(f"file://{disk}",)).only.outcome is Outcome.FETCHED
    upstream.files["/mirror/dl.test/x/tool"] = CONTENT  # laid out like the publishers' servers
    run = fetch(tmp_path / "two", outside, sources=(f"{upstream.base}/mirror",))
    assert run.only.outcome is Outcome.FETCHED
    assert [each.path for each in upstream.asked] == [f"/mirror/{NAME}", "/mirror/dl.test/x/tool"]


def test_a_bad_mirror_does_not_keep_us_from_a_good_one(upstream: Upstream, tmp_path: Path) -> None:
    upstream.files[f"/bad/{NAME}"] = b"not it"
    run = fetch(tmp_path, item(upstream, sha256=SHA256), sources=(f"{upstream.base}/bad",))
    assert run.only.outcome is Outcome.FETCHED
    assert run.said[0].startswith(f"{NAME} is not genuine") and run.said[0].endswith(": the next source is asked")


# -- proof ------------------------------------------------------------------------
def test_a_published_checksum(upstream: Upstream, tmp_path: Path) -> None:
    upstream.files["/SUMS"] = f"{'0' * 64}  other\n{SHA256} *tool\n".encode()
    tool = item(upstream, checksums=f"{upstream.base}/SUMS")
    assert fetch(tmp_path, tool).lock.files == {NAME: SHA256}
    upstream.files["/SUMS"] = f"{'0' * 64}  tool\n".encode()
    run = fetch(tmp_path / "two", tool)
    assert "is not genuine" in run.only.message and not (tmp_path / "two" / NAME).exists()
    del upstream.files["/SUMS"]
    run = fetch(tmp_path / "three", tool)
    assert run.only.message.startswith(f"{NAME} cannot be proven: {upstream.base}/SUMS: it answered 404")
    assert not (tmp_path / "three" / NAME).exists()


def test_what_nobody_proves_is_pinned_and_said_loudly(upstream: Upstream, tmp_path: Path) -> None:
    first = fetch(tmp_path, item(upstream), wall=lambda: 1_795_262_400.0)
    assert first.only.first_seen and first.lock.first_seen == {NAME: "2026-11-21"}
    assert first.said == [
        f"NOT PROVEN: nobody publishes a checksum of {NAME}; its hash now, {SHA256}, is pinned in assets.lock"
    ]
    upstream.files["/tool"] = b"changed"
    pinned = item(upstream, sha256=SHA256, first_seen=True)
    assert fetch(tmp_path, pinned, lock=first.lock).only.outcome is Outcome.PRESENT
    (tmp_path / NAME).unlink()
    run = fetch(tmp_path, pinned, lock=first.lock)
    assert "is not genuine" in run.only.message and "--pin takes the new one" in run.only.hint
    run = fetch(tmp_path, pinned, lock=first.lock, pin=True)
    assert run.only.outcome is Outcome.FETCHED
    assert run.lock.files == {NAME: hashlib.sha256(b"changed").hexdigest()}
    upstream.files["/tool"] = b"changed again"
    run = fetch(tmp_path, pinned, lock=run.lock, pin=True)
    assert (tmp_path / NAME).read_bytes() == b"changed again", "what is here does not stand for what is published"


@pytest.fixture
def signing() -> Iterator[Callable[..., Signing]]:
    with make_signers() as make:
        yield make


def test_a_signature(upstream: Upstream, tmp_path: Path, signing: Callable[..., Signing]) -> None:
    publisher, other = signing(), signing()
    upstream.files["/tool.sig"] = publisher.sign(CONTENT)
    publisher.public(tmp_path / "key.asc")
    tool = item(upstream, signature=f"{upstream.base}/tool.sig", key="key.asc")
    beside = Item(f"{NAME}.sig", Kind.FILE, "signature", f"{upstream.base}/tool.sig", Proof(signs=NAME, key="key.asc"))
    run = fetch(tmp_path, tool, beside)
    assert [each.outcome for each in run.results] == [Outcome.FETCHED, Outcome.FETCHED]
    assert (tmp_path / f"{NAME}.sig").read_bytes() == upstream.files["/tool.sig"]
    assert run.lock.files[NAME] == SHA256 and run.lock.first_seen == {}

    (tmp_path / NAME).unlink()
    upstream.files["/tool"] = CONTENT[:-1] + b"x"
    run = fetch(tmp_path, tool)
    assert f"{NAME}: its signature is wrong: it is not what was signed" in run.only.message
    upstream.files["/tool"] = CONTENT
    upstream.files["/tool.sig"] = other.sign(CONTENT)
    run = fetch(tmp_path, tool)
    assert f"{NAME}: it is signed by a key that is not known here" in run.only.message
    assert not (tmp_path / NAME).exists()
    # Its key is given: `fetch --key`.
    assert fetch(tmp_path, tool, keys=(other.public(tmp_path / "other.asc"),)).only.outcome is Outcome.FETCHED
    upstream.files["/tool.sig"] = b"garbage"
    tool = replace(tool, proof=replace(tool.proof, key=str(tmp_path / "key.asc")))
    assert f"{NAME}: its signature" in fetch(tmp_path / "two", tool).only.message


def test_a_key_that_has_expired_or_is_about_to(
    upstream: Upstream, tmp_path: Path, signing: Callable[..., Signing]
) -> None:
    gone = signing("--faked-system-time", "20200101T000000", expire="30d")
    upstream.files["/tool.sig"] = gone.sign(CONTENT)
    gone.public(tmp_path / "gone.asc")
    run = fetch(tmp_path, item(upstream, signature=f"{upstream.base}/tool.sig", key="gone.asc"))
    assert "expired on 2020-01-31" in run.only.message and "--key FILE" in run.only.hint
    assert not (tmp_path / NAME).exists()
    soon = signing(expire="20d")
    upstream.files["/tool.sig"] = soon.sign(CONTENT)
    soon.public(tmp_path / "soon.asc")
    run = fetch(tmp_path, item(upstream, signature=f"{upstream.base}/tool.sig", key="soon.asc"))
    assert run.only.outcome is Outcome.FETCHED
    assert any("the signing key" in line and "expires on" in line for line in run.said)


# -- disks and kills --------------------------------------------------------------
def test_a_full_disk(upstream: Upstream, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)], check=True)
    try:

        def unknown_length(handler: Handler, upstream: Upstream) -> None:
            handler.begin(200, Connection="close")
            handler.wfile.write(CONTENT)
            handler.close_connection = True

        upstream.behaviours["/unknown"] = unknown_length
        for path in ("/tool", "/unknown"):
            with pytest.raises(UserError, match=f"the disk of {small} is full"):
                fetch(small, item(upstream, path, sha256=SHA256))
            assert not (small / NAME).exists()
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        assert fetch(small, item(upstream, sha256=SHA256)).only.outcome is Outcome.FETCHED
        assert (small / NAME).read_bytes() == CONTENT
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_one_fetch_at_a_time(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(UserError, match="another fetch works on"), hold(tmp_path):
        pass


def test_what_was_changed_on_the_disk_is_fetched_again(upstream: Upstream, tmp_path: Path) -> None:
    tool = item(upstream, sha256=SHA256)
    fetch(tmp_path, tool)
    status = (tmp_path / NAME).stat()
    (tmp_path / NAME).write_bytes(CONTENT[:-1] + b"x")
    os.utime(tmp_path / NAME, ns=(status.st_atime_ns, status.st_mtime_ns))  # a bad disk, not an editor
    assert fetch(tmp_path, tool).only.outcome is Outcome.PRESENT
    run = fetch(tmp_path, tool, verify=True)
    assert run.only.outcome is Outcome.FETCHED and (tmp_path / NAME).read_bytes() == CONTENT


@dataclass
class Site:
    description: Path
    assets: Path
    files: dict[str, bytes]
    "What `fetch` shall end with."

    def command(self, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "bootstrapper", "fetch", str(self.description), "--assets", str(self.assets),
            "--only", "files", *more,
        ]  # fmt: skip

    def visible(self) -> dict[str, bytes]:
        found = {}
        for path in self.assets.rglob("*"):
            name = str(path.relative_to(self.assets))
            if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
                found[name] = path.read_bytes()
        return found


@pytest.fixture
def site(upstream: Upstream, tmp_path: Path) -> Site:
    """A description, a lock that knows the stand-ins' hashes, and a mirror that has them."""
    description = tmp_path / "cluster-desc.yaml"
    description.write_text(ONE_MACHINE)
    listed = subprocess.run(
        [sys.executable, "-m", "bootstrapper", "fetch", str(description), "--list", "--json"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    names = [each["name"] for each in json.loads(listed.stdout) if each["kind"] == "file"]
    assert len(names) == 11
    randomness = random.Random(7)
    files = {name: randomness.randbytes(300_000 + 1000 * index) for index, name in enumerate(names)}
    lines = [f'"{name}" = "sha256:{hashlib.sha256(content).hexdigest()}"' for name, content in files.items()]
    (tmp_path / "assets.lock").write_text("version = 1\n[files]\n" + "\n".join(lines) + "\n")
    upstream.files |= {f"/{name}": content for name, content in files.items()}
    return Site(description, tmp_path / "assets", files)


def test_the_command(upstream: Upstream, site: Site) -> None:
    ran = subprocess.run(site.command("--source", upstream.base), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "0 files and images were here, 11 fetched (3.4 MB), 0 missing" in ran.stdout
    assert site.visible() == site.files
    lock = (site.description.parent / "assets.lock").read_text()
    assert parse_lock(lock).sizes == {name: len(content) for name, content in site.files.items()}
    upstream.asked.clear()
    ran = subprocess.run(site.command("--source", upstream.base, "--json"), capture_output=True, text=True, timeout=60)
    document = json.loads(ran.stdout)
    assert document["ok"] and {each["state"] for each in document["files"]} == {"present"}
    assert upstream.asked == [] and (site.description.parent / "assets.lock").read_text() == lock


def test_the_list_with_sizes_asks_and_fetches_nothing(upstream: Upstream, site: Site) -> None:
    more = ("--list", "--sizes", "--json", "--source", upstream.base)
    ran = subprocess.run(site.command(*more), capture_output=True, text=True, timeout=60)
    sizes = {each["name"]: each["size"] for each in json.loads(ran.stdout) if each["kind"] == "file"}
    assert sizes == {name: len(content) for name, content in site.files.items()}
    assert {each.range for each in upstream.asked} == {"HEAD"} and site.visible() == {}


def test_the_command_says_what_is_missing(upstream: Upstream, site: Site) -> None:
    name = next(name for name in site.files if name.endswith("kubelet"))
    del upstream.files[f"/{name}"]
    ran = subprocess.run(
        site.command("--source", upstream.base, "--tries", "1"), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 1 and "10 fetched" in ran.stdout
    assert f"{name} cannot be had: {upstream.base}/{name}: it answered 404" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_killed_at_any_point_nothing_half_written_is_visible(upstream: Upstream, site: Site) -> None:
    upstream.pace = 0.1
    randomness = random.Random(11)
    for _ in range(6):
        process = subprocess.Popen(
            site.command("--source", upstream.base), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = len(upstream.asked)
        deadline = time.monotonic() + 30
        while len(upstream.asked) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(randomness.uniform(0.1, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        for name, content in site.visible().items():
            assert content == site.files[name], f"{name} was visible and not whole"
        parse_lock((site.description.parent / "assets.lock").read_text())
    upstream.pace = 0.0
    ran = subprocess.run(site.command("--source", upstream.base), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert site.visible() == site.files
    assert any(each.status == 206 for each in upstream.asked), "no run went on with what an earlier one left"
    assert [*(site.assets / PARTS).glob("*.part")] == []
