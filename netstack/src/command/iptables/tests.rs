//! Sessions recorded from the tools of Linux, and what rutter decides otherwise.

use super::{
    Failure, LineSource, Listing, Request, Restore, Save, VERSION, Verb, request::View, restore::split,
};
use crate::command::tests::Terminal;
use crate::config::rules::{PortRange, Rule, Table, TableName, Tables};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use std::println;

/// Runs a command line as a console would: its output, or its error.
fn run(line: &str, tables: &mut Tables) -> Result<String, Failure> {
    let words = split(line).unwrap();
    let (command, words) = words.split_first().unwrap();
    let mut out = String::new();
    match command.as_str() {
        "iptables" => {
            let request = Request::parse(words, tables)?;
            if let Verb::List(view) = &request.verb {
                let mut listing = Listing::new(request.table, view.clone(), tables)?;
                while listing.next_line(tables, &mut out) {}
            }
            request.apply(tables)?;
        }
        "iptables-save" => {
            let mut save = Save::parse(words)?;
            while save.next_line(tables, &mut out) {}
        }
        _ => panic!("{line}"),
    }
    Ok(out)
}

/// A session as it was recorded: each command after `$ `, then all that it printed.
fn replay(transcript: &str) {
    let mut tables = Tables::default();
    let transcript = transcript.replace("v1.8.9 (nf_tables)", VERSION);
    let mut differences = 0;
    for session in transcript.split("\n$ ").skip(1) {
        let (line, expected) = session.split_once('\n').unwrap_or((session, ""));
        let printed = match run(line, &mut tables) {
            Ok(out) => out,
            Err(failure) => failure.text,
        };
        if printed.trim_end_matches('\n') != expected.trim_end_matches('\n') {
            differences += 1;
            println!("$ {line}\n--- Linux\n{expected}\n--- rutter\n{printed}");
        }
    }
    assert_eq!(differences, 0);
}

/// What `line` is refused with.
fn refused(line: &str, tables: &mut Tables) -> String {
    let before = tables.clone();
    let failure = run(line, tables).expect_err(line);
    assert_eq!(*tables, before, "a refused command leaves no trace: {line}");
    failure.text
}

/// Tables after these commands.
fn tables(lines: &[&str]) -> Tables {
    let mut tables = Tables::default();
    for line in lines {
        run(line, &mut tables).expect(line);
    }
    tables
}

fn saved(tables: &Tables) -> String {
    let (mut save, mut out) = (Save::all(true), String::new());
    while save.next_line(tables, &mut out) {}
    out
}

#[test]
fn filter_rules_print_as_on_linux() {
    replay(include_str!("transcripts/filter.txt"));
}

#[test]
fn nat_rules_print_as_on_linux() {
    replay(include_str!("transcripts/nat.txt"));
}

#[test]
fn mangle_prints_as_on_linux() {
    replay(include_str!("transcripts/mangle.txt"));
}

#[test]
fn marks_print_as_on_linux() {
    replay(include_str!("transcripts/marks.txt"));
}

#[test]
fn rules_about_the_header_print_as_on_linux() {
    replay(include_str!("transcripts/header.txt"));
}

#[test]
fn statistic_prints_as_on_linux() {
    replay(include_str!("transcripts/statistic.txt"));
}

#[test]
fn raw_prints_as_on_linux() {
    replay(include_str!("transcripts/raw.txt"));
}

#[test]
fn matches_that_remember_print_as_on_linux() {
    replay(include_str!("transcripts/limits.txt"));
}

#[test]
fn there_is_memory_for_eight_names_of_each_kind() {
    let mut tables = Tables::default();
    for name in 0..8 {
        for rule in ["hashlimit --hashlimit-upto 5/s --hashlimit-name", "recent --set --name"] {
            run(&format!("iptables -A INPUT -m {rule} {name}"), &mut tables).unwrap();
        }
    }
    run("iptables -A FORWARD -m recent --rcheck --name 7", &mut tables).unwrap();
    let refusal = refused("iptables -A FORWARD -m recent --set --name 8", &mut tables);
    assert!(refusal.ends_with("recent: too many names (there is memory for 8)."), "{refusal}");
    let refusal =
        refused("iptables -A INPUT -m hashlimit --hashlimit-above 1/s --hashlimit-name 8", &mut tables);
    assert!(refusal.ends_with("hashlimit: too many names (there is memory for 8)."), "{refusal}");
}

