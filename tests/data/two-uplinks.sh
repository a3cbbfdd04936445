#!/bin/sh
# Two providers: eth1 with the router 203.0.113.1, eth2 with 10.10.0.5. Connections from the LAN (eth0) are shared out
# between them and stay where they began; who comes in by one of them is answered by that one.

# What has a route of its own (the LAN, both links) takes it; only the default route is a choice.
ip rule add lookup main suppress_prefixlength 0 priority 100

# What belongs to an uplink leaves by it: by its address, or by the mark of its connection.
ip route add default via 203.0.113.1 dev eth1 table 101
ip route add default via 10.10.0.5 dev eth2 table 102
ip rule add from 203.0.113.2 lookup 101 priority 200
ip rule add from 10.10.0.1 lookup 102 priority 201
ip rule add fwmark 1 lookup 101 priority 300
ip rule add fwmark 2 lookup 102 priority 301

# All else is shared out, two to one, by addresses and ports.
ip route add default nexthop via 203.0.113.1 dev eth1 weight 2 nexthop via 10.10.0.5 dev eth2 weight 1
sysctl -w net.ipv4.fib_multipath_hash_policy=1

# A connection is marked by the uplink that it came in by or left by first, and each of its packets gets that mark.
iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark
iptables -t mangle -A PREROUTING -m mark ! --mark 0 -j ACCEPT
iptables -t mangle -A PREROUTING -i eth1 -j CONNMARK --set-mark 1
iptables -t mangle -A PREROUTING -i eth2 -j CONNMARK --set-mark 2
iptables -t mangle -A POSTROUTING -o eth1 -m connmark --mark 0 -j CONNMARK --set-mark 1
iptables -t mangle -A POSTROUTING -o eth2 -m connmark --mark 0 -j CONNMARK --set-mark 2

iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
iptables -t nat -A POSTROUTING -o eth2 -j MASQUERADE
iptables -t nat -A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.10:80
iptables -t nat -A PREROUTING -i eth2 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.10:80
