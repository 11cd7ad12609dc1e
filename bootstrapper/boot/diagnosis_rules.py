"""Which rule recognises which cause, in order of precedence: what must be put right first comes first.

A rule looks at the facts and says since when, and by what; None: not this one, or not yet.
"""

from __future__ import annotations

from bootstrapper.boot import rules_install as install
from bootstrapper.boot import rules_network as network
from bootstrapper.boot import rules_system as system
from bootstrapper.boot.causes import Cause
from bootstrapper.boot.diagnosis_facts import Rule

RULES: tuple[tuple[Cause, Rule], ...] = (
    # An admin must act before anything else can happen.
    (Cause.HELD_BY_BREAKER, system.held_by_breaker),
    (Cause.HELD, system.held),
    # Somebody else may be at work.
    (Cause.CLAIMED_TWICE, install.claimed_twice),
    (Cause.CLAIM_SEALED, install.claim_sealed),
    (Cause.CLAIMED_AGAIN, install.claimed_again),
    # What was said in so many words.
    (Cause.OTHER_DHCP_SERVER, network.other_server),
    (Cause.ADDRESS_IN_USE, network.address_in_use),
    (Cause.NO_FREE_ADDRESS, network.no_free_address),
    (Cause.RELAY_SUBNET, network.relay_subnet),
    (Cause.WRONG_SUBNET, network.wrong_subnet),
    (Cause.WRONG_ADDRESS_ASKED, network.wrong_address_asked),
    (Cause.ARCHITECTURE, network.architecture),
    (Cause.HTTP_BOOT, network.http_boot),
    (Cause.UUID_DIFFERS, network.uuid_differs),
    (Cause.SCRIPT_WRONG_SENDER, network.script_wrong_sender),
    (Cause.SCRIPT_FAILED, network.script_failed),
    (Cause.CLAIM_ADDRESS, install.claim_address),
    (Cause.CLAIM_OTHER_BOARD, install.claim_other_board),
    (Cause.CLAIM_EXPIRED, install.claim_expired),
    (Cause.CLAIM_REFUSED, install.claim_refused),
    (Cause.CLAIM_REFUSED, install.find_failure(Cause.CLAIM_REFUSED)),
    (Cause.CONFIG_FAILED, install.config_failed),
    (Cause.CLOCK_WRONG, install.clock_wrong),
    (Cause.TLS_AUTHORITY, install.tls_authority),
    (Cause.NO_DISK, install.find_failure(Cause.NO_DISK)),
    (Cause.SEVERAL_DISKS, install.find_failure(Cause.SEVERAL_DISKS)),
    (Cause.FOREIGN_DATA, install.find_failure(Cause.FOREIGN_DATA)),
    (Cause.DISK_UNSUITABLE, install.find_failure(Cause.DISK_UNSUITABLE)),
    (Cause.IMAGE_NOT_VERIFIED, install.find_failure(Cause.IMAGE_NOT_VERIFIED)),
    (Cause.FILE_MISSING, network.file_missing),
    (Cause.INSTALL_FAILED, install.find_failure(Cause.INSTALL_FAILED)),
    (Cause.IMAGE_NOT_MIRRORED, system.image_not_mirrored),
    (Cause.IMAGE_UNREADABLE, system.image_unreadable),
    (Cause.SYSTEM_FAILED, system.system_failed),
    # What should have come and did not, the earlier step first.
    (Cause.RIVAL_DHCP_SERVER, network.rival_server),
    (Cause.OFFER_NOT_TAKEN, network.offer_not_taken),
    (Cause.PXE_NOT_ANSWERED, network.pxe_not_answered),
    (Cause.TFTP_NO_ANSWER, network.tftp_no_answer),
    (Cause.TFTP_BLOCK_SIZE, network.tftp_block_size),
    (Cause.TFTP_STALLED, network.tftp_stalled),
    (Cause.TFTP_NO_FILE, network.tftp_no_file),
    (Cause.BOOT_FILE_REFUSED, network.boot_file_refused),
    (Cause.NO_TFTP_REQUEST, network.no_tftp_request),
    (Cause.IPXE_SILENT, network.ipxe_silent),
    (Cause.NO_SCRIPT_REQUEST, network.no_script_request),
    (Cause.KERNEL_NOT_FETCHED, network.kernel_not_fetched),
    (Cause.DOWNLOAD_CUT_OFF, network.download_cut_off),
    (Cause.INSTALLER_SILENT, network.installer_silent),
    (Cause.WAITS_FOR_ETCD, install.waits_for_etcd),
    (Cause.IMAGE_STALLED, install.image_stalled),
    (Cause.INSTALLER_STOPPED, install.installer_stopped),
    (Cause.INSTALLER_STOPPED, install.installer_deaf),
    (Cause.ETCD_REFUSED, system.etcd_refused),
    (Cause.CERTIFICATE_DENIED, system.certificate_denied),
    (Cause.TOKEN_EXPIRED, system.token_expired),
    (Cause.BOOTS_NETWORK_AGAIN, system.boots_network_again),
    (Cause.NEVER_BOOTED, system.never_booted),
    (Cause.API_UNREACHABLE, system.api_unreachable),
    (Cause.NOT_REGISTERED, system.not_registered),
    (Cause.NODE_NOT_READY, system.node_not_ready),
    (Cause.OTHER_CARD, system.other_card),
    (Cause.NOT_STARTED, system.not_started),
)
"""A cause may have several rules. `UNKNOWN_IGNORED` has none: it is of machines that are not in the description
(`diagnosis.diagnose_stranger`)."""
