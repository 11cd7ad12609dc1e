#!/bin/bash
# Has this machine's data disk ready to be mounted: found by its UUID, or made of the one empty disk that the selector
# finds. Waits for a disk that appears late. Stops at data of anyone else's.

# What lib-disk.sh answers with.
# shellcheck disable=SC2154
set -u
DIRECTORY="${BOOTSTRAPPER_DIRECTORY:-/opt/bootstrapper}"
# shellcheck disable=SC1090,SC1091
. "${BOOTSTRAPPER_DATA_ENV:-/etc/bootstrapper/data-disk.env}"
# shellcheck source=/dev/null
. "$DIRECTORY/lib-disk.sh"
TRIES="${DATA_TRIES:-15}"

find_ours() {
    blkid --uuid "$DATA_UUID" >/dev/null
}

make_file_system() {
    local tree name contents
    contents="$(list_contents)"
    if [ -n "$contents" ]; then
        refuse "$disk_text holds data that is not this machine's ($(printf '%s' "$contents" | tr '\n' ';' | head -c 600));" \
            "empty it with wipefs, or choose another as data_disk"
        return 1
    fi
    tree="$(mktemp -d)"
    for name in $DATA_DIRECTORIES; do
        mkdir "$tree/$name"
        chmod 0700 "$tree/$name"
    done
    # With its directories from the start: a file system without them is none of ours.
    mkfs.ext4 -q -m 0 -L machine-data -U "$DATA_UUID" -d "$tree" "$disk" || refuse "mkfs.ext4 failed on $disk"
}

try=1
until find_ours || choose_disk; do
    if [ "$try" -ge "$TRIES" ]; then
        echo "no data disk: $reason" >&2
        exit 1
    fi
    try=$((try + 1))
    sleep 2
done
if ! find_ours; then
    if ! make_file_system; then
        echo "no data disk: $reason" >&2
        exit 1
    fi
    echo "$disk_text is this machine's data disk now"
fi
! command -v udevadm >/dev/null || udevadm settle
