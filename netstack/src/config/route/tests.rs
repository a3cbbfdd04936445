//! Routes that are made and refused as on Linux.

use super::*;
use crate::config::{
    address::NewAddress,
    interface::LinkChange,
    tests::{cidr, config, ip, routes},
};
use alloc::{string::String, vec::Vec};

const ETH0: InterfaceId = InterfaceId(1);
const ETH1: InterfaceId = InterfaceId(2);

/// eth0 is 192.168.1.1/24, eth1 is 10.0.2.15/24, both are up.
fn gateway() -> Config {
    let mut config = config();
    config.add_address(ETH0, &NewAddress::plain(cidr("192.168.1.1/24"))).unwrap();
    config.add_address(ETH1, &NewAddress::plain(cidr("10.0.2.15/24"))).unwrap();
    config
}

/// One way.
fn hop(interface: Option<InterfaceId>, gateway: Option<&str>, onlink: bool) -> NewHop {
    NewHop { interface, gateway: gateway.map(ip), onlink, weight: 1 }
}

/// `destination via gateway`
fn via(destination: &str, gateway: &str) -> NewRoute {
    NewRoute {
        table: TableId::MAIN,
        destination: cidr(destination),
        action: RouteAction::Unicast(hop(None, Some(gateway), false)),
        metric: 0,
        source: None,
        scope: None,
        protocol: RouteProtocol::Boot,
        metrics: RouteMetrics::default(),
    }
}

fn refused(config: &Config, new: NewRoute) -> String {
    let mut config = config.clone();
    let before = config.clone();
    let error = config.add_route(&new, RouteMode::Add).unwrap_err();
    assert_eq!(config, before, "a refused route leaves no trace");
    error.0
}

#[test]
fn a_gateway_must_be_a_station_on_a_link() {
    let config = gateway();
    for gateway in ["172.16.0.1", "10.0.2.255", "224.0.0.1", "127.0.0.1", "255.255.255.255"] {
        let refusal = refused(&config, via("0.0.0.0/0", gateway));
        assert_eq!(refusal, "Error: Nexthop has invalid gateway.", "{gateway}");
    }
    let on_eth1 = |gateway, onlink| RouteAction::Unicast(hop(Some(ETH1), Some(gateway), onlink));
    let wrong_link = NewRoute { action: on_eth1("192.168.1.2", false), ..via("10.6.0.0/16", "192.168.1.2") };
    assert_eq!(refused(&config, wrong_link.clone()), "Error: Nexthop has invalid gateway.");
    let mut config = config;
    let onlink = NewRoute { action: on_eth1("172.16.0.1", true), ..wrong_link };
    config.add_route(&onlink, RouteMode::Add).unwrap();
    assert!(routes(&config).contains(&String::from("10.6.0.0/16 via 172.16.0.1 dev eth1")));
}

#[test]
fn a_gateway_behind_a_gateway_is_refused_and_a_host_route_makes_it_reachable() {
    let mut config = gateway();
    config.add_route(&via("172.16.0.0/24", "10.0.2.2"), RouteMode::Add).unwrap();
    assert_eq!(refused(&config, via("10.5.0.0/16", "172.16.0.1")), "Error: Nexthop has invalid gateway.");
    let host = NewRoute {
        action: RouteAction::Unicast(hop(Some(ETH0), None, false)),
        ..via("172.16.0.1/32", "0.0.0.0")
    };
    config.add_route(&host, RouteMode::Add).unwrap();
    config.add_route(&via("10.5.0.0/16", "172.16.0.1"), RouteMode::Add).unwrap();
    assert!(routes(&config).contains(&String::from("10.5.0.0/16 via 172.16.0.1 dev eth0")));
}

