#!/bin/bash
# Installs this machine: clock, disk, configuration, image, report, reboot. Every step is reported; a step that cannot
# be done is reported and the machine stays up for an admin (ssh core@...). Without being installed it reboots for one
# reason only: this boot's token is refused, and another boot is the way to another token.
#
# Tools, all on the live system's PATH: bash, curl, jq, coreutils, util-linux, flatcar-install.

set -u -o pipefail
umask 077

BASE="${BOOTSTRAPPER_BASE:-}"                 # a test's root directory; empty on a machine
# shellcheck source=/dev/null
. "$BASE/etc/bootstrapper/install.env"
# shellcheck source=lib-disk.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib-disk.sh"
AUTHORITY="$BASE/etc/bootstrapper/authority.pem"
OEM_GRUB="$BASE/etc/bootstrapper/oem-grub.cfg"
WORK="$BASE/run/bootstrapper"
IMAGE_FILE=flatcar_production_image.bin.bz2
TAIL_BYTES=6000

say() {
    printf 'bootstrapper: %s\n' "$*"
}

# The end of the journal, for the report of a failure: whole lines, no control characters, no URL with this boot's token.
# The server masks whatever else looks like a key. Both reports together stay below the server's limit of 16 KiB.
read_tail() {
    local text LC_ALL=C
    text="$({ journalctl --boot --no-pager --output short-monotonic --lines 150 || cat "$WORK/flatcar-install.log"; } 2>/dev/null \
        | sed 's#/m/[A-Za-z0-9_-]\{8,\}#/m/[masked]#g' | tr -d '\000-\010\013-\037\177')"
    if [ "${#text}" -gt "$TAIL_BYTES" ]; then
        text="${text: -$TAIL_BYTES}"
        text="${text#*$'\n'}"
    fi
    printf '%s' "$text"
}

# send_report STEP DETAIL [TAIL] -> 0 when the server answered {"ok": true}
send_report() {
    printf '%s' "${3:-}" \
        | jq -cRs --arg step "$1" --arg detail "${2:0:500}" --argjson generation "$GENERATION" \
            '{step: $step, detail: $detail, generation: $generation} + if . == "" then {} else {tail: .} end' \
        | curl --silent --fail --cacert "$AUTHORITY" --connect-timeout 5 --max-time 20 \
            --header 'Content-Type: application/json' --data-binary @- "$REPORT_URL" 2>/dev/null \
        | jq -e '.ok == true' >/dev/null 2>&1
}

# A step's report is for the admin's eyes and must not hold up the install: three tries.
report() {
    local try
    say "$1: $2"
    for try in 1 2 3; do
        send_report "$1" "$2" && return 0
        sleep "$try"
    done
    say "the server did not take the report of step $1; going on"
}

# A wait of about $1 seconds: machines that wait for the same thing do not all ask in the same second.
pause() {
    sleep $(($1 / 2 + RANDOM % ($1 / 2 + 1) + 1))
}

# Stop here, tell why, and stay up: a reboot would only come back to the same place.
fail() {
    local wait=2 tail
    say "FAILED: $*"
    tail="$(read_tail)"
    while ! send_report failed "$*" "$tail"; do
        sleep "$wait"
        wait=$((wait * 2))
        if [ "$wait" -gt 300 ]; then
            say "the server did not take the report of the failure"
            break
        fi
    done
    say "this machine stays up as it is; nothing is tried again before it is restarted"
    exit 1
}