#[test]
fn what_limiting_matches_cannot_do_is_refused_in_words() {
    let mut tables = Tables::default();
    for (rule, reason) in [
        ("recent --set --seconds 5", "option \"--set\" cannot be used together with \"--seconds\"."),
        ("recent --remove --hitcount 5", "option \"--remove\" cannot be used together with \"--hitcount\"."),
        ("recent --rcheck --hitcount 256", "bad value for option \"--hitcount\", or out of range (0-255)."),
        ("recent --set --name a/b", "bad value for option \"--name\": \"a/b\""),
        ("recent --set --mask 24", "bad value for option \"--mask\": \"24\" is no IPv4 address"),
        (
            "hashlimit --hashlimit-upto 5kb/s --hashlimit-name x",
            "rates in bytes are not supported: \"5kb/s\"",
        ),
        (
            "connlimit --connlimit-above 1 --connlimit-mask 33",
            "bad value for option \"--connlimit-mask\", neither a valid network mask nor valid CIDR (0-32).",
        ),
    ] {
        let refusal = refused(&format!("iptables -A INPUT -m {rule}"), &mut tables);
        assert!(refusal.ends_with(reason), "{rule}: {refusal}");
    }
}

#[test]
fn counters_print_as_on_linux() {
    replay(include_str!("transcripts/counters.txt"));
}

#[test]
fn errors_are_worded_as_on_linux() {
    replay(include_str!("transcripts/errors.txt"));
}

#[test]
fn a_loop_or_a_chain_too_deep_is_refused() {
    let mut tables =
        tables(&["iptables -N A", "iptables -N B", "iptables -A A -j B", "iptables -A INPUT -j A"]);
    assert_eq!(refused("iptables -A B -j A", &mut tables), "iptables: Too many links.");
    assert_eq!(refused("iptables -A B -g B", &mut tables), "iptables: Too many links.");
    for number in 1..=20 {
        run(&format!("iptables -N C{number}"), &mut tables).unwrap();
    }
    for number in (6..20).rev() {
        run(&format!("iptables -A C{number} -j C{}", number + 1), &mut tables).unwrap();
    }
    run("iptables -A C5 -j C6", &mut tables).unwrap();
    assert_eq!(refused("iptables -A INPUT -j C5", &mut tables), "iptables: Too many links.");
    run("iptables -A INPUT -j C6", &mut tables).unwrap();
}