#[test]
fn other_refusals() {
    let config = gateway();
    assert_eq!(
        refused(&config, via("10.6.0.1/16", "10.0.2.2")),
        "Error: Invalid prefix for given prefix length."
    );
    let source = NewRoute { source: Some(ip("1.2.3.4")), ..via("10.6.0.0/16", "10.0.2.2") };
    assert_eq!(refused(&config, source.clone()), "Error: Invalid prefsrc address.");
    let nowhere = RouteAction::Unicast(hop(None, None, false));
    let nowhere = NewRoute { action: nowhere, ..source.clone() };
    assert_eq!(refused(&config, nowhere), "RTNETLINK answers: No such device");
    let mut config = config;
    config.set_link(ETH0, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    let down = RouteAction::Unicast(hop(Some(ETH0), None, false));
    assert_eq!(refused(&config, NewRoute { action: down, ..source }), "Error: Device for nexthop is not up.");
}

#[test]
fn add_replace_append_and_prepend_as_on_linux() {
    let mut config = gateway();
    let mut run = |gateway, metric, mode| {
        let new = NewRoute { metric, ..via("10.21.0.0/24", gateway) };
        config.add_route(&new, mode).map(|_| ()).map_err(|error| error.0)
    };
    let exists = Err(String::from("RTNETLINK answers: File exists"));
    let missing = Err(String::from("RTNETLINK answers: No such file or directory"));
    assert_eq!(run("10.0.2.5", 0, RouteMode::Change), missing);
    assert_eq!(run("10.0.2.3", 0, RouteMode::Replace), Ok(()));
    assert_eq!(run("10.0.2.4", 5, RouteMode::Replace), Ok(()));
    assert_eq!(run("10.0.2.5", 0, RouteMode::Change), Ok(()));
    assert_eq!(run("10.0.2.6", 0, RouteMode::Append), Ok(()));
    assert_eq!(run("10.0.2.6", 0, RouteMode::Append), exists);
    assert_eq!(run("10.0.2.7", 0, RouteMode::Prepend), Ok(()));
    assert_eq!(run("10.0.2.8", 0, RouteMode::Add), exists);
    assert_eq!(run("10.0.2.8", 0, RouteMode::Replace), Ok(()));
    assert_eq!(run("10.0.2.6", 0, RouteMode::Replace), exists);
    let seen = |config: &Config| -> Vec<String> {
        config.routes.iter().filter_map(Route::gateway).map(|gateway| alloc::format!("{gateway}")).collect()
    };
    assert_eq!(seen(&config), ["10.0.2.8", "10.0.2.5", "10.0.2.6", "10.0.2.4"]);
    config.delete_route(TableId::MAIN, cidr("10.21.0.0/24"), &RouteSelector::default()).unwrap();
    let with_metric = RouteSelector { metric: Some(5), ..RouteSelector::default() };
    config.delete_route(TableId::MAIN, cidr("10.21.0.0/24"), &with_metric).unwrap();
    assert_eq!(seen(&config), ["10.0.2.5", "10.0.2.6"]);
    let error = config.delete_route(TableId::MAIN, cidr("10.21.0.0/24"), &with_metric).unwrap_err();
    assert_eq!(error.0, "RTNETLINK answers: No such process");
}

#[test]
fn going_down_takes_the_routes_and_coming_up_brings_back_those_of_the_addresses() {
    let mut config = gateway();
    config.add_route(&via("0.0.0.0/0", "10.0.2.2"), RouteMode::Add).unwrap();
    let set = |up| LinkChange { up: Some(up), ..LinkChange::default() };
    config.set_link(ETH1, &set(false)).unwrap();
    assert_eq!(routes(&config), ["192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.1"]);
    config.set_link(ETH1, &set(true)).unwrap();
    assert_eq!(
        routes(&config),
        [
            "10.0.2.0/24 dev eth1 proto kernel scope link src 10.0.2.15",
            "192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.1"
        ]
    );
}

#[test]
fn a_route_goes_with_its_source_and_with_the_last_address_of_its_interface() {
    let mut config = gateway();
    config.add_address(ETH1, &NewAddress::plain(cidr("10.0.2.16/24"))).unwrap();
    let with_source = NewRoute { source: Some(ip("10.0.2.16")), ..via("10.7.0.0/16", "10.0.2.2") };
    config.add_route(&with_source, RouteMode::Add).unwrap();
    config.add_route(&via("10.8.0.0/16", "10.0.2.2"), RouteMode::Add).unwrap();
    config.delete_address(ETH1, ip("10.0.2.16"), Some(24)).unwrap();
    assert!(config.routes.iter().all(|route| route.destination != cidr("10.7.0.0/16")));
    assert!(config.routes.iter().any(|route| route.destination == cidr("10.8.0.0/16")));
    config.delete_address(ETH1, ip("10.0.2.15"), Some(24)).unwrap();
    assert!(config.routes.iter().all(|route| route.interface() != Some(ETH1)));
}

/// The routes of a table, by their gateways.
fn gateways(config: &Config, table: TableId) -> Vec<Ipv4Address> {
    config.routes_of(table).into_iter().flat_map(|routes| routes.iter().flat_map(Route::gateways)).collect()
}

#[test]
fn a_table_is_there_as_long_as_it_has_a_route() {
    let mut config = gateway();
    let table = TableId(100);
    let new = NewRoute { table, ..via("0.0.0.0/0", "10.0.2.2") };
    let none = RouteSelector::default();
    let error = config.delete_route(table, cidr("0.0.0.0/0"), &none).unwrap_err();
    assert_eq!(error.0, "Error: FIB table does not exist.");
    config.add_route(&new, RouteMode::Add).unwrap();
    assert_eq!(refused(&config, new.clone()), "RTNETLINK answers: File exists");
    assert_eq!(gateways(&config, table), [ip("10.0.2.2")]);
    assert!(gateways(&config, TableId::MAIN).is_empty(), "and main is as it was");
    config.delete_route(table, cidr("0.0.0.0/0"), &none).unwrap();
    assert_eq!(config, gateway());
    config.add_route(&new, RouteMode::Add).unwrap();
    config.set_link(ETH1, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    assert!(gateways(&config, table).is_empty(), "its routes go with their interface, too");
}

#[test]
fn a_gateway_may_be_on_a_link_of_its_own_table() {
    let mut config = gateway();
    let table = TableId(100);
    let link = RouteAction::Unicast(hop(Some(ETH0), None, false));
    let host = NewRoute { table, action: link, ..via("172.16.0.1/32", "0.0.0.0") };
    config.add_route(&host, RouteMode::Add).unwrap();
    assert_eq!(refused(&config, via("10.5.0.0/16", "172.16.0.1")), "Error: Nexthop has invalid gateway.");
    config.add_route(&NewRoute { table, ..via("10.5.0.0/16", "172.16.0.1") }, RouteMode::Add).unwrap();
    config.add_route(&NewRoute { table, ..via("10.6.0.0/16", "10.0.2.2") }, RouteMode::Add).unwrap();
}

#[test]
fn a_route_with_several_ways_stays_as_long_as_one_of_them_is_left() {
    let mut config = gateway();
    let hops = [hop(Some(ETH0), Some("192.168.1.2"), false), hop(Some(ETH1), Some("10.0.2.2"), false)];
    let new = NewRoute { action: RouteAction::Multipath(hops.into()), ..via("0.0.0.0/0", "0.0.0.0") };
    config.add_route(&new, RouteMode::Add).unwrap();
    let set = |up| LinkChange { up: Some(up), ..LinkChange::default() };
    let all = [ip("192.168.1.2"), ip("10.0.2.2")];
    config.set_link(ETH1, &set(false)).unwrap();
    assert_eq!(gateways(&config, TableId::MAIN), all);
    config.set_link(ETH1, &set(true)).unwrap();
    config.delete_address(ETH0, ip("192.168.1.1"), None).unwrap();
    assert_eq!(gateways(&config, TableId::MAIN), all);
    config.set_link(ETH1, &set(false)).unwrap();
    assert!(gateways(&config, TableId::MAIN).is_empty());
    assert_eq!(refused(&config, new), "Error: Nexthop has invalid gateway.");
}

#[test]
fn several_ways_count_as_several_routes() {
    let mut config = gateway();
    config.routes = Routes::with_limit(5);
    let hops = [hop(None, Some("192.168.1.2"), true), hop(None, Some("10.0.2.2"), true)];
    let hops = hops.map(|way| NewHop { interface: Some(ETH0), ..way });
    let new = |network| NewRoute { action: RouteAction::Multipath(hops.into()), ..via(network, "0.0.0.0") };
    config.add_route(&new("10.1.0.0/16"), RouteMode::Add).unwrap();
    config.add_route(&NewRoute { table: TableId(7), ..new("10.2.0.0/16") }, RouteMode::Add).unwrap();
    assert_eq!(refused(&config, new("10.3.0.0/16")), "RTNETLINK answers: No buffer space available");
}
