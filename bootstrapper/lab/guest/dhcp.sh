#!/bin/sh
# What udhcpc calls: the address, the route, the name servers, as a system's own client would set them.
case "$1" in
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    for router in $router; do ip route add default via "$router" dev "$interface" 2>/dev/null && break; done
    : >/etc/resolv.conf
    [ -z "$domain" ] || echo "search $domain" >>/etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
    echo "lab: address $ip/${mask:-24} from $serverid${hostname:+, host name $hostname}"
    ;;
esac
