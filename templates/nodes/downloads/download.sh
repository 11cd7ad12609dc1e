#!/bin/bash
# Usage: download.sh LIST
# Puts every file of LIST in its place, proven by its hash, and tries until it has. What is there already is neither
# fetched nor touched, so a machine that has its programs boots without the server.
#
# A line of LIST: SHA256 URL MODE PATH [MEMBER], MEMBER being the file's name in the archive that URL is.

set -u
LIST="$1"
KEPT="${BOOTSTRAPPER_KEPT:-/var/lib/bootstrapper/downloads}"
SECONDS_MAX="${BOOTSTRAPPER_WAIT_MAX:-60}"

# An archive's hash says nothing of the file that was taken from it: what was taken is noted, by archive and member.
proven() { # SHA256 PATH MEMBER
    [ -f "$2" ] || return 1
    if [ -n "$3" ]; then
        [ "$(cat "$KEPT/$1-${3//\//-}" 2>/dev/null)" = "$(digest "$2")" ]
    else
        [ "$(digest "$2")" = "$1" ]
    fi
}

digest() {
    sha256sum <"$1" | cut -d ' ' -f 1
}

complete() {
    local sha256 url mode path member
    while read -r sha256 url mode path member; do
        if ! proven "$sha256" "$path" "$member"; then
            return 1
        fi
    done <"$LIST"
}

# Fetches URL once for all of its lines, and puts them in place.
fetch() { # SHA256 URL
    local file found sha256 url mode path member
    file="$KEPT/$1.part"
    if ! curl --silent --show-error --fail --connect-timeout 10 --speed-time 60 --speed-limit 1024 \
        --output "$file" "$2"; then
        return 1
    fi
    found="$(digest "$file")"
    if [ "$found" != "$1" ]; then
        echo "$2 has the SHA-256 $found, expected $1: it is thrown away" >&2
        rm -f "$file"
        return 1
    fi
    while read -r sha256 url mode path member; do
        if [ "$sha256" = "$1" ] && [ "$url" = "$2" ] && ! proven "$sha256" "$path" "$member"; then
            place "$file" "$sha256" "$mode" "$path" "$member" || return 1
            echo "$path is in place"
        fi
    done <"$LIST"
    rm -f "$file"
}

place() { # FILE SHA256 MODE PATH MEMBER
    mkdir -p "$(dirname "$4")" || return 1
    if make_ready "$@" && chmod "$3" "$4.new" && sync "$4.new" && mv "$4.new" "$4"; then
        return 0
    fi
    # tar does not say why it could write no more.
    echo "$4 cannot be put in place, with $(df --output=avail -h "$(dirname "$4")" | tail -n 1 | tr -d ' ') free there" >&2
    rm -f "$4.new"
    return 1
}

make_ready() { # as place: PATH.new
    if [ -n "$5" ]; then
        extract "$1" "$5" "$4.new" && digest "$4.new" >"$KEPT/$2-${5//\//-}"
    else
        cp "$1" "$4.new"
    fi
}

extract() { # ARCHIVE MEMBER PATH
    local said
    said="$(LC_ALL=C tar --extract --gzip --to-stdout --file "$1" "$2" 2>&1 >"$3")" && return 0
    case "$said" in
    *"Not found in archive"*)
        # Some archives name their files ./NAME.
        tar --extract --gzip --to-stdout --file "$1" "./$2" >"$3"
        return
        ;;
    esac
    printf '%s\n' "$said" >&2
    return 1
}

# What `systemctl status` and the first boot's report say of this unit while it does not get on.
tell_status() {
    [ -z "${NOTIFY_SOCKET:-}" ] || systemd-notify --status="$1" || true
}

mkdir -p "$KEPT"
wait=1
exec 3>&1
until complete; do
    failed=""
    while read -r sha256 url; do
        if [ "${#sha256}" -ne 64 ]; then
            said="no hash is known for $url: put it in assets.lock beside the description, and install again"
            failed="$said"
        elif ! said="$(fetch "$sha256" "$url" 2>&1 >&3)"; then
            failed="$url: $(printf '%s' "$said" | tr '\n' ' ')"
        fi
        [ -z "$said" ] || printf '%s\n' "$said" >&2
    done < <(while read -r sha256 url _ path member; do
        proven "$sha256" "$path" "$member" || echo "$sha256 $url"
    done <"$LIST" | sort -u)
    if [ -n "$failed" ]; then
        echo "trying again in $wait s" >&2
        tell_status "${failed:0:300}"
        sleep "$wait"
        wait=$((wait * 2 < SECONDS_MAX ? wait * 2 : SECONDS_MAX))
    fi
done
