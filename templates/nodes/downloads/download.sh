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
    if [ -n "$5" ]; then
        # Some archives name their files ./NAME.
        tar --extract --gzip --to-stdout --file "$1" "$5" >"$4.new" 2>/dev/null \
            || tar --extract --gzip --to-stdout --file "$1" "./$5" >"$4.new" || return 1
        digest "$4.new" >"$KEPT/$2-${5//\//-}" || return 1
    else
        cp "$1" "$4.new" || return 1
    fi
    chmod "$3" "$4.new" && sync "$4.new" && mv "$4.new" "$4"
}

mkdir -p "$KEPT"
wait=1
until complete; do
    failed=""
    while read -r sha256 url; do
        if [ "${#sha256}" -ne 64 ]; then
            echo "no hash is known for $url: put it in assets.lock beside the description, and install again" >&2
            failed=yes
        elif ! fetch "$sha256" "$url"; then
            failed=yes
        fi
    done < <(while read -r sha256 url _ path member; do
        proven "$sha256" "$path" "$member" || echo "$sha256 $url"
    done <"$LIST" | sort -u)
    if [ -n "$failed" ]; then
        echo "trying again in $wait s" >&2
        sleep "$wait"
        wait=$((wait * 2 < SECONDS_MAX ? wait * 2 : SECONDS_MAX))
    fi
done
