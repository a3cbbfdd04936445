//! Sessions recorded from Linux, and what rutter decides otherwise.

use super::*;
use crate::{
    command::{iptables::LineSource, load, show_config::commands},
    config::PortInfo,
    router::{Limits, Router},
    test_support::random,
};
use alloc::string::ToString;
use smoltcp::wire::EthernetAddress;
use std::println;

/// Runs a command: its output, or its error.
fn run(line: &str, config: &mut Config) -> String {
    let words: Vec<String> = line.split_ascii_whitespace().skip(1).map(String::from).collect();
    let done = match words.first().map(String::as_str) {
        Some("list" | "save") => {
            let (options, rest) = Options::take(words[1..].iter().map(String::as_str)).unwrap();
            let view = match words[0].as_str() {
                "save" => View::Commands,
                _ if options.names => View::Names,
                _ if options.terse => View::Heads,
                _ => View::Whole,
            };
            let mut listing = SetListing::new(view, rest.first().copied(), &config.tables);
            let mut out = String::new();
            while listing.next_line(&config.tables, &mut out) {}
            return out;
        }
        _ => parse(&words, config).and_then(|action| match action {
            Action::Edit(change) => change(config).map(|_| String::new()),
            Action::Print(text) => Ok(text),
            _ => panic!("{line}"),
        }),
    };
    done.unwrap_or_else(|failure| failure.text)
}

fn config() -> Config {
    Config::new(&[PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, 1]), 1500)])
}

/// What was recorded: each command after `$ `, then the first line that it printed. What Linux counts in memory and
/// salts its hashes with is left out, and elements are in order.
const SESSION: &str = include_str!("session.txt");

#[test]
fn the_session_goes_as_on_linux() {
    let (mut config, mut differences) = (config(), 0);
    for step in SESSION.split("\n$ ").skip(1) {
        let (line, expected) = step.split_once('\n').unwrap_or((step, ""));
        let printed = run(line, &mut config);
        let printed: Vec<&str> = printed.lines().filter(|line| !line.starts_with("Size in memory")).collect();
        if printed != expected.lines().collect::<Vec<_>>() {
            differences += 1;
            println!("$ {line}\n--- Linux\n{expected}\n--- rutter\n{}", printed.join("\n"));
        }
    }
    assert_eq!(differences, 0);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut config = config();
    run("ipset create h hash:ip", &mut config);
    run("ipset create p hash:ip,port", &mut config);
    for (line, reason) in [
        ("ipset create x hash:ip timeout 5", "timeout is not supported"),
        ("ipset create x hash:ip counters", "counters is not supported"),
        ("ipset create x hash:ip family inet6", "family inet6 is not supported"),
        ("ipset create x bitmap:port range 1-2", "Kernel error received: set type not supported"),
        ("ipset create x,y hash:ip", "Syntax error: setname 'x,y' is not allowed"),
        ("ipset add p 10.0.0.1,sctp:5", "sctp is not supported"),
        ("ipset -o xml list", "-o is not supported"),
    ] {
        let before = config.clone();
        assert_eq!(run(line, &mut config), format!("{NAME}: {reason}"), "{line}");
        assert_eq!(config, before);
    }
}

#[test]
fn a_range_is_taken_whole_or_not_at_all() {
    let mut config = config();
    run("ipset create h hash:ip maxelem 4", &mut config);
    run("ipset add h 10.0.0.2", &mut config);
    assert!(run("ipset add h 10.0.0.0/30", &mut config).ends_with("it's already added"));
    assert!(run("ipset -exist add h 10.0.0.0/29", &mut config).ends_with("cannot add more elements"));
    assert!(run("ipset add h 0.0.0.1-255.255.255.255", &mut config).ends_with("cannot add more elements"));
    assert_eq!(config.tables.sets.get("h").unwrap().len(), 1);
    assert_eq!(run("ipset -exist add h 10.0.0.0/30", &mut config), "");
    assert!(run("ipset del h 10.0.0.0-10.0.0.7", &mut config).ends_with("it's not added"));
    assert_eq!(run("ipset -exist del h 10.0.0.1-255.0.0.0", &mut config), "");
    assert!(run("ipset save h", &mut config).ends_with("maxelem 4\nadd h 10.0.0.0\n"));
}

#[test]
fn all_sets_together_are_bounded() {
    let mut config = config();
    for number in 0..4 {
        run(&format!("ipset create h{number} hash:ip maxelem 1000000"), &mut config);
        assert_eq!(run(&format!("ipset add h{number} 10.0.0.0/16"), &mut config), "");
    }
    assert!(run("ipset add h0 11.0.0.1", &mut config).ends_with("Hash is full, cannot add more elements"));
    for number in 4..Sets::MAX {
        assert_eq!(run(&format!("ipset create h{number} hash:net"), &mut config), "");
    }
    assert!(run("ipset create more hash:ip", &mut config).contains("maximal number of sets reached"));
}

#[test]
fn a_text_is_restored_whole_or_not_at_all() {
    let mut tables = Tables::default();
    let refused =
        restore("create r hash:ip\nadd r 1.2.3.4\nadd r 1.2.3.4\n", Options::default(), &mut tables);
    let text = "ipset v7.17: Error in line 3: Element cannot be added to the set: it's already added";
    assert_eq!(refused.unwrap_err().text, text);
    assert!(tables.sets.is_empty());
    let options = Options { exist: true, ..Options::default() };
    restore("create r hash:ip\nadd r 1.2.3.4\nadd r 1.2.3.4\nCOMMIT\n", options, &mut tables).unwrap();
    assert_eq!(tables.sets.get("r").unwrap().len(), 1);
}

#[test]
fn config_show_makes_the_sets_before_the_rules_that_ask_them() {
    let router =
        || Router::new(&[PortInfo::new(EthernetAddress([2; 6]), 1500)], &Limits::default(), &mut random());
    let mut first = router();
    let text = "ipset create lan hash:net maxelem 100\nipset add lan 10.0.0.0/8\nipset add lan 10.1.0.0/16 nomatch\n\
                ipset create web hash:ip,port\nipset add web 10.0.0.1,80-81\nipset add web 10.0.0.1,icmp:echo-request\n\
                iptables -A FORWARD -m set ! --match-set lan src -m set --match-set web dst,dst -j DROP\n";
    load(&mut first, text).unwrap();
    let shown = commands(first.config());
    let mut second = router();
    load(&mut second, &shown).unwrap();
    assert_eq!(second.config(), first.config());
    assert!(shown.contains("add web 10.0.0.1,tcp:81\n") && shown.contains("add lan 10.1.0.0/16 nomatch\n"));
    let refused = load(&mut second, "ipset destroy").unwrap_err().message;
    assert_eq!(
        refused,
        "ipset v7.17: Set cannot be destroyed: it is in use by a kernel component".to_string()
    );
}
