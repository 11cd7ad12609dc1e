#!/bin/bash
# Renews this machine's certificates before they end, each with a new key made here, and takes up a new authority.
# Asks the server that LIST's machine was made by, over TLS pinned to its authority; a server that is off is asked again
# hours later. Ends with an error only when a certificate is about to end.
#
# A line of LIST, one of
#   authority NAME PATH               what is trusted as NAME (cluster, etcd, front-proxy) is in PATH
#   certificate LEAF NAME CERTIFICATE PRIVATE [UNIT]   signed by NAME; UNIT is restarted for it
#   restart UNIT                      reads an authority only when it starts
#   pod MANIFEST                      the same, a static pod
#   token PATH                        the kubelet's bootstrap kubeconfig, and
#   joined PATH                       what exists once it has joined

set -u
umask 077
LIST="${BOOTSTRAPPER_RENEW_LIST:-/etc/bootstrapper/renew.list}"
# shellcheck disable=SC1090,SC1091
. "${BOOTSTRAPPER_RENEW_ENV:-/etc/bootstrapper/renew.env}"
NOW="${BOOTSTRAPPER_RENEW_NOW:-$(date +%s)}"
WORK="$(mktemp -d)" || exit 1
trap 'rm -rf "$WORK"' EXIT

ask() { # PATH [BODY]: the answer on stdout
    curl --silent --show-error --fail --cacert "$AUTHORITY" --connect-timeout 5 --max-time 30 \
        ${2:+--header "Content-Type: application/json" --data-binary "@$2"} "$SERVER$1"
}

public_of_certificate() { openssl x509 -in "$1" -noout -pubkey 2>/dev/null; }
public_of_key() { openssl pkey -in "$1" -pubout 2>/dev/null; }

# Whether CERTIFICATE is that of PRIVATE.
match() { # CERTIFICATE PRIVATE
    [ -s "$1" ] && [ -s "$2" ] && [ -n "$(public_of_key "$2")" ] \
        && [ "$(public_of_certificate "$1")" = "$(public_of_key "$2")" ]
}

seconds() { date -d "$(openssl x509 -in "$2" -noout "-$1" | cut -d = -f 2)" +%s; }

# In the order that a crash in between can be mended from: see mend.
place() { # CERTIFICATE PRIVATE: PATH.new takes PATH's place
    local path
    for path in "$2" "$1"; do
        chmod --reference="$path" "$path.new" && chown --reference="$path" "$path.new" || return 1
    done
    sync "$1.new" "$2.new" && mv "$2.new" "$2" && mv "$1.new" "$1" && sync "$(dirname "$1")"
}

# A run that ended between two steps of place.
mend() { # CERTIFICATE PRIVATE
    if match "$1" "$2"; then
        return 0
    elif match "$1.new" "$2"; then
        mv "$1.new" "$1"
    elif match "$1.new" "$2.new"; then
        place "$1" "$2"
    else
        echo "$1 is not the certificate of $2, and there is nothing to mend it with: install this machine again" >&2
        return 1
    fi
}

# At two thirds of its life, or once another authority signs in place of the one that signed it.
is_due() { # NAME CERTIFICATE
    local begin end
    begin="$(seconds startdate "$2")" end="$(seconds enddate "$2")" || return 1
    [ "$NOW" -ge $((begin + (end - begin) * 2 / 3)) ] && return 0
    [ -s "$WORK/$1.pem" ] || return 1
    openssl x509 -in "$WORK/$1.pem" -out "$WORK/first.pem" || return 1
    ! openssl verify -no_check_time -partial_chain -no-CApath -no-CAstore -CAfile "$WORK/first.pem" "$2" \
        >/dev/null 2>&1
}

# Signs MESSAGE with the key of CERTIFICATE; the body of a request on stdout.
prove() { # CERTIFICATE PRIVATE NAME MESSAGE
    openssl dgst -sha256 -sign "$2" -out "$WORK/signature" "$4" || return 1
    base64 --wrap 0 "$WORK/signature" >"$WORK/signature.txt"
    jq --null-input --rawfile certificate "$1" --rawfile message "$4" --rawfile signature "$WORK/signature.txt" \
        --arg name "$3" '{certificate: $certificate, ($name): $message, signature: $signature}'
}