# "Fri, 20 Nov 2026 13:05:33 GMT" (RFC 9110 section 5.6.7) -> seconds. By hand: busybox' date cannot read it.
parse_http_date() {
    local day month year clock index hour minute second months=JanFebMarAprMayJunJulAugSepOctNovDec
    [[ "$1" =~ ^[A-Za-z]{3},\ ([0-9]{2})\ ([A-Z][a-z]{2})\ ([0-9]{4})\ ([0-9]{2}:[0-9]{2}:[0-9]{2})\ GMT ]] || return 1
    day=$((10#${BASH_REMATCH[1]})) month="${BASH_REMATCH[2]}" year="${BASH_REMATCH[3]}" clock="${BASH_REMATCH[4]}"
    index="${months%%"$month"*}"
    [ "${#index}" -lt 36 ] || return 1
    month=$((${#index} / 3 + 1))
    hour=$((10#${clock:0:2})) minute=$((10#${clock:3:2})) second=$((10#${clock:6:2}))
    # Days from the civil date; the year starts in March so that the leap day is its last.
    [ "$month" -gt 2 ] || { month=$((month + 12)) year=$((year - 1)); }
    day=$((365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day - 719469))
    echo $((day * 86400 + hour * 3600 + minute * 60 + second))
}

# By plain HTTP, before any certificate or signature is looked at: with a dead battery all of them are "not yet valid".
set_clock() {
    local header server here wait=1
    while true; do
        header="$(curl --silent --dump-header - --output /dev/null --connect-timeout 5 --max-time 10 "$HEALTH_URL" \
            | tr -d '\r' | sed -n 's/^[Dd]ate: *//p' | head -n 1)"
        server="$(parse_http_date "$header")" && break
        say "waiting for the server at $HEALTH_URL"
        sleep "$wait"
        [ "$wait" -ge 30 ] || wait=$((wait * 2))
    done
    here="$(date +%s)"
    if [ $((server - here)) -gt 2 ] || [ $((here - server)) -gt 2 ]; then
        date -u -s "@$server" >/dev/null || fail "cannot set the clock, which is $((server - here)) seconds off"
        hwclock --systohc --utc 2>/dev/null || true
        report clock "the clock was $((server - here)) seconds off and was set$(explain_days $((server - here)))"
    else
        report clock "the clock is right"
    fi
}

# 94608000 -> " (1095 days behind)"; nothing below a day.
explain_days() {
    local days=$(($1 / 86400))
    if [ "$days" -gt 0 ]; then
        echo " ($days days behind)"
    elif [ "$days" -lt 0 ]; then
        echo " ($((-days)) days ahead)"
    fi
}

# Disks behind a slow controller appear late: none at all is asked for again, half a minute long.
wait_for_disk() {
    local try
    for try in 1 2 3 4 5 6; do
        choose_disk && return 0
        case "$reason" in *" matches 0 disks"*) ;; *) return 1 ;; esac
        say "no disk yet (try $try)"
        sleep 5
    done
    choose_disk
}

# The board's UUID, which the boot script's request told as well: the claim is bound to it.
find_uuid() {
    head -c 36 "$BASE/sys/class/dmi/id/product_uuid" 2>/dev/null | tr -cd '0-9A-Fa-f-'
}

# The server refused this boot's token, for a reason that it tells to its admin only: the token ended, a newer boot took
# its place, or the order changed. Nothing was written yet, so another boot does no harm, and it gets another token if
# this machine is still to be installed. The server counts these boots and puts a machine that comes again and again on
# hold, with the words of its last failure.
start_over() {
    local try tail text="the server refused this machine's configuration (HTTP $1): its log says why"
    say "FAILED: $text"
    say "this machine restarts in about a minute, to ask for another boot's"
    tail="$(read_tail)"
    for try in 1 2 3; do
        send_report failed "$text; it restarts to ask for another boot's" "$tail" && break
        sleep "$try"
    done
    pause 80
    say "restarting"
    systemctl reboot || reboot -f
    exit 1
}

# The configuration with its secrets, to memory only. "Not yet" (503, which the server says to nobody but the machine that
# it is for) and no answer are waited out, however long it takes: the server restarts, waits for a majority of etcd's
# members, or an admin has this machine on hold.
claim_config() {
    local code distrusted=0 wait=2 told=""
    while true; do
        code="$(curl --silent --cacert "$AUTHORITY" --connect-timeout 5 --max-time 30 \
            --write-out '%{http_code}' --output "$WORK/config" "$CONFIG_URL?uuid=$(find_uuid)")" || code="000 curl $?"
        case "$code" in
        200) break ;;
        *" curl 60")
            # Another server than the one that this boot is of: no waiting makes it the same.
            distrusted=$((distrusted + 1))
            [ "$distrusted" -lt 10 ] || fail "the server's certificate is not of the authority that this boot is of"
            ;;
        000* | 200* | 5??) ;;
        *) start_over "$code" ;;
        esac
        say "no configuration yet (last answer: $code); asking again, for as long as it takes"
        [ -n "$told" ] || { send_report waits "no configuration yet (last answer: $code): it asks again" && told=1; }
        pause "$wait"
        [ "$wait" -ge 60 ] || wait=$((wait * 2))
    done
    case "$PROVISION" in
    cloud-config) [ "$(head -n 1 "$WORK/config")" = "#cloud-config" ] || fail "the configuration is no cloud-config" ;;
    ignition) jq -e '.ignition.version' "$WORK/config" >/dev/null 2>&1 || fail "the configuration is no Ignition" ;;
    *) fail "the configuration's kind is unknown: $PROVISION" ;;
    esac
    report config "$PROVISION of $(wc -c <"$WORK/config") bytes, kept in memory"
}

# Bytes of the compressed image, or nothing when the server does not tell.
find_image_bytes() {
    curl --silent --fail --head --connect-timeout 5 --max-time 20 "$IMAGE_BASE/$IMAGE_VERSION/$IMAGE_FILE" \
        | tr -d '\r' | sed -n 's/^[Cc]ontent-[Ll]ength: *\([0-9]\{1,15\}\)$/\1/p' | tail -n 1
}