#[test]
fn targets_and_matches_keep_to_their_tables_and_hooks() {
    let mut tables = tables(&["iptables -t nat -N U", "iptables -N M"]);
    for (line, reason) in [
        ("iptables -A INPUT -j MASQUERADE", "MASQUERADE target: only valid in nat table, not filter"),
        ("iptables -t nat -A INPUT -j REJECT", "REJECT target: only valid in filter table, not nat"),
        (
            "iptables -t nat -A PREROUTING -j MASQUERADE",
            "MASQUERADE target: used from hooks PREROUTING, but only usable from POSTROUTING",
        ),
        (
            "iptables -t nat -A POSTROUTING -j DNAT --to 1.1.1.1",
            "DNAT target: used from hooks POSTROUTING, but only usable from PREROUTING/OUTPUT",
        ),
        (
            "iptables -A OUTPUT -m mac --mac-source 0:1:2:3:4:5",
            "mac match: used from hooks OUTPUT, but only usable from PREROUTING/INPUT/FORWARD",
        ),
        (
            "iptables -t nat -A PREROUTING -j DROP",
            "The \"nat\" table is not intended for filtering, the use of DROP is therefore inhibited.",
        ),
        (
            "iptables -t nat -P PREROUTING DROP",
            "The \"nat\" table is not intended for filtering, the use of DROP is therefore inhibited.",
        ),
        ("iptables -A INPUT -m tcp --dport 80", "tcp match: only valid for protocol 6"),
        ("iptables -A INPUT ! -p tcp --dport 80", "tcp match: only valid for protocol 6"),
        ("iptables -A INPUT -m multiport --dports 80", "multiport needs `-p tcp' or `-p udp'"),
        (
            "iptables -A INPUT -p udp -j REJECT --reject-with tcp-reset",
            "REJECT target: tcp-reset invalid for non-tcp",
        ),
        (
            "iptables -t nat -A PREROUTING -j REDIRECT --to-ports 80",
            "Need TCP, UDP or ICMP with port specification",
        ),
        ("iptables -A FORWARD -p udp -j TCPMSS --set-mss 1400", "TCPMSS target: only valid for protocol 6"),
        (
            "iptables -A FORWARD -p tcp -j TCPMSS --set-mss 1400",
            "TCPMSS target: only works on TCP SYN packets",
        ),
        (
            "iptables -A FORWARD -p tcp ! --syn -j TCPMSS --set-mss 1400",
            "TCPMSS target: only works on TCP SYN packets",
        ),
        (
            "iptables -t mangle -A PREROUTING -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu",
            "TCPMSS target: used from hooks PREROUTING, but only usable from FORWARD/OUTPUT/POSTROUTING",
        ),
        ("iptables -t mangle -A INPUT -j REJECT", "REJECT target: only valid in filter table, not mangle"),
        ("iptables -A FORWARD -j NOTRACK", "NOTRACK target: only valid in raw table, not filter"),
        (
            "iptables -t mangle -A PREROUTING -j CT --notrack",
            "CT target: only valid in raw table, not mangle",
        ),
        ("iptables -A FORWARD -j TTL --ttl-set 64", "TTL target: only valid in mangle table, not filter"),
        ("iptables -A FORWARD -j DSCP --set-dscp 5", "DSCP target: only valid in mangle table, not filter"),
        ("iptables -t nat -A OUTPUT -j TOS --set-tos 1", "TOS target: only valid in mangle table, not nat"),
        (
            "iptables -t raw -A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-out",
            "addrtype match: used from hooks PREROUTING, but only usable from FORWARD/OUTPUT/POSTROUTING",
        ),
        (
            "iptables -t mangle -A POSTROUTING -m addrtype --dst-type LOCAL --limit-iface-in",
            "addrtype match: used from hooks POSTROUTING, but only usable from PREROUTING/INPUT/FORWARD",
        ),
        ("iptables -P INPUT REJECT", "Bad policy name `REJECT'."),
    ] {
        assert_eq!(refused(line, &mut tables), format!("iptables: {reason}"), "{line}");
    }
}

#[test]
fn a_user_chain_is_judged_by_the_hooks_that_reach_it() {
    let mut tables = tables(&[
        "iptables -t nat -N OUTER",
        "iptables -t nat -N INNER",
        "iptables -t nat -A INNER -j MASQUERADE",
        "iptables -t nat -A OUTER -j INNER",
    ]);
    let reason = "MASQUERADE target: used from hooks PREROUTING, but only usable from POSTROUTING";
    assert_eq!(refused("iptables -t nat -A PREROUTING -j OUTER", &mut tables), format!("iptables: {reason}"));
    run("iptables -t nat -A POSTROUTING -j OUTER", &mut tables).unwrap();
    let reason = "DNAT target: used from hooks POSTROUTING, but only usable from PREROUTING/OUTPUT";
    assert_eq!(
        refused("iptables -t nat -A INNER -j DNAT --to 1.1.1.1", &mut tables),
        format!("iptables: {reason}")
    );
}

#[test]
fn targets_still_lead_to_their_chains_after_others_are_deleted() {
    let mut tables = tables(&[
        "iptables -N A",
        "iptables -N B",
        "iptables -N C",
        "iptables -A INPUT -j C",
        "iptables -A FORWARD -g A",
        "iptables -X B",
    ]);
    assert_eq!(run("iptables -S INPUT 1", &mut tables).unwrap(), "-A INPUT -j C\n");
    assert_eq!(run("iptables -S FORWARD 1", &mut tables).unwrap(), "-A FORWARD -g A\n");
    assert_eq!(refused("iptables -X C", &mut tables), "iptables: Too many links.");
    run("iptables -F INPUT", &mut tables).unwrap();
    run("iptables -A C -j ACCEPT", &mut tables).unwrap();
    assert_eq!(refused("iptables -X C", &mut tables), "iptables: Directory not empty.");
    assert_eq!(refused("iptables -X", &mut tables), "iptables: Too many links.", "A is in use");
    run("iptables -F", &mut tables).unwrap();
    run("iptables -X", &mut tables).unwrap();
    assert_eq!(tables, Tables::default());
}

