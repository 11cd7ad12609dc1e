# Which disk, and whether it may be erased. Sourced by install.sh and by tests; bash.
#
# Nothing here writes to a disk but `mark_begun`, `clear_begun`, `release_disk` and `write_oem`. A function that
# refuses sets `reason` and returns 1. Tools: lsblk, wipefs, sfdisk, blockdev, blkid (util-linux), jq, dd, mount.

# What the functions below answer with.
# shellcheck disable=SC2034
disk="" disk_name="" disk_text="" verdict="" reason="" earlier="[]"
MIN_DISK_BYTES="${MIN_DISK_BYTES:-10000000000}"     # the image is 8.5 GiB since 2025-10
MARKER_NAME=bootstrapper.json

refuse() {
    reason="$*"
    return 1
}

# Every block device as lsblk's JSON; tests put a text of their own in its place.
list_block_devices() {
    lsblk --json --bytes --output NAME,PATH,TYPE,RM,RO,SIZE,ROTA,TRAN,MODEL,SERIAL,WWN,MOUNTPOINT
}

# The disks that could be meant at all, as a JSON list. lsblk calls zram, nbd and an eMMC's boot areas `disk` too.
# A disk with anything mounted (or swapping) belongs to the running system; only what Flatcar mounts by its label
# wherever it finds it does not tell, and `judge_disk` unmounts that.
list_disks() {
    list_block_devices | jq -c '
        def yes: . == true or . == "1" or . == 1;
        def text: (. // "") | tostring | gsub("^\\s+|\\s+$"; "");
        [ .blockdevices[]
          | select(.type == "disk")
          | select(.name | test("^(ram|zram|fd|sr|nbd|md|dm-)|^mmcblk[0-9]+(boot|rpmb)") | not)
          | { name, path: (.path // ("/dev/" + .name)), size: (.size | tonumber), removable: (.rm | yes),
              readonly: (.ro | yes), rotational: (.rota | yes), transport: (.tran | text), model: (.model | text),
              serial: (.serial | text), wwn: (.wwn | text),
              mounted: ([.. | objects | (.mountpoint, (.mountpoints // [])[]) | select(. != null and . != "")]
                        | unique - ["/oem", "/usr/share/oem", "/boot"]) }
          | select(.size > 0) ]'
}

# One line for each disk that the machine has, for the admin.
describe_disks() {
    printf '%s' "$1" | jq -r '
        if length == 0 then "no disk at all" else
        [ .[] | "\(.path) \(.size / 1000000000 | floor) GB"
          + (if .rotational then " rotational" else "" end)
          + (if .transport != "" then " \(.transport)" else "" end)
          + (if .model != "" then " model \"\(.model)\"" else "" end)
          + (if .serial != "" then " serial \(.serial)" else "" end)
          + (if .wwn != "" then " wwn \(.wwn)" else "" end)
          + (if .removable then " removable" else "" end)
          + (if .readonly then " read-only" else "" end)
          + (if .mounted != [] then " mounted at \(.mounted | join(", "))" else "" end) ] | join("; ") end'
}

# Sets `disk` (path), `disk_name` and `disk_text` from the DISK_* selector, or refuses: zero and several matches both
# stop. Removable disks count only when the selector names one disk, or asks for usb.
choose_disk() {
    local all matches count wanted_path=""
    all="$(list_disks)" || { refuse "lsblk failed, so no disk could be chosen"; return 1; }
    if [ -n "${DISK_PATH:-}" ]; then
        wanted_path="$(readlink -f -- "$DISK_PATH" 2>/dev/null)" || wanted_path="$DISK_PATH"
    fi
    matches="$(printf '%s' "$all" | jq -c \
        --arg path "$wanted_path" --arg wwn "${DISK_WWN:-}" --arg serial "${DISK_SERIAL:-}" \
        --arg model "${DISK_MODEL:-}" --arg min "${DISK_MIN_BYTES:-}" --arg max "${DISK_MAX_BYTES:-}" \
        --arg rotational "${DISK_ROTATIONAL:-}" --arg transport "${DISK_TRANSPORT:-}" '
        def bare: ascii_downcase | ltrimstr("0x") | ltrimstr("eui.") | ltrimstr("naa.") | ltrimstr("wwn-0x");
        ($path != "" or $wwn != "" or $serial != "" or $transport == "usb") as $named
        | [ .[]
            | select(.readonly | not)
            | select(.mounted == [])
            | select($named or (.removable | not))
            | select($path == "" or .path == $path)
            | select($wwn == "" or (.wwn | bare) == ($wwn | bare))
            | select($serial == "" or .serial == $serial)
            | select($model == "" or .model == $model)
            | select($min == "" or .size >= ($min | tonumber))
            | select($max == "" or .size <= ($max | tonumber))
            | select($rotational == "" or .rotational == ($rotational == "yes"))
            | select($transport == "" or .transport == $transport) ]')" \
        || { refuse "lsblk's answer could not be read"; return 1; }
    count="$(printf '%s' "$matches" | jq length)"
    if [ "$count" -ne 1 ]; then
        refuse "the disk selector ($(describe_selector)) matches $count disks, and must match exactly one;" \
            "this machine has: $(describe_disks "$all")"
        return 1
    fi
    disk="$(printf '%s' "$matches" | jq -r '.[0].path')"
    disk_name="$(printf '%s' "$matches" | jq -r '.[0].name')"
    disk_text="$(describe_disks "$matches")"
}

describe_selector() {
    local text=""
    [ -z "${DISK_PATH:-}" ] || text="$text path $DISK_PATH"
    [ -z "${DISK_WWN:-}" ] || text="$text wwn $DISK_WWN"
    [ -z "${DISK_SERIAL:-}" ] || text="$text serial $DISK_SERIAL"
    [ -z "${DISK_MODEL:-}" ] || text="$text model $DISK_MODEL"
    [ -z "${DISK_MIN_BYTES:-}" ] || text="$text size >= $DISK_MIN_BYTES"
    [ -z "${DISK_MAX_BYTES:-}" ] || text="$text size <= $DISK_MAX_BYTES"
    [ -z "${DISK_ROTATIONAL:-}" ] || text="$text rotational $DISK_ROTATIONAL"
    [ -z "${DISK_TRANSPORT:-}" ] || text="$text transport $DISK_TRANSPORT"
    text="${text# }"
    printf '%s' "${text:-none given: the only non-removable disk}"
}

# Sector size and size. The image's partition table is made for 512-byte sectors: on a 4Kn disk it would not be found
# after the reboot (Flatcar#1429).
check_geometry() {
    local sector size
    sector="$(blockdev --getss "$disk")" || { refuse "$disk does not tell its sector size"; return 1; }
    size="$(blockdev --getsize64 "$disk")" || { refuse "$disk does not tell its size"; return 1; }
    if [ "$sector" -ne 512 ]; then
        refuse "$disk has sectors of $sector bytes and the image needs 512: switch the disk to 512e, or choose another"
    elif [ "$size" -lt "$MIN_DISK_BYTES" ]; then
        refuse "$disk has $size bytes and the image needs $MIN_DISK_BYTES"
    fi
}

# The partitions in a disk's table (the chosen disk's unless another is named), one JSON object a line: {node, name}. Fails when a table cannot be read.
list_partitions() {
    local table
    table="$(sfdisk --json "${1:-$disk}" 2>/dev/null)" || return 1
    printf '%s' "$table" | jq -c '.partitiontable.partitions // [] | .[] | {node, name: (.name // "")}'
}

# What a live Flatcar mounts by label from a disk that an earlier install left.
unmount_labelled() {
    local at
    lsblk --noheadings --raw --output MOUNTPOINT "$disk" | while read -r at; do
        [ -z "$at" ] || umount "$at" || true
    done
}

# The kernel's view of the table, made equal to what is on the disk: a node for each partition.
reread_partitions() {
    ! command -v udevadm >/dev/null || udevadm settle
    partx --update "$disk" 2>/dev/null || true
    partx --add "$disk" 2>/dev/null || true     # --update stops short where numbers are left out, as Flatcar does
}

# Signature types on one device, one a line (`LVM2_member`, `linux_raid_member`, `ceph_bluestore`, `zfs_member`, ...).
list_signatures() {
    wipefs --noheadings --output TYPE "$1" | sort -u
}

# Whether anything but zeros is in the disk's first MiB (behind a partition table, if there is one): what has no known
# signature is somebody's as well, be it a database on the bare disk or encryption without a header.
has_unknown_content() {
    local first=0
    [ "$1" = no ] || first=34
    [ "$(dd if="$disk" bs=512 skip="$first" count=$((2048 - first)) status=none | tr -d '\0' | head -c 1 | wc -c)" -ne 0 ]
}

# What is on the disk, in words, one thing a line; nothing when it is empty. An empty partition table is nothing.
list_contents() {
    local kind table=no known=no line node name kinds
    while read -r kind; do
        case "$kind" in
        "") ;;
        gpt | PMBR | dos) table=yes ;;
        *)
            known=yes
            printf '%s on the whole disk\n' "$kind"
            ;;
        esac
    done < <(list_signatures "$disk")
    if [ "$table" = yes ]; then
        if ! list_partitions >/dev/null; then
            printf 'a partition table that cannot be read\n'
        fi
        while read -r line; do
            known=yes
            node="$(printf '%s' "$line" | jq -r .node)"
            name="$(printf '%s' "$line" | jq -r .name)"
            kinds=""
            [ ! -b "$node" ] || kinds="$(list_signatures "$node" | tr '\n' ' ')"
            printf 'partition %s%s: %s\n' "${node##*/}" "${name:+ \"$name\"}" "${kinds:-no known content}"
        done < <(list_partitions)
    fi
    if [ "$known" = no ] && has_unknown_content "$table"; then
        printf 'data of an unknown kind at its beginning\n'
    fi
    for node in "/sys/block/$disk_name/holders"/*; do
        [ ! -e "$node" ] || printf 'in use by %s (LVM, RAID or encryption)\n' "${node##*/}"
    done
}

# Whether the partition table is that of a Flatcar image, or there is none (an image that was cut short).
looks_like_image() {
    local line
    while read -r line; do
        case "$(printf '%s' "$line" | jq -r .name)" in
        EFI-SYSTEM | BIOS-BOOT | USR-A | USR-B | ROOT-C | OEM | OEM-CONFIG | ROOT) ;;
        *) return 1 ;;
        esac
    done < <(list_partitions)
    ! list_signatures "$disk" | grep -qvxE 'gpt|PMBR|dos|'
}

