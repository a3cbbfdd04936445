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

/// `destination via gateway`
fn via(destination: &str, gateway: &str) -> NewRoute {
    NewRoute {
        destination: cidr(destination),
        action: RouteAction::Unicast { interface: None, gateway: Some(ip(gateway)), onlink: false },
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
    let on_eth1 =
        |gateway, onlink| RouteAction::Unicast { interface: Some(ETH1), gateway: Some(ip(gateway)), onlink };
    let wrong_link = NewRoute { action: on_eth1("192.168.1.2", false), ..via("10.6.0.0/16", "192.168.1.2") };
    assert_eq!(refused(&config, wrong_link), "Error: Nexthop has invalid gateway.");
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
        action: RouteAction::Unicast { interface: Some(ETH0), gateway: None, onlink: false },
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
    assert_eq!(refused(&config, source), "Error: Invalid prefsrc address.");
    let nowhere = RouteAction::Unicast { interface: None, gateway: None, onlink: false };
    let nowhere = NewRoute { action: nowhere, ..source };
    assert_eq!(refused(&config, nowhere), "RTNETLINK answers: No such device");
    let mut config = config;
    config.set_link(ETH0, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    let down = RouteAction::Unicast { interface: Some(ETH0), gateway: None, onlink: false };
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
    config.delete_route(cidr("10.21.0.0/24"), &RouteSelector::default()).unwrap();
    let with_metric = RouteSelector { metric: Some(5), ..RouteSelector::default() };
    config.delete_route(cidr("10.21.0.0/24"), &with_metric).unwrap();
    assert_eq!(seen(&config), ["10.0.2.5", "10.0.2.6"]);
    let error = config.delete_route(cidr("10.21.0.0/24"), &with_metric).unwrap_err();
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
