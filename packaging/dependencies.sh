#!/usr/bin/env bash
# Installs the Debian packages that a task needs and that are missing. Usage: dependencies.sh SET...
# Sets: python (a virtual environment), run (the lab), test, interop, boots, lab-etcd, cluster, image, bench.
set -euo pipefail

lab="qemu-system-x86 qemu-utils ovmf ipxe ipxe-qemu iproute2 ethtool busybox-static cpio curl jq zstd kmod dosfstools mtools \
gdisk util-linux fdisk gpgv gnupg bzip2 wget ca-certificates e2fsprogs grub-pc-bin grub-efi-amd64-bin"
declare -A sets=(
  [python]="python3 python3-venv"
  [run]="$lab chrony docker-registry"
  [test]="openssl jq shellcheck"
  [interop]="iproute2 ethtool isc-dhcp-client isc-dhcp-relay udhcpc dhcpcd5 tftp-hpa atftp curl bind9-dnsutils \
knot-dnsutils chrony tcpdump openssl ignition systemd iputils-ping ipxe busybox-static kea-admin dnsmasq-base \
jq gdisk fdisk lvm2 xfsprogs btrfs-progs dosfstools e2fsprogs ntfs-3g cryptsetup-bin bcache-tools shellcheck iptables containerd etcd-server etcd-client docker-registry skopeo haproxy \
buildah chromium chromium-driver fonts-dejavu-core prometheus"
  [boots]="$lab chrony docker-registry skopeo"
  [lab-etcd]="$lab chrony debootstrap squashfs-tools openssh-client"
  [image]="buildah debootstrap curl iproute2"
  [cluster]="etcd-server etcd-client containerd runc containernetworking-plugins haproxy iptables busybox-static iproute2 \
ethtool util-linux openssl"
  [bench]="chromium chromium-driver docker-registry kea kea-admin dnsmasq-base tftpd-hpa tftp-hpa atftp dnsperf wrk nginx-light ethtool iproute2 curl"
)

missing=()
for set in "$@"; do
  for package in ${sets[$set]:?no such set: $set}; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "missing packages: ${missing[*]}" >&2
  echo "install them as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# No service may start by itself: a DHCP server that wakes up on an office LAN is an outage.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