# Other disks with a Flatcar on them, as a warning: two have the same labels, and the firmware may start either.
describe_other_systems() {
    local other
    list_disks | jq -r '.[].path' | while read -r other; do
        if [ "$other" != "$disk" ] && list_partitions "$other" | jq -e 'select(.name == "USR-A")' >/dev/null; then
            printf '; WARNING: %s holds a Flatcar as well, and the machine may boot that one' "$other"
        fi
    done
}

# The partition with the file system labelled OEM, on this disk only: a second disk may hold another system's.
find_oem() {
    local line node
    while read -r line; do
        node="$(printf '%s' "$line" | jq -r .node)"
        if [ -b "$node" ] && [ "$(blkid -p -o value -s LABEL "$node" 2>/dev/null)" = OEM ]; then
            printf '%s\n' "$node"
            return 0
        fi
    done < <(list_partitions)
    return 1
}

# The marker of an earlier install as JSON, or nothing.
read_marker() {
    local oem at
    oem="$(find_oem)" || return 1
    at="$(mktemp -d)"
    if mount -o ro "$oem" "$at" 2>/dev/null; then
        [ ! -f "$at/$MARKER_NAME" ] || head -c 4096 "$at/$MARKER_NAME" | jq -c 'objects' 2>/dev/null
        umount "$at"
    fi
    rmdir "$at"
}

