"""Publishers' OpenPGP keys, made for a test by the real gpg."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Signing:
    """One publisher's key. `when`: gpg's words for another time than now."""

    def __init__(self, home: Path, *when: str, expire: str = "never") -> None:
        self.home, self.when = home, when
        home.mkdir(mode=0o700)
        self._run("--passphrase", "", "--quick-generate-key", "publisher", "ed25519", "sign", expire)

    def _run(self, *words: str) -> bytes:
        gpg = ["gpg", "--homedir", str(self.home), "--batch", "--no-tty", *self.when, "--pinentry-mode", "loopback"]
        return subprocess.run([*gpg, *words], check=True, capture_output=True).stdout

    def public(self, path: Path) -> str:
        path.write_bytes(self._run("--armor", "--export"))
        return str(path)

    def sign(self, content: bytes) -> bytes:
        (self.home / "file").write_bytes(content)
        return self._run("--passphrase", "", "--yes", "--output", "-", "--detach-sign", str(self.home / "file"))

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)


@contextmanager
def make_signers() -> Iterator[Callable[..., Signing]]:
    """Makes as many as are asked for. gpg-agent's socket is in its home, and a socket's path is short."""
    made: list[Signing] = []
    with tempfile.TemporaryDirectory(prefix="lf-", ignore_cleanup_errors=True) as name:

        def make(*when: str, expire: str = "never") -> Signing:
            made.append(Signing(Path(name) / f"gpg{len(made)}", *when, expire=expire))
            return made[-1]

        yield make
        for each in made:
            each.close()
