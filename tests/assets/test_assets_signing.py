"""What gpg says, judged; and the key that is built in."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bootstrapper.assets.signing import Signer, judge, load_key, warn_of_expiry
from bootstrapper.errors import UserError

MASTER, SUBKEY = "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A", "52F145DFD00BBDCD928CBB5A32DA80F91EF52974"
LISTING = (
    "pub:-:4096:1:E25D9AED0593B34A:1519654316:::-:::scSC::::::23::0:\n"
    f"fpr:::::::::{MASTER}:\n"
    "uid:-::::1519654316::1C5E::Flatcar Buildbot::::::::::0:\n"
    "sub:-:4096:1:32DA80F91EF52974:1741370042:1804528442:::::s::::::23:\n"
    f"fpr:::::::::{SUBKEY}:\n"
)
VALID = (
    "[GNUPG:] GOODSIG 32DA80F91EF52974 Flatcar\n"
    f"[GNUPG:] VALIDSIG {SUBKEY} 2026-08-13 1786579200 0 4 0 1 10 00 {MASTER}\n"
)
END = 1804528442.0


def test_a_good_signature() -> None:
    assert judge(VALID, LISTING, "image") == Signer(SUBKEY, END)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("", "image: its signature could not be checked"),
        ("[GNUPG:] GOODSIG 32DA80F91EF52974 Flatcar\n", "image: its signature could not be checked"),
        ("[GNUPG:] BADSIG 32DA80F91EF52974 Flatcar\n", "image: its signature is wrong"),
        (f"{VALID}[GNUPG:] BADSIG 32DA80F91EF52974 x\n", "image: its signature is wrong"),
        (
            "[GNUPG:] ERRSIG 1 1 8 00 1 9 -\n[GNUPG:] NO_PUBKEY 1\n",
            "image: it is signed by a key that is not known here",
        ),
        (
            VALID.replace("GOODSIG", "EXPKEYSIG"),
            "image: the key that signed it, 32DA80F91EF52974, expired on 2027-03-08",
        ),
        (VALID.replace("GOODSIG", "REVKEYSIG"), "image: it is signed by a key that was revoked"),
        (VALID.replace("GOODSIG", "EXPSIG"), "image: its signature has expired"),
        (VALID.replace("[GNUPG:] ", "[GNUPG:]"), "image: its signature could not be checked"),
    ],
)
def test_anything_else_is_refused(status: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        judge(status, LISTING, "image")


def test_a_key_s_end_is_announced() -> None:
    signer = Signer(SUBKEY, END)
    assert warn_of_expiry(signer, END - 121 * 86400) is None
    assert warn_of_expiry(Signer(MASTER, None), END) is None
    line = warn_of_expiry(signer, END - 100 * 86400)
    assert line is not None and "32DA80F91EF52974 expires on 2027-03-08, in 100 days" in line


def test_flatcar_s_key_is_built_in_and_is_the_one(tmp_path: Path) -> None:
    """gpg checks the user ID's and the subkey's binding on import, so a wrong byte would show here."""
    (tmp_path / "home").mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(tmp_path / "home"), "--batch", "--no-tty", "--no-autostart"]
    subprocess.run([*gpg, "--import"], input=load_key("flatcar", tmp_path), check=True, capture_output=True)
    command = [*gpg, "--with-colons", "--with-subkey-fingerprint", "--check-sigs"]
    listed = subprocess.run(command, check=True, capture_output=True)
    fields = [line.split(":") for line in listed.stdout.decode().splitlines()]
    assert [line[9] for line in fields if line[0] == "fpr"] == [MASTER, SUBKEY]
    assert [line[6] for line in fields if line[0] == "sub"] == ["1804528442"]
    assert [line[1] for line in fields if line[0] == "sig"] == ["!", "!"]


def test_a_key_of_the_admin_s(tmp_path: Path) -> None:
    (tmp_path / "own.asc").write_bytes(b"key")
    assert load_key("own.asc", tmp_path) == b"key"
    with pytest.raises(UserError, match=r"the key .*/gone\.asc cannot be read: No such file"):
        load_key("gone.asc", tmp_path)