authority_digest() {
    sha256sum "$AUTHORITY" | cut -d ' ' -f 1
}

# A note in a sector that the image never reaches, from the moment erasing starts until the marker is written: an
# install cut short by a power failure is ours too, and must not look like somebody's data at the next attempt, nor
# to the next order.
begun_text() {
    printf 'bootstrapper-begun %s %s %s\n' "$CLUSTER_NAME" "$MACHINE_MAC" "$GENERATION"
}

begun_sector() {
    echo $(($(blockdev --getsz "$disk") - 16384))
}

mark_begun() {
    begun_text | dd of="$disk" bs=512 seek="$(begun_sector)" count=1 conv=sync,nocreat,fsync status=none
}

clear_begun() {
    dd if=/dev/zero of="$disk" bs=512 seek="$(begun_sector)" count=1 conv=nocreat,fsync status=none
}

has_begun() {
    local note mac
    note="$(dd if="$disk" bs=512 skip="$(begun_sector)" count=1 status=none | tr -d '\0' | head -n 1)"
    for mac in $MACHINE_MACS; do
        case "$note" in "bootstrapper-begun $CLUSTER_NAME $mac "*) return 0 ;; esac
    done
    return 1
}

# What `$1`, a marker, says of the order that is to be carried out now:
#   done    this very order has been carried out on this disk, as the last one or before it
#   ours    the disk has an install of this machine by another order
#   lost    the same, but nobody ordered another one: the server does not know of it
#   none    not this machine's
# An admin's order has an identity, and the marker keeps those of the orders before its own. A number is not enough: a
# server that was restored from a backup gives the same ones again. The description's first install has no identity,
# and is done when any install by this server is there; nor has what was ordered or written before there were any, and
# for these the number counts.
weigh_marker() {
    [ -n "$1" ] || { echo none; return; }
    printf '%s' "$1" | jq -r --arg cluster "$CLUSTER_NAME" --arg macs "$MACHINE_MACS" --arg order "$ORDER_ID" \
        --arg digest "$(authority_digest)" --argjson generation "$GENERATION" '
        (.mac as $mac | $macs | split(" ") | index($mac) != null) as $machine
        | ((.generation | numbers) // -1) as $kept
        | ((.order | strings) // "") as $by
        | if .cluster != $cluster or ($machine | not) or $kept < 0 then "none"
          elif $order != "" then
              if $by == $order or ((.earlier | arrays) // [] | index($order) != null) then "done" else "ours" end
          elif .authority == $digest and ($by != "" or $kept >= $generation) then "done"
          elif $by == "" and $kept < $generation then "ours"
          else "lost" end' 2>/dev/null || echo none
}

# The identities of the orders that were carried out on the disk with marker `$1`, as a JSON list, the latest last.
list_orders() {
    local orders
    orders="$(printf '%s' "$1" | jq -c '
        ((.earlier | arrays) // []) + [.order] | map(strings | select(. != "" and length <= 64)) | .[-20:]' 2>/dev/null)"
    printf '%s' "${orders:-[]}"
}

# Whether the disk may be erased; sets `verdict` to empty, ours, interrupted, wipe, or adopt (what is ordered is on it
# complete, only its report did not arrive: nothing is written again). Refuses anything else (design rule 5).
judge_disk() {
    local marker contents kin
    check_geometry || return 1
    unmount_labelled
    reread_partitions
    contents="$(list_contents)"
    if [ -z "$contents" ] && [ "$WIPE" != yes ]; then
        verdict=empty
        return 0
    fi
    marker="$(read_marker)"
    kin="$(weigh_marker "$marker")"
    [ "$kin" = none ] || earlier="$(list_orders "$marker")"
    case "$WIPE:$kin" in
    *:done) verdict=adopt ;;            # before the order to wipe, which is for one install
    yes:*) verdict=wipe ;;
    *:ours) verdict=ours ;;
    *:lost)
        refuse "$disk already holds install $(printf '%s' "$marker" | jq -r .generation) of this machine and the" \
            "server orders install $GENERATION: was the server's state lost? Restore it, or order the loss of this disk" \
            "with: reinstall $MACHINE_HOST"
        return 1
        ;;
    esac
    [ -z "$verdict" ] || return 0
    if has_begun && looks_like_image; then
        verdict=interrupted
        return 0
    fi
    refuse "$disk holds data that is not ours ($(printf '%s' "$contents" | tr '\n' ';' | head -c 600));" \
        "choose another disk, or order its loss with: reinstall $MACHINE_HOST --wipe"
}

