//! Lines as sh would cut them.

use super::*;

fn words(line: &str) -> Vec<String> {
    let mut variables = Variables::default();
    variables.set("WAN", String::from("eth1"));
    variables.set("NETS", String::from(" 10.0.0.0/8  192.168.0.0/16"));
    let commands = parse(line).unwrap();
    assert_eq!(commands.len(), 1, "{line}");
    expand(&commands[0].words, &variables, 7).unwrap()
}

#[test]
fn quotes_backslashes_and_comments() {
    assert_eq!(
        words(r#"echo a  "b c" 'd "e' f\ g h""i '' # j"#),
        ["echo", "a", "b c", "d \"e", "f g", "hi", ""]
    );
    assert_eq!(words("echo a#b \"x\\\"y\\n\" 1>2".strip_suffix(" 1>2").unwrap()), ["echo", "a#b", "x\"y\\n"]);
    assert_eq!(words("ip \\\n  a"), ["ip", "a"]);
    assert!(parse("  # nothing\n").unwrap().is_empty());
}

#[test]
fn variables_are_expanded_and_split_only_outside_quotes() {
    assert_eq!(
        words("-o $WAN ${WAN}0 '$WAN' \"$WAN\" $? $UNSET"),
        ["-o", "eth1", "eth10", "$WAN", "eth1", "7"]
    );
    assert_eq!(words("x$NETS"), ["x", "10.0.0.0/8", "192.168.0.0/16"]);
    assert_eq!(words("\"x$NETS\""), ["x 10.0.0.0/8  192.168.0.0/16"]);
    assert_eq!(words("a $ b"), ["a", "$", "b"]);
    assert_eq!(parse("echo $(date)"), Err(SyntaxError::Expansion));
}

#[test]
fn separators_say_when_a_command_runs() {
    let commands = parse("a; b && c || d").unwrap();
    let when: Vec<_> = commands.iter().map(|command| command.when).collect();
    assert_eq!(when, [When::Always, When::Always, When::Success, When::Failure]);
    assert_eq!(parse("&& a"), Err(SyntaxError::Unexpected("&&")));
    assert_eq!(parse("a | b"), Err(SyntaxError::Unexpected("|")));
    assert_eq!(parse("a &&"), Err(SyntaxError::Incomplete));
}

#[test]
fn redirections() {
    let commands = parse("iptables -D X 2>/dev/null >/dev/null 2>&1 || true").unwrap();
    assert!(commands[0].hush && commands[0].output == Output::Nowhere);
    let commands = parse("echo 1 > /proc/sys/net/ipv4/ip_forward").unwrap();
    assert_eq!(commands[0].output, Output::File(Word::plain("/proc/sys/net/ipv4/ip_forward")));
    assert_eq!(parse("a >"), Err(SyntaxError::Redirection));
    assert_eq!(parse("a 2> b"), Err(SyntaxError::Redirection));
}

#[test]
fn an_assignment_keeps_its_blanks() {
    let commands = parse("NETS=\"$A 10.0.0.0/8\"").unwrap();
    let (name, value) = commands[0].words[0].assignment().unwrap();
    let mut variables = Variables::default();
    variables.set("A", String::from("1 2"));
    assert_eq!(
        (name, expand(&[value], &variables, 0).unwrap()),
        ("NETS", alloc::vec![String::from("1 2 10.0.0.0/8")])
    );
    assert!(parse("1A=b").unwrap()[0].words[0].assignment().is_none());
}

#[test]
fn lines_carry_on_and_take_their_text_along() {
    let text = "a \\\n b\n\niptables-restore <<'END' && c\n*filter\nCOMMIT\nEND\nd 'x\ny'\ne <<F\n";
    let seen: Vec<_> =
        Lines::new(text).map(|line| (line.number, line.commands.map(|it| it.len()), line.here)).collect();
    assert_eq!(
        seen,
        [
            (1, Ok(1), ""),
            (3, Ok(0), ""),
            (4, Ok(2), "*filter\nCOMMIT\n"),
            (8, Ok(1), ""),
            (10, Err(SyntaxError::Incomplete), "")
        ]
    );
}

#[test]
fn expansion_is_bounded() {
    let mut variables = Variables::default();
    variables.set("A", "x".repeat(EXPANDED_MAX / 2));
    assert!(expand(&parse("echo $A").unwrap()[0].words, &variables, 0).is_some());
    assert!(expand(&parse("echo $A$A").unwrap()[0].words, &variables, 0).is_none());
}
