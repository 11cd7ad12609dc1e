"""Events written as people read them, for tests of the timeline and the diagnosis.

    0 dhcp offer: 10.10.14.11 to UEFI x64, boots snponly.efi
    20 tftp timed out! snponly.efi, timed out after block 0 (21.0 s)

is seconds, service, step and detail; `!` instead of `:` makes a warning, `!!` an error.
"""

from __future__ import annotations

import re

from bootstrapper.boot.events import Event

NODE1 = "00:25:90:c0:f7:80"
LINE = re.compile(r"(?P<at>[\d.]+) (?P<service>\w+) (?P<step>[^:!]+)(?P<mark>:|!!|!|$) ?(?P<detail>.*)")
LEVELS = {":": "info", "": "info", "!": "warning", "!!": "error"}
KERNEL = "flatcar/amd64-usr/4593.2.5/flatcar_production_pxe.vmlinuz"
INITRD = "flatcar/amd64-usr/4593.2.5/flatcar_production_pxe_image.cpio.gz"

FIRMWARE = """
0 dhcp offer: 10.10.14.11 to UEFI x64, boots snponly.efi
1 dhcp ack: 10.10.14.11 to UEFI x64, boots snponly.efi
"""
FIRST_FILE = """
2 tftp sending: snponly.efi (270000 bytes, blocks of 1468)
3 tftp sent: snponly.efi, 270000 bytes in 0.20 s (1.3 MB/s)
"""
IPXE = """
10 dhcp offer: 10.10.14.11 to iPXE, boots http://10.10.14.253/boot.ipxe?mac=x
11 dhcp ack: 10.10.14.11 to iPXE, boots http://10.10.14.253/boot.ipxe?mac=x
"""
SCRIPT = """
12 http script: install for UEFI x64: install generation 1 is open, token t
"""
KERNELS = f"""
13 http loading: kernel {KERNEL}, 55 MB
14 http loaded: kernel {KERNEL}, 55 MB in 0.6 s
15 http loading: initrd {INITRD}, 400 MB
20 http loaded: initrd {INITRD}, 400 MB in 4.6 s
"""
INSTALLER = """
60 dhcp offer: 10.10.14.11
61 dhcp ack: 10.10.14.11
62 http installer config: install for 10.10.14.11, token t
70 installer clock: the clock is right
71 installer disk: /dev/sda 480 GB: it is empty
72 http config claimed: cloud-config for 10.10.14.11, token t
73 installer config: cloud-config of 40000 bytes, kept in memory
74 installer image: 0 % of 500 MB
104 installer image: 40 % of 500 MB
"""
INSTALLED = """
130 installer installed: 4593.2.5 on /dev/sda
"""
DISK = """
200 dhcp offer: 10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is done
201 dhcp ack: 10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is done
202 tftp local disk: refused as it should be
"""
SYSTEM = """
260 dhcp offer: 10.10.14.11
261 dhcp ack: 10.10.14.11
270 system booted: the installed system is up
280 system unit: kubelet: active
300 kube certificate approved: its own token
320 kube node ready: 10.10.14.11
"""
TO_SCRIPT = FIRMWARE + FIRST_FILE + IPXE + SCRIPT
TO_KERNEL = TO_SCRIPT + KERNELS
TO_IMAGE = TO_KERNEL + INSTALLER
HEALTHY = TO_IMAGE + INSTALLED + DISK + SYSTEM


def story(text: str, mac: str = NODE1, start: float = 0.0) -> list[Event]:
    events = []
    for line in filter(None, text.splitlines()):
        found = LINE.fullmatch(line.strip())
        assert found, line
        events.append(
            Event(
                start + float(found["at"]), mac, found["service"], found["step"], found["detail"], LEVELS[found["mark"]]
            )
        )
    return events
