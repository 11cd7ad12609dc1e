"""A machine that breaks off the TLS handshake says why in an alert, and most often means its own clock."""

from __future__ import annotations

from bootstrapper.boot.steps import TLS_NOT_VALID, TLS_UNKNOWN, Http
from bootstrapper.web.desk import Desk
from bootstrapper.web.senders import Senders


class TlsFailures:
    def __init__(self, desk: Desk, senders: Senders) -> None:
        self._desk = desk
        self._senders = senders

    def tell(self, source: str, reason: str) -> None:
        """`source` is the client's address, `reason` OpenSSL's name (`TLSV1_ALERT_UNKNOWN_CA`)."""
        words = next((words for part, words in ALERTS.items() if part in reason), "")
        if not words or not self._desk.listens_to("tls", source):
            return
        machine = self._senders.find(source)
        if machine is not None:
            self._desk.record(machine.mac, Http.TLS_FAILED, f"{words} (from {source})", "warning")


ALERTS = {
    "ALERT_CERTIFICATE_EXPIRED": TLS_NOT_VALID,
    # OpenSSL's word for "not valid yet", and Go's for either.
    "ALERT_BAD_CERTIFICATE": TLS_NOT_VALID,
    "ALERT_UNKNOWN_CA": TLS_UNKNOWN,
}
"Part of OpenSSL's name for an alert (RFC 8446 section 6.2) -> what the machine means."
