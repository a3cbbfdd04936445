#!/bin/sh
# A home gateway: LAN on eth0, WAN on eth1. Runs as it is on Linux (as root) and on rutter.
LAN=eth0
WAN=eth1
LAN_NET=192.168.1.0/24
SERVER=192.168.1.10    # web server and console host on the LAN

# Nothing is forwarded until the rules stand.
sysctl -q -w net.ipv4.ip_forward=0
sysctl -q -w net.ipv4.conf.$WAN.rp_filter=1

# Addresses and routes.
ip addr flush dev $LAN
ip addr add 192.168.1.1/24 broadcast + dev $LAN
ip addr add 203.0.113.2/24 dev $WAN
ip link set $LAN up
ip link set dev $WAN up
ip route replace default via 203.0.113.1 dev $WAN
ip route add blackhole 10.0.0.0/8 && ip route add unreachable 172.16.0.0/12

# Start from nothing; what is not allowed below is dropped.
iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X
iptables -P INPUT DROP; iptables -P FORWARD DROP; iptables -P OUTPUT ACCEPT

# The router itself: answers, the LAN, ping from outside within reason.
iptables -A INPUT -m conntrack --ctstate INVALID -j DROP
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -i $LAN -s $LAN_NET -j ACCEPT
iptables -A INPUT -i $WAN -p icmp --icmp-type echo-request -m limit --limit 5/second --limit-burst 10 -j ACCEPT
iptables -A INPUT -i $WAN -p tcp --dport 113 -j REJECT --reject-with tcp-reset

# Through the router: a chain of its own for what comes from outside.
iptables -N from-wan
iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i $LAN -o $WAN -s $LAN_NET -p tcp -m multiport --dports 25,135:139,445 -m comment --comment "no mail, no shares" -j REJECT
iptables -A FORWARD -i $LAN -s $LAN_NET -j ACCEPT
iptables -A FORWARD -i $WAN -o $LAN -j from-wan
iptables -A from-wan -d $SERVER -p tcp --syn -m multiport --dports 22,80 -m conntrack --ctstate DNAT -j ACCEPT
iptables -A from-wan ! -s 203.0.113.0/24 -p udp --dport 51820 -j RETURN

# The LAN shares the outer address; two port-forwards lead in, also from the LAN itself (hairpin).
iptables -t nat -A POSTROUTING -s $LAN_NET -o $WAN -j MASQUERADE
iptables -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 8080 -j DNAT --to-destination $SERVER:80
iptables -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 2222 -j DNAT --to-destination $SERVER:22
iptables -t nat -A POSTROUTING -s $LAN_NET -d $SERVER -p tcp -m multiport --dports 22,80 -j MASQUERADE

echo 1 > /proc/sys/net/ipv4/ip_forward
