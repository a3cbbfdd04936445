//! What a STUN client finds out about the router: how it maps ports, whom it lets in, whether it turns packets around.
//! Read first: RFC 5780, 4 "Discovery Process"; the behaviour itself is RFC 4787, 4 to 6.

use qemu::setup::coturn;
use tests::{
    namespace::{in_namespace, skip},
    peer::{Peer, Running},
    site::Site,
};

const GATEWAY: &str = include_str!("../data/home-gateway.sh");
/// The rules have a say, too.
const FULL_CONE: &str = "sysctl -w net.netfilter.nf_nat_full_cone=1
                         iptables -A from-wan -p udp -m conntrack --ctstate DNAT -j ACCEPT";

#[test]
fn a_stun_client_finds_the_mapping_the_filtering_and_the_hairpin() {
    in_namespace(&["ip", "ping", "setpriv"], || {
        let (server, client) = match (coturn("turnserver"), coturn("turnutils_natdiscovery")) {
            (Ok(server), Ok(client)) => (server, client),
            (Err(error), _) | (_, Err(error)) => return skip("stun", &format!("{error:#}")),
        };
        let mut site = Site::with_rutter("linux-stun", GATEWAY);
        let folder = std::env::temp_dir().join(format!("rutter-stun-{}", site.internet.id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        let words = format!(
            "-n --stun-only --no-tls --no-dtls --no-cli -L 198.51.100.7 -L 198.51.100.8 --log-file stdout \
             --pidfile {0}/pid --userdb {0}/database",
            folder.display()
        );
        let turnserver = site.internet.start(&format!("{server} {words}"), "Total General servers");
        let ask = |laptop: &Peer, flag: &str| laptop.begin(&format!("{client} {flag} 198.51.100.7"));
        let verdict = |running: Running| {
            let said = running.end().expect("it finds out");
            let verdict = |line: &&str| line.starts_with("NAT with") || line.contains("hairpinning");
            said.lines().rfind(verdict).unwrap_or_else(|| panic!("{said}")).to_owned()
        };
        // What does not come is waited for, so they wait together.
        let [mapping, filtering, hairpin] = ["-m", "-f", "-H"].map(|flag| ask(&site.laptop, flag));
        assert_eq!(verdict(mapping), "NAT with Endpoint Independent Mapping!");
        assert_eq!(verdict(filtering), "NAT with Address and Port Dependent Filtering!");
        assert_eq!(verdict(hairpin), "Received a request (maybe a successful hairpinning)");
        site.lab().commands(FULL_CONE).expect("it can be set");
        assert_eq!(verdict(ask(&site.laptop, "-f")), "NAT with Endpoint Independent Filtering!");
        turnserver.end();
        // An error would leave a file or two in the folder for temporary ones.
        let _ = std::fs::remove_dir_all(&folder);
        site.finish();
    });
}
