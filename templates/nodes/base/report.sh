#!/bin/bash
# Tells the server how this system's first boot goes: that it is up, what becomes of each unit that its configuration
# starts (with the end of its journal when it fails), and that its node is registered. Once all is well it is never run
# again. Nothing waits for it. Nothing is queued: a server that was off hears how things stand when it is back.

set -u
MARK="${BOOTSTRAPPER_MARK:-/var/lib/bootstrapper/reported}"
# shellcheck disable=SC1090,SC1091
. "${BOOTSTRAPPER_REPORT_ENV:-/etc/bootstrapper/report.env}"
TAIL_BYTES=6000
CHANGES=10              # of one unit: one that comes and goes for ever is not told for ever
STEADY_S=15             # a program that has run so long has started

declare -A told=() changes=()
booted=no

finish() {
    mkdir -p "$(dirname "$MARK")"
    printf '%s\n' "$1" >"$MARK"
    echo "$1"
    exit 0
}

# tell STEP DETAIL [TAIL] -> 0 when the server heard it
tell() {
    local code
    code="$(printf '%s' "${3:-}" \
        | jq -cRs --arg step "$1" --arg detail "${2:0:500}" --argjson generation "$GENERATION" \
            '{step: $step, detail: $detail, generation: $generation} + if . == "" then {} else {tail: .} end' \
        | curl --silent --cacert "$AUTHORITY" --connect-timeout 5 --max-time 20 --output /dev/null \
            --write-out '%{http_code}' --header 'Content-Type: application/json' --data-binary @- "$REPORT_URL")"
    case "$code" in
    200) return 0 ;;
    404) finish "the server does not know this boot's token any more" ;;
    esac
    echo "the server did not take the report of $1 (answer: $code); it is tried again"
    return 1
}

# The end of a unit's journal: whole lines, no control characters, no URL with the token. The server masks keys.
read_tail() {
    local text LC_ALL=C
    text="$(journalctl --boot --no-pager --output short-monotonic --lines 100 --unit "$1" 2>/dev/null \
        | sed 's#/m/[A-Za-z0-9_-]\{8,\}#/m/[masked]#g' | tr -d '\000-\010\013-\037\177')"
    if [ "${#text}" -gt "$TAIL_BYTES" ]; then
        text="${text: -$TAIL_BYTES}"
        text="${text#*$'\n'}"
    fi
    printf '%s' "${text:-its journal is empty}"
}

# Sets `text` (what there is to tell of a unit; empty: nothing yet), `bad` and `settled`.
look_at() {
    local key value active="" load="" result="" words="" restarts=0 status=0 condition="" since=0 left=0 looked=0 now
    text="" bad=no settled=no
    while IFS='=' read -r key value; do
        case "$key" in
        LoadState) load="$value" ;;
        ActiveState) active="$value" ;;
        Result) result="$value" ;;
        NRestarts) restarts="${value:-0}" ;;
        ExecMainStatus) status="$value" ;;
        ConditionResult) condition="$value" ;;
        StatusText) words="$value" ;;
        ConditionTimestampMonotonic) looked="${value:-0}" ;;
        ActiveEnterTimestampMonotonic) since="${value:-0}" ;;
        InactiveEnterTimestampMonotonic) left="${value:-0}" ;;
        esac
    done < <(systemctl show --property LoadState,ActiveState,Result,NRestarts,ExecMainStatus,ConditionResult,StatusText \
        --property ConditionTimestampMonotonic,ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic "$1")
    read -r now _ </proc/uptime
    case "$load:$active" in
    not-found:* | bad-setting:* | error:*) text="cannot be loaded ($load)" bad=yes ;;
    *:active)
        if [ "$restarts" = 0 ] || [ $((${now%.*} - since / 1000000)) -ge "$STEADY_S" ]; then
            text=active settled=yes
        fi
        ;;
    *:failed) text="failed ($result, status $status)" bad=yes ;;
    *:activating)
        if [ "$restarts" != 0 ]; then
            text="fails again and again ($result, status $status)" bad=yes
        elif [ -n "$words" ] && [[ "$1" = bootstrapper-download@* ]]; then
            text="tries again and again: ${words:0:300}" bad=yes
        fi
        ;;
    *:inactive)
        if [ "$condition" = no ] && [ "$looked" != 0 ]; then
            text="not needed" settled=yes
        elif [ "$left" != 0 ] && [ "$result" = success ]; then
            text="done" settled=yes
        fi
        ;;
    esac
}

# tell_change NAME: `text` when it is new. Fails when the server did not hear it. The words of a download that tries again
# count bytes and seconds, which are no news; what a unit has settled on is told however often it changed before.
tell_change() {
    local tail="" news="$text"
    [[ "$text" != "tries again"* ]] || news="${text//[0-9]/}"
    if [ -z "$text" ] || [ "${told[$1]:-}" = "$news" ]; then
        return 0
    fi
    if [ "$settled" = no ] && [ "${changes[$1]:-0}" -ge "$CHANGES" ]; then
        return 0
    fi
    [ "$bad" = no ] || tail="$(read_tail "$1")"
    tell unit "$1: $text" "$tail" || return 1
    told[$1]="$news"
    changes[$1]=$((${changes[$1]:-0} + 1))
}

tell_boot() {
    local failed
    if [ "$booted" = no ] && systemctl is-active --quiet multi-user.target; then
        failed="$(systemctl list-units --failed --plain --no-legend --no-pager | cut -d ' ' -f 1 | tr '\n' ' ')"
        tell booted "the installed system is up${failed:+; failed units: $failed}" || return 1
        booted=yes
    fi
}

# A node is registered when the API server has it, asked with the certificate that the kubelet got.
tell_node() {
    text="" bad=no settled=yes
    [ -n "$NODE_URL" ] || return 0
    settled=no
    if [ -s "$NODE_CERTIFICATE" ]; then
        text="certificate signed"
        if curl --silent --fail --cacert "$NODE_CA" --cert "$NODE_CERTIFICATE" --connect-timeout 5 --max-time 10 \
            --output /dev/null "$NODE_URL"; then
            text="node registered" settled=yes
        fi
    fi
    tell_change kubelet
}

# One look at everything. Fails when the server did not hear; sets `open` to how much is not settled yet.
look() {
    local unit
    open=0
    tell_boot || return 1
    [ "$booted" = yes ] || open=1
    for unit in $UNITS; do
        look_at "$unit"
        tell_change "$unit" || return 1
        [ "$settled" = yes ] || open=$((open + 1))
    done
    tell_node || return 1
    [ "$settled" = yes ] || open=$((open + 1))
}

wait=2
while true; do
    if look; then
        [ "$open" -gt 0 ] || finish "reported"
        wait=2
        sleep 10
    else
        sleep "$wait"
        [ "$wait" -ge 300 ] || wait=$((wait * 2))
    fi
done