#[test]
fn deleting_several_rules_deletes_all_or_none() {
    let mut tables =
        tables(&["iptables -A INPUT -s 1.1.1.1,2.2.2.2 -j DROP", "iptables -A INPUT -s 1.1.1.1 -j DROP"]);
    let missing = "iptables: Bad rule (does a matching rule exist in that chain?).";
    assert_eq!(refused("iptables -D INPUT -s 2.2.2.2,3.3.3.3 -j DROP", &mut tables), missing);
    assert_eq!(refused("iptables -D INPUT -s 2.2.2.2,2.2.2.2 -j DROP", &mut tables), missing);
    run("iptables -D INPUT -s 2.2.2.2,1.1.1.1 -j DROP", &mut tables).unwrap();
    assert_eq!(
        run("iptables -S INPUT", &mut tables).unwrap(),
        "-P INPUT ACCEPT\n-A INPUT -s 1.1.1.1/32 -j DROP\n"
    );
}

#[test]
fn what_rutter_does_not_know_is_refused_by_name() {
    let mut tables = Tables::default();
    for (line, reason) in [
        ("iptables -A INPUT -m geoip --src-cc AQ", "Couldn't load match `geoip':No such file or directory"),
        ("iptables -A INPUT -j CLASSIFY --set-class 1:2", "unknown option \"--set-class\""),
        ("iptables -A INPUT -j CLASSIFY", "Chain 'CLASSIFY' does not exist"),
        ("iptables -A INPUT -p tcp --tcp-option 2", "unknown option \"--tcp-option\""),
        ("iptables -A INPUT -m conntrack --ctstatus ASSURED", "unknown option \"--ctstatus\""),
        ("iptables -t security -L", "table 'security' does not exist"),
        (
            "iptables -A INPUT -m time --timestart 08:00",
            "time match: rutter has no clock that knows the time of day",
        ),
        (
            "iptables -A FORWARD -m physdev --physdev-in eth0",
            "physdev match: rutter has no bridges whose ports could be asked for",
        ),
        (
            "iptables -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp",
            "CT: option \"--helper\" is not supported: net.netfilter.nf_conntrack_helper switches on all helpers",
        ),
        ("iptables -t raw -A PREROUTING -j CT --zone 5", "CT: option \"--zone\" is not supported"),
        ("iptables -t raw -A PREROUTING -j CT", "CT: rutter knows --notrack alone, which must be specified"),
        (
            "iptables -A INPUT -m iprange --src-range 10.0.0.9-10.0.0.1",
            "iprange: range 10.0.0.9-10.0.0.1 is reversed and will never match",
        ),
        ("iptables -A INPUT -s ! 1.2.3.4", "host/network `!' not found"),
        ("iptables -A INPUT -s localhost", "host/network `localhost' not found"),
        ("iptables -A INPUT -i a/b", "weird character in interface `a/b'"),
    ] {
        assert_eq!(refused(line, &mut tables), format!("iptables {VERSION}: {reason}"), "{line}");
    }
}

#[test]
fn lists_of_addresses_are_bounded() {
    let list = ["1.1.1.1"; 200].join(",");
    let line = format!("iptables -A INPUT -s {list} -d {list}");
    let reason = format!("iptables {VERSION}: too many addresses specified");
    assert_eq!(refused(&line, &mut Tables::default()), reason);
}

#[test]
fn a_full_table_takes_no_more_but_lets_one_take_the_place_of_another() {
    let mut tables = Tables::default();
    tables.filter.append("INPUT", vec![Rule::default(); Table::MAX_RULES]).unwrap();
    assert_eq!(
        refused("iptables -A FORWARD", &mut tables),
        "iptables: Too many rules (a table holds 16384)."
    );
    run("iptables -R INPUT 1 -j DROP", &mut tables).unwrap();
    run("iptables -t nat -A OUTPUT", &mut tables).unwrap();
}

#[test]
fn ports_of_forwards_are_reserved() {
    let tables = tables(&[
        "iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to 10.0.0.1:80",
        "iptables -t nat -A PREROUTING -p udp -m multiport --dports 53,5000:5010 -j REDIRECT",
        "iptables -t nat -A PREROUTING -p tcp ! --dport 22 -j DNAT --to 10.0.0.9",
        "iptables -t nat -A PREROUTING -j DNAT --to 10.0.0.9",
        "iptables -t nat -A POSTROUTING -p tcp --dport 25 -j MASQUERADE",
    ]);
    let reserved: Vec<_> = tables.reserved_ports().collect();
    let range = |first, last| PortRange { first, last };
    assert_eq!(reserved, [(6, range(8080, 8080)), (17, range(53, 53)), (17, range(5000, 5010))]);
}

