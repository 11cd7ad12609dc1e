"""A stream of bytes sealed by a passphrase: what a backup is written in.

    "bootstrapper sealed 1\\n"  16 bytes of salt  then chunks: 4 bytes of length, that much of ciphertext

The key is scrypt's (RFC 7914, N 2^17, r 8, p 1) of the passphrase. Each chunk is ChaCha20-Poly1305 (RFC 8439) under a
nonce of its number and of whether it is the last, so that chunks can be neither changed, left out, put in another
order nor cut off (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar). The head is authenticated too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from bootstrapper.errors import UserError

MAGIC = b"bootstrapper sealed 1\n"
SALT_BYTES = 16
CHUNK_BYTES = 1024 * 1024
TAG_BYTES = 16
LENGTH = struct.Struct("!I")
WORK = 2**17
"scrypt's N: about half a second and 128 MiB for each passphrase that is tried."


def seal(plain: IO[bytes], out: IO[bytes], passphrase: str, salt: bytes) -> None:
    """Everything of `plain`, sealed, into `out`. `salt`: 16 random bytes, never used twice."""
    head = MAGIC + salt
    cipher = ChaCha20Poly1305(_derive(passphrase, salt))
    out.write(head)
    chunk, number = plain.read(CHUNK_BYTES), 0
    while True:
        following = plain.read(CHUNK_BYTES)
        sealed = cipher.encrypt(_nonce(number, last=not following), chunk, head)
        out.write(LENGTH.pack(len(sealed)) + sealed)
        if not following:
            return
        chunk, number = following, number + 1


def unseal(sealed: IO[bytes], passphrase: str) -> Iterator[bytes]:
    """The plain bytes, a chunk at a time. Raises UserError; nothing of a changed chunk is given out, and what came
    before counts only when the iterator has ended."""
    head = sealed.read(len(MAGIC) + SALT_BYTES)
    if not head.startswith(MAGIC) or len(head) != len(MAGIC) + SALT_BYTES:
        raise UserError("this is no backup of bootstrapper", "give a file that `bootstrapper backup` wrote")
    cipher = ChaCha20Poly1305(_derive(passphrase, head[len(MAGIC) :]))
    chunk, number = _read_chunk(sealed), 0
    while chunk is not None:
        following = _read_chunk(sealed)
        try:
            yield cipher.decrypt(_nonce(number, last=following is None), chunk, head)
        except InvalidTag:
            raise _explain(number) from None
        chunk, number = following, number + 1
    if number == 0:
        raise _explain(1)


def _read_chunk(sealed: IO[bytes]) -> bytes | None:
    length = sealed.read(LENGTH.size)
    if not length:
        return None
    size = LENGTH.unpack(length)[0] if len(length) == LENGTH.size else 0
    if not TAG_BYTES <= size <= CHUNK_BYTES + TAG_BYTES:
        raise _explain(1)
    return sealed.read(size)


def _explain(number: int) -> UserError:
    if number == 0:
        return UserError("the passphrase is wrong, or the file was changed", "nothing was restored")
    return UserError("the file was changed or cut off", "nothing was restored; take another copy of it")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _derive(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=WORK, r=8, p=1).derive(passphrase.encode())