# Take the disk away from whatever the live system assembled on it, and remove every signature.
release_disk() {
    local line node path kind
    while read -r path kind; do             # the topmost first
        case "$kind" in
        raid*) mdadm --stop "$path" ;;
        crypt) cryptsetup close "$path" ;;
        lvm) lvm lvchange --activate n --yes "$path" ;;
        esac
    done < <(lsblk --noheadings --raw --paths --output NAME,TYPE "$disk" | tac)
    for node in "/sys/block/$disk_name/holders"/* "/sys/block/$disk_name/$disk_name"*/holders/*; do
        if [ -e "$node" ]; then
            refuse "$disk is still in use by ${node##*/}"
            return 1
        fi
    done
    while read -r line; do
        node="$(printf '%s' "$line" | jq -r .node)"
        [ ! -b "$node" ] || wipefs --all --force --quiet "$node" || { refuse "wipefs failed on $node"; return 1; }
    done < <(list_partitions)
    wipefs --all --force --quiet "$disk" || { refuse "wipefs failed on $disk"; return 1; }
    dd if=/dev/zero of="$disk" bs=1M count=1 conv=nocreat,fsync status=none || refuse "cannot write to $disk"
}

# What the next installer asks of this disk.
build_marker() {
    jq -n --arg cluster "$CLUSTER_NAME" --arg mac "$MACHINE_MAC" --arg host "$MACHINE_HOST" \
        --argjson generation "$GENERATION" --arg order "$ORDER_ID" --argjson earlier "$earlier" \
        --arg version "$IMAGE_VERSION" --arg authority "$(authority_digest)" --arg at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        '{cluster: $cluster, mac: $mac, host: $host, generation: $generation, order: $order, earlier: $earlier,
          version: $version, authority: $authority, at: $at}'
}

# Marker and kernel arguments to the OEM partition of the system just written.
write_oem() {
    local oem at
    reread_partitions
    oem="$(find_oem)" || { refuse "the written image has no OEM partition on $disk"; return 1; }
    at="$(mktemp -d)"
    # A second disk with the same image has the same btrfs UUID, and then the first mount fails.
    mount "$oem" "$at" 2>/dev/null || { btrfstune -f -u "$oem" && mount "$oem" "$at"; } \
        || { refuse "cannot mount $oem"; return 1; }
    # The marker last: it says that everything is there.
    if { [ ! -s "$OEM_GRUB" ] || cat "$OEM_GRUB" >>"$at/grub.cfg"; } && sync \
        && build_marker >"$at/$MARKER_NAME" && sync; then
        umount "$at" && rmdir "$at"
    else
        umount "$at"
        refuse "cannot write to $oem"
    fi
}