fn restore(options: &str, text: &str, tables: &mut Tables) -> Result<(), String> {
    let words: Vec<&str> = options.split_ascii_whitespace().collect();
    let restore = Restore::parse(&words).map_err(|failure| failure.text)?;
    restore.apply(text, tables).map(|_| ()).map_err(|failure| failure.text)
}

#[test]
fn what_is_saved_is_restored() {
    let mut first = Tables::default();
    for transcript in [
        include_str!("transcripts/filter.txt"),
        include_str!("transcripts/nat.txt"),
        include_str!("transcripts/mangle.txt"),
        include_str!("transcripts/marks.txt"),
        include_str!("transcripts/header.txt"),
        include_str!("transcripts/raw.txt"),
    ] {
        for session in transcript.split("\n$ ").skip(1) {
            let _ = run(session.lines().next().unwrap(), &mut first);
        }
    }
    run("iptables -P INPUT DROP -c 7 8", &mut first).unwrap();
    let text = saved(&first);
    let mut second = tables(&["iptables -N GONE", "iptables -A INPUT -j GONE"]);
    restore("-c", &text, &mut second).unwrap();
    assert_eq!(saved(&second), text);
    restore("-c", &text.replace('\n', "\r\n"), &mut second).unwrap();
    assert_eq!(saved(&second), text, "also with the line breaks of a terminal");
}

#[test]
fn restore_takes_all_or_nothing() {
    let mut tables = tables(&["iptables -A INPUT -s 1.1.1.1 -j DROP"]);
    let before = saved(&tables);
    for (text, reason) in [
        ("*filter\n:INPUT DROP [0:0]\n-A INPUT --foo\nCOMMIT\n", "line 3 failed: unknown option \"--foo\""),
        ("*filter\n-A INPUT -j nope\nCOMMIT\n", "line 2 failed: Chain 'nope' does not exist"),
        ("*filter\n-A nope -j ACCEPT\nCOMMIT\n", "line 2 failed: No chain/target/match by that name."),
        (
            "*filter\n-A INPUT\nCOMMIT\n*nat\n-A FOO\nCOMMIT\n",
            "line 5 failed: No chain/target/match by that name.",
        ),
        ("*filter\n:INPUT ACCEPT [0:0]\n", "COMMIT expected at line 3"),
        ("*security\nCOMMIT\n", "line 1 failed: table name 'security' invalid"),
        ("COMMIT\n", "line 1 failed: a line like `*filter' expected, not `COMMIT'"),
        ("*filter\ngarbage\nCOMMIT\n", "line 2 failed: Bad argument `garbage'"),
        ("*filter\n:INPUT FOO [0:0]\nCOMMIT\n", "line 2 failed: Bad policy name `FOO'."),
        ("*filter\n:INPUT\nCOMMIT\n", "line 2 failed: policy invalid"),
        ("*filter\n:\nCOMMIT\n", "line 2 failed: chain name invalid"),
        ("*filter\n:a ACCEPT\nCOMMIT\n", "line 2 failed: Bad built-in chain name."),
        ("*filter\n[1:2 -A INPUT\nCOMMIT\n", "line 2 failed: need ]"),
        (
            "*filter\n-A INPUT -t nat\nCOMMIT\n",
            "line 2 failed: The -t option cannot be used in iptables-restore.",
        ),
        ("*filter\n-L\nCOMMIT\n", "line 2 failed: `-L' only prints"),
        (
            "*filter\n-A INPUT -m comment --comment \"a\nCOMMIT\n",
            "line 2 failed: unexpected end of line while looking for matching `\"'",
        ),
        ("*nat\n:A -\n:B -\n-A A -j B\n-A B -j A\n\nCOMMIT\n", "line 7 failed: Too many links."),
        (
            "*nat\n-A PREROUTING -j MASQUERADE\nCOMMIT\n",
            "line 3 failed: MASQUERADE target: used from hooks PREROUTING, but only usable from POSTROUTING",
        ),
    ] {
        assert_eq!(restore("", text, &mut tables), Err(format!("iptables-restore: {reason}")), "{text}");
        assert_eq!(saved(&tables), before, "{text}");
    }
}