# What the program that fetches the image has handed on so far. It writes a pipe, so it is never ahead of the disk by
# more than the pipes and the page cache hold.
count_fetched() {
    local process name most=0 count
    for process in /proc/[0-9]*; do
        read -r name 2>/dev/null <"$process/comm" || continue
        case "$name" in wget | curl) ;; *) continue ;; esac
        count="$(sed -n 's/^wchar: *//p' "$process/io" 2>/dev/null)"
        [ "${count:-0}" -le "$most" ] || most="$count"
    done
    echo "$most"
}

# How far the image is: `42 % of the image`, every 5 %, or what the disk has taken, every half minute. 99 is the most
# that is told before flatcar-install says that it is done.
watch_image() {
    local total start now percent told=0 rounds=0
    # To be stopped between two reports, never in one: what is still on its way would arrive after what comes next.
    trap 'exit 0' TERM
    total="$(find_image_bytes)"
    start="$(awk '{print $7}' "/sys/block/$disk_name/stat" 2>/dev/null)" || start=""
    while sleep 5 & wait "$!"; do
        rounds=$((rounds + 1))
        if [ "${total:-0}" -gt 0 ]; then
            percent=$(($(count_fetched) * 100 / total))
            [ "$percent" -le 99 ] || percent=99
            if [ "$percent" -ge $((told + 5)) ] || { [ $((rounds % 6)) -eq 0 ] && [ "$percent" -gt "$told" ]; }; then
                told="$percent"
                send_report image "$percent % of the image" || true
            fi
        elif [ -n "$start" ] && [ $((rounds % 6)) -eq 0 ]; then
            now="$(awk '{print $7}' "/sys/block/$disk_name/stat")"
            send_report image "$(((now - start) / 2048)) MiB written" || true
        fi
    done
}

write_image() {
    local flag=-c status watcher began="$SECONDS" key=()
    [ "$PROVISION" = cloud-config ] || flag=-i
    if [ -n "${IMAGE_KEY_URL:-}" ]; then
        curl --silent --fail --cacert "$AUTHORITY" --connect-timeout 5 --max-time 60 --retry 5 \
            --output "$WORK/image-key" "$IMAGE_KEY_URL" || fail "the key that signs the image cannot be fetched"
        key=(-k "$WORK/image-key")
    fi
    report image "writing $IMAGE_VERSION from $IMAGE_BASE to $disk"
    watch_image &
    watcher=$!
    # -o '': no OEM image, whatever the live system calls itself. Without -f the signature is checked.
    flatcar-install -d "$disk" -V "$IMAGE_VERSION" -b "$IMAGE_BASE" -o '' "${key[@]}" "$flag" "$WORK/config" 2>&1 \
        | tee "$WORK/flatcar-install.log"
    status="${PIPESTATUS[0]}"
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
    [ "$status" -eq 0 ] || fail "flatcar-install: $(tail -n 3 "$WORK/flatcar-install.log" | tr '\n' ' ')"
    report image "100 % of the image, in $((SECONDS - began)) s"
}

# Reboot only after the server said it knows: else it would boot the installer again.
report_installed() {
    local wait=1
    say "installed: $1"
    until send_report installed "$1"; do
        say "installed; waiting for the server to take the report"
        sleep "$wait"
        [ "$wait" -ge 60 ] || wait=$((wait * 2))
    done
}

main() {
    local tool
    [ -n "$REPORT_URL" ] || { say "this configuration was rendered for reading: it has no token"; exit 1; }
    mkdir -p "$WORK"
    for tool in curl jq lsblk blkid wipefs sfdisk blockdev sha256sum flatcar-install; do
        command -v "$tool" >/dev/null || fail "the installer system has no $tool"
    done
    set_clock
    wait_for_disk || fail "$reason"
    judge_disk || fail "$reason"
    report disk "$disk_text, chosen by $(describe_selector): $(explain_verdict)$(describe_other_systems)"
    claim_config
    if [ "$verdict" = adopt ]; then
        # Claimed only to prove who reports; what is on the disk came from the attempt before.
        rm -f "$WORK/config"
        report_installed "found complete on $disk from an earlier attempt; nothing was written"
    else
        mark_begun || fail "cannot write to $disk"
        release_disk || fail "$reason"
        write_image
        write_oem || fail "$reason"
        clear_begun
        sync
        rm -f "$WORK/config"
        report_installed "$IMAGE_VERSION on $disk"
    fi
    say "rebooting into the installed system"
    systemctl reboot || reboot -f
}

explain_verdict() {
    case "$verdict" in
    empty) echo "it is empty" ;;
    ours) echo "it holds an earlier install of this machine" ;;
    interrupted) echo "it holds an install of this machine that was cut short" ;;
    wipe) echo "its loss was ordered" ;;
    adopt) echo "it holds this very install, complete" ;;
    esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    main "$@"
fi
