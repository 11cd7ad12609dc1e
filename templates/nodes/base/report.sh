#!/bin/bash
# Tells the server, once in this system's life, that it has booted; tries until it is heard.

set -u
MARK="${BOOTSTRAPPER_MARK:-/var/lib/bootstrapper/reported}"
# shellcheck disable=SC1090,SC1091
. "${BOOTSTRAPPER_REPORT_ENV:-/etc/bootstrapper/report.env}"

finish() {
    mkdir -p "$(dirname "$MARK")"
    printf '%s\n' "$1" >"$MARK"
    echo "$1"
    exit 0
}

until systemctl is-active --quiet multi-user.target; do
    sleep 5
done

wait=2
while true; do
    failed="$(systemctl list-units --failed --plain --no-legend --no-pager | cut -d ' ' -f 1 | tr '\n' ' ')"
    code="$(jq -cn --arg detail "the installed system is up${failed:+; failed units: $failed}" \
        --argjson generation "$GENERATION" '{step: "booted", detail: $detail, generation: $generation}' \
        | curl --silent --cacert "$AUTHORITY" --connect-timeout 5 --max-time 20 --output /dev/null \
            --write-out '%{http_code}' --header 'Content-Type: application/json' --data-binary @- "$REPORT_URL")"
    case "$code" in
    200) finish "reported" ;;
    404) finish "the server does not know this boot's token any more" ;;
    esac
    echo "the server did not take the report (answer: $code); trying again in $wait s"
    sleep "$wait"
    [ "$wait" -ge 300 ] || wait=$((wait * 2))
done