#[test]
fn restore_has_its_options() {
    let mut tables = tables(&["iptables -A INPUT -s 1.1.1.1 -j DROP", "iptables -N A", "iptables -A A"]);
    let text = "*filter\n:INPUT - [0:0]\n:A - [0:0]\n[7:8] -A INPUT -s 2.2.2.2\nCOMMIT\n*nat\n:N -\nCOMMIT\n";
    restore("--test", text, &mut tables).unwrap();
    assert_eq!(run("iptables -S A", &mut tables).unwrap(), "-N A\n-A A\n", "nothing was done");
    restore("-n -T filter", text, &mut tables).unwrap();
    let expected =
        "-P INPUT ACCEPT -c 0 0\n-A INPUT -s 1.1.1.1/32 -c 0 0 -j DROP\n-A INPUT -s 2.2.2.2/32 -c 0 0\n";
    assert_eq!(run("iptables -S INPUT -v", &mut tables).unwrap(), expected, "without -c no counters");
    assert_eq!(
        run("iptables -S A", &mut tables).unwrap(),
        "-N A\n",
        "a user chain that is declared is emptied"
    );
    assert!(tables.nat.find_chain("N").is_none());
    restore("-c", text, &mut tables).unwrap();
    let expected = "-P INPUT ACCEPT -c 0 0\n-A INPUT -s 2.2.2.2/32 -c 7 8\n";
    assert_eq!(run("iptables -S INPUT -v", &mut tables).unwrap(), expected);
    assert_eq!(restore("-x", "", &mut tables), Err("iptables-restore: invalid option -- 'x'".to_string()));
    assert_eq!(
        restore("file", "", &mut tables),
        Err("Can't open file: No such file or directory".to_string())
    );
}

#[test]
fn a_listing_goes_on_when_rules_change_under_it() {
    let mut tables = tables(&["iptables -N A", "iptables -A A", "iptables -A A", "iptables -N B"]);
    let mut listing = Listing::new(TableName::Filter, View::default(), &tables).unwrap();
    let mut out = String::new();
    for _ in 0..10 {
        assert!(listing.next_line(&tables, &mut out));
    }
    run("iptables -F", &mut tables).unwrap();
    run("iptables -X", &mut tables).unwrap();
    while listing.next_line(&tables, &mut out) {}
    assert!(out.lines().count() < 20, "{out}");
}

#[test]
fn every_command_has_its_verb() {
    let tables = Tables::default();
    let verb = |line: &str| Request::parse(&split(line).unwrap(), &tables).unwrap().verb;
    assert_eq!(verb("-V"), Verb::Version);
    assert_eq!(verb("-Z INPUT 2"), Verb::Zero { chain: Some("INPUT".to_string()), number: Some(2) });
    assert_eq!(verb("--flush"), Verb::Flush { chain: None });
    assert_eq!(verb("-X"), Verb::DeleteChain { name: None });
}

#[test]
fn rules_are_set_listed_saved_and_pasted_at_the_console() {
    let mut terminal = Terminal::new();
    terminal.set("iptables -A INPUT -p tcp --dport 22 -m comment --comment \"it's mine\" -j ACCEPT -c 5 300");
    let listed = terminal.run("iptables -L INPUT -v -n -Z");
    assert!(listed.ends_with("tcp dpt:22 /* it's mine */\n"), "{listed}");
    assert!(terminal.run("iptables -L INPUT -v -n").contains("    0     0 ACCEPT"));
    assert_eq!(terminal.run("iptables -C INPUT -j DROP; echo $?").lines().last(), Some("1"));
    assert_eq!(terminal.run("iptables -A INPUT -p foo; echo $?").lines().last(), Some("2"));
    let saved = terminal.run("iptables-save");
    terminal.set("iptables -F");
    terminal.press(b"iptables-restore\r");
    terminal.press(format!("{}\x04", saved.replace('\n', "\r")).as_bytes());
    assert_eq!(terminal.run("iptables-save"), saved);
}

#[test]
fn the_transcripts_are_the_same_at_the_console() {
    let mut terminal = Terminal::new();
    let transcript = include_str!("transcripts/filter.txt").replace("v1.8.9 (nf_tables)", VERSION);
    for session in transcript.split("\n$ ").skip(1) {
        let (line, expected) = session.split_once('\n').unwrap_or((session, ""));
        let printed = terminal.run(line);
        assert_eq!(printed.trim_end_matches('\n'), expected.trim_end_matches('\n'), "{line}");
    }
}
