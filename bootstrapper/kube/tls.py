"""TLS contexts from PEM text: clients of the API servers and of etcd, known by certificate, pinned both ways."""

from __future__ import annotations

import os
import ssl


def client_context(authority_pem: str, certificate_pem: str, key_pem: str) -> ssl.SSLContext:
    """Trusts `authority_pem` (one certificate or several) and nothing else. Raises ssl.SSLError for a bad pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority_pem)
    # `ssl` reads pairs from files only; a memory file keeps the key off every disk but `pki/`'s.
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, f"{certificate_pem}\n{key_pem}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