renew() { # LEAF CERTIFICATE PRIVATE
    # A key that was made and never answered for is used again.
    if [ ! -s "$3.new" ] || ! openssl pkey -in "$3.new" -noout 2>/dev/null; then
        openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null \
            | openssl pkcs8 -topk8 -nocrypt -out "$3.new" || return 1
    fi
    openssl req -new -key "$3.new" -subj "/CN=$1" -out "$WORK/csr.pem" || return 1
    prove "$2" "$3" csr "$WORK/csr.pem" >"$WORK/body" || return 1
    ask /renew "$WORK/body" >"$WORK/answer" || return 1
    jq --exit-status --join-output .certificate "$WORK/answer" >"$2.new" || return 1
    jq --exit-status --join-output .authorities "$WORK/answer" >"$WORK/trusted.pem" || return 1
    if ! match "$2.new" "$3.new" || ! openssl verify -no_check_time -CAfile "$WORK/trusted.pem" "$2.new" >/dev/null; then
        echo "the server's answer for $1 is not what was asked for: it is not used" >&2
        rm -f "$2.new" "$3.new"
        return 1
    fi
    place "$2" "$3" && echo "$1 is renewed, until $(openssl x509 -in "$2" -noout -enddate | cut -d = -f 2)"
}

# The kubelet's token ran out before the machine joined: the server gives another for one that does join.
renew_token() { # BOOTSTRAP CERTIFICATE PRIVATE
    local token
    printf 'bootstrap-token %s' "$NOW" >"$WORK/request"
    prove "$2" "$3" request "$WORK/request" >"$WORK/body" || return 1
    token="$(ask /bootstrap-token "$WORK/body" 2>/dev/null | jq --exit-status --raw-output .token 2>/dev/null)" || return 0
    [[ "$token" =~ ^[a-z0-9]{6}\.[a-z0-9]{16}$ ]] || return 1
    sed "s/[a-z0-9]\{6\}\.[a-z0-9]\{16\}/$token/" "$1" >"$1.new" && chmod --reference="$1" "$1.new" \
        && mv "$1.new" "$1" && echo "the kubelet has a new bootstrap token" && restart kubelet.service
}

restart() { # UNIT
    systemctl try-restart "$1" || echo "$1 could not be restarted" >&2
}

# The kubelet restarts a static pod whose manifest says something else.
restart_pod() { # MANIFEST
    local directory name mark
    [ -f "$1" ] || return 0
    directory="$(dirname "$1")" name="$(basename "$1")"
    mark="$(cat "$WORK"/*.pem | sha256sum | cut -c 1-16)"
    sed -e '/^  annotations: {bootstrapper\/authorities: /d' \
        -e "0,/^metadata:\$/s//metadata:\n  annotations: {bootstrapper\/authorities: \"$mark\"}/" "$1" \
        >"$directory/.$name" && chmod --reference="$1" "$directory/.$name" && mv "$directory/.$name" "$1"
}

# What is trusted now, by name; nothing when the server does not answer.
fetch_authorities() {
    local name
    ask /authorities >"$WORK/authorities" || return 1
    for name in cluster etcd front-proxy; do
        if ! jq --exit-status --join-output --arg name "$name" '.[$name]' "$WORK/authorities" >"$WORK/$name.pem" \
            || ! openssl x509 -in "$WORK/$name.pem" -noout; then
            rm -f "$WORK/$name.pem"
            return 1
        fi
    done
}

online=""
if fetch_authorities; then
    online=yes
else
    echo "the server does not answer: asked again in some hours" >&2
fi

changed=""
while [ -n "$online" ] && read -r kind name path; do
    if [ "$kind" = authority ] && ! cmp --silent "$WORK/$name.pem" "$path"; then
        if cp "$WORK/$name.pem" "$path.new" && chmod --reference="$path" "$path.new" \
            && chown --reference="$path" "$path.new" && sync "$path.new" && mv "$path.new" "$path"; then
            echo "the authorities in $path are new"
            changed=yes
        fi
    fi
done <"$LIST"

failed=""
while read -r kind leaf signer certificate key unit; do
    [ "$kind" = certificate ] || continue
    mend "$certificate" "$key" || { failed=yes; continue; }
    if [ -n "$online" ] && is_due "$signer" "$certificate"; then
        if renew "$leaf" "$certificate" "$key"; then
            [ -z "$unit" ] || restart "$unit"
        fi
    fi
    if [ $((NOW + 30 * 86400)) -ge "$(seconds enddate "$certificate")" ]; then
        echo "$certificate ends on $(openssl x509 -in "$certificate" -noout -enddate | cut -d = -f 2)" >&2
        failed=yes
    fi
done <"$LIST"

if [ -n "$changed" ]; then
    while read -r kind what; do
        case "$kind" in
        restart) restart "$what" ;;
        pod) restart_pod "$what" ;;
        esac
    done <"$LIST"
fi

bootstrap="$(sed -n 's/^token //p' "$LIST")" joined="$(sed -n 's/^joined //p' "$LIST")"
if [ -n "$online" ] && [ -n "$bootstrap" ] && [ -f "$bootstrap" ] && [ ! -e "$joined" ]; then
    read -r certificate key < <(sed -n 's/^certificate kube-proxy [^ ]* \([^ ]*\) \([^ ]*\).*/\1 \2/p' "$LIST")
    renew_token "$bootstrap" "$certificate" "$key"
fi

[ -z "$failed" ]
