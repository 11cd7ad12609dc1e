"""skopeo, asked for one image's manifest or one platform's image: signing in, mirrors and retries are its own.

Which registry stands in for which is skopeo's own configuration (~/.config/containers/registries.conf, see
containers-registries.conf(5)), and so are credentials (containers-auth.json(5), as `skopeo login` leaves them).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bootstrapper.assets.hashing import Stopped
from bootstrapper.errors import UserError

INSTALL_HINT = "install it (apt install skopeo), or set registry.serve: false and leave images to another registry"
TICK_S = 0.5
STALLED_S = 120.0
"A connection over which nothing comes for as long is given up: skopeo itself would wait for ever."


def find_skopeo() -> str:
    """Raises UserError."""
    found = shutil.which("skopeo")
    if found is None:
        raise UserError("images are copied by skopeo, and it is not on this host", INSTALL_HINT)
    return found


def read_raw(reference: str, tries: int, stopped: Callable[[], bool]) -> bytes:
    """The bytes of the manifest or index behind `docker://…`. Raises UserError with skopeo's own reason."""
    return _run(["inspect", "--raw", "--retry-times", str(tries - 1), reference], reference, stopped, lambda: 0)


def copy_to(reference: str, directory: Path, tries: int, stopped: Callable[[], bool], tick: Callable[[], int]) -> None:
    """One platform's image into `directory`: manifest.json and its blobs, each a file with its hash for a name.

    `tick` is called twice a second meanwhile, and says how many bytes are there. Nothing is converted, so that every
    digest stays. Raises UserError, Stopped, and OSError for a full disk.
    """
    # The signature policy is about signatures of tools like itself; what proves an image here is its digest.
    arguments = ["--insecure-policy", "copy", "--preserve-digests", "--remove-signatures", "--quiet"]
    _run([*arguments, "--retry-times", str(tries - 1), reference, f"dir:{directory}"], reference, stopped, tick)


def _run(arguments: list[str], what: str, stopped: Callable[[], bool], tick: Callable[[], int]) -> bytes:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([find_skopeo(), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        done, since = 0, time.monotonic()
        try:
            while True:
                try:
                    code = process.wait(TICK_S)
                    break
                except subprocess.TimeoutExpired:
                    if (now := tick()) != done:
                        done, since = now, time.monotonic()
                    if time.monotonic() - since > STALLED_S:
                        name = what.removeprefix("docker://")
                        message = f"{name}: nothing came for {STALLED_S:.0f} s"
                        raise UserError(message, "is the way there open? run it again") from None
                    if stopped():
                        raise Stopped from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        errors.seek(0)
        output.seek(0)
        if code != 0:
            said = errors.read()[-4000:].decode(errors="replace")
            if "no space left" in said.lower():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise UserError(f"{what.removeprefix('docker://')} cannot be had: {explain(said)}", _hint(said))
        return output.read(8 << 20)


def explain(said: str) -> str:
    """skopeo's last words without its log's dress: `… level=fatal msg="…"`."""
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "skopeo ended without a word"
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', last)
    text = found[1].replace('\\"', '"') if found else last
    return "".join(char if char.isprintable() else "?" for char in text)[:400]


def _hint(said: str) -> str:
    return next((hint for word, hint in HINTS if word in said.lower()), "is the name right, and the way there open?")


HINTS = (
    ("manifest unknown", "there is no such tag or digest: name a version that exists"),
    ("unauthorized", "sign in first: skopeo login REGISTRY"),
    ("toomanyrequests", "the registry asks you to wait, or to sign in: skopeo login REGISTRY"),
    ("x509", "the registry's certificate is not trusted: see containers-certs.d(5)"),
)
