//! The programs that people use, through the masquerade and the port-forwards of a home gateway.

use smoltcp::wire::Ipv4Address;
use tests::{
    namespace::in_namespace,
    network::WAN_SIDE,
    peer::Peer,
    site::{Capture, Site},
};

/// An FTP server, which is a module of Debian's own Python.
const PYFTPDLIB: &str = "/usr/lib/python3/dist-packages/pyftpdlib/__main__.py";
const TOOLS: &[&str] = &["ip", "setpriv"];

/// The home gateway's script, whose server also serves HTTP at port 8080 of the outer address.
const GATEWAY: &str = include_str!("../data/home-gateway.sh");

#[test]
fn ping_passes_the_masquerade() {
    in_namespace(&[TOOLS, &["ping"]].concat(), || {
        let site = Site::with_rutter("linux-ping", GATEWAY);
        // For the last answer, ping waits as long as its interval, which a busy machine may need.
        for what in ["-c 5 -i 0.5 -s 1400 198.51.100.7", "-c 3 -i 0.5 192.168.1.1"] {
            let said = site.laptop.sh(&format!("ping {what}"));
            assert!(said.contains(" 0% packet loss"), "{said}");
        }
        site.finish();
    });
}

#[test]
fn traceroute_sees_the_router_and_then_the_end() {
    in_namespace(&[TOOLS, &["traceroute"]].concat(), || {
        let site = Site::with_rutter("linux-traceroute", GATEWAY);
        site.laptop.sh("ping -c 1 198.51.100.7");
        for kind in ["", "-I", "-T -p 80"] {
            let said = site.laptop.sh(&format!("traceroute -n -q 1 -m 4 {kind} 198.51.100.7"));
            let hops: Vec<_> =
                said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            assert_eq!(hops, ["192.168.1.1", "198.51.100.7"], "{said}");
        }
        site.finish();
    });
}

#[test]
fn curl_fetches_files_by_ftp_active_and_passive_and_by_tftp() {
    in_namespace(&[TOOLS, &["curl", "dnsmasq", PYFTPDLIB]].concat(), || {
        let config = format!("{GATEWAY}\nsysctl -w net.netfilter.nf_conntrack_helper=1");
        let site = Site::with_rutter("linux-ftp", &config);
        let folder = std::env::temp_dir().join(format!("rutter-ftp-{}", site.server.id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        let content: Vec<u8> = (0..300_000u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
        std::fs::write(folder.join("file"), &content).expect("room for a file");
        let ftp = format!("/usr/bin/python3 -u -m pyftpdlib -i 198.51.100.7 -p 21 -d {}", folder.display());
        let tftp = format!(
            "dnsmasq --no-daemon --port=0 --conf-file=/dev/null --user=root --listen-address=198.51.100.7 \
             --bind-interfaces --enable-tftp --tftp-root={}",
            folder.display()
        );
        let _ftp = site.internet.start(&ftp, "starting FTP server");
        let _tftp = site.internet.start(&tftp, "TFTP root is");
        for how in ["-P - --disable-eprt ftp:", "-P - ftp:", "--disable-epsv ftp:", "ftp:", "tftp:"] {
            let file = folder.join("fetched");
            site.laptop.sh(&format!("curl -sS -m 60 -o {} {how}//198.51.100.7/file", file.display()));
            assert!(std::fs::read(&file).is_ok_and(|fetched| fetched == content), "{how}: another content");
        }
        // An error would leave files in the folder for temporary ones.
        let _ = std::fs::remove_dir_all(&folder);
        site.finish();
    });
}

/// Gbit/s that arrived, as iperf3 says it.
fn received(json: &str) -> f64 {
    let run: serde_json::Value = serde_json::from_str(json).expect("iperf3 speaks JSON");
    run["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_else(|| panic!("{json}")) / 1e9
}

#[test]
fn iperf3_runs_up_and_down_through_the_masquerade() {
    in_namespace(&[TOOLS, &["iperf3", "tcpdump"]].concat(), || {
        let site = Site::with_rutter("linux-iperf3", GATEWAY);
        let _server = site.internet.start("iperf3 -s -B 198.51.100.7 --forceflush", "Server listening");
        for direction in ["", "-R"] {
            let json = site.laptop.sh(&format!("iperf3 -J -C reno -c 198.51.100.7 -n 50M {direction}"));
            assert!(received(&json) > 0.01, "{} Gbit/s {direction}", received(&json));
        }
        site.laptop.sh("iperf3 -J -C reno -c 198.51.100.7 -n 5M -P 4");
        site.laptop.sh("iperf3 -J -u -b 20M -l 1400 -t 1 -c 198.51.100.7");
        site.finish();
    });
}

#[test]
fn curl_fetches_files_through_the_masquerade_and_by_forwarded_ports() {
    in_namespace(&[TOOLS, &["curl", "python3", "tcpdump"]].concat(), || {
        let site = Site::with_rutter("linux-curl", GATEWAY);
        let folder = std::env::temp_dir().join(format!("rutter-www-{}", site.server.id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        let content: Vec<u8> = (0..3_000_000u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
        std::fs::write(folder.join("file"), &content).expect("room for a file");
        let serve = |port| format!("python3 -u -m http.server -d {} {port}", folder.display());
        let _inside = site.server.start(&serve(80), "Serving HTTP");
        let _outside = site.internet.start(&serve(80), "Serving HTTP");
        let capture = Capture::start(&site.internet, "wan0");
        let fetch = |peer: &Peer, url: &str| {
            let file = folder.join("fetched");
            peer.sh(&format!("curl -sS -f -m 60 -o {} {url}", file.display()));
            assert!(std::fs::read(&file).is_ok_and(|fetched| fetched == content), "{url}: another content");
        };
        fetch(&site.laptop, "http://198.51.100.7/file");
        fetch(&site.internet, "http://203.0.113.2:8080/file");
        fetch(&site.laptop, "http://203.0.113.2:8080/file");
        // An error would leave files in the folder for temporary ones.
        let _ = std::fs::remove_dir_all(&folder);
        let packets = capture.end();
        assert!(packets.len() > 50, "{} packets", packets.len());
        let ours = |address: Ipv4Address| matches!(address.octets(), [203, 0, 113, 1] | [198, 51, 100, _]);
        for packet in packets {
            assert!(packet.source == WAN_SIDE || ours(packet.source), "seen outside: {packet:?}");
            assert!(packet.destination == WAN_SIDE || ours(packet.destination), "seen outside: {packet:?}");
        }
        site.finish();
    });
}
