//! Network cards: none to eight, named in the order of QEMU's command line.

use qemu::lab::{Lab, Plan};
use qemu::nic::mac_text;

/// The name and address of each card, as the router lists them.
fn cards(lab: &mut Lab) -> Vec<(String, String)> {
    let list = lab.command("ip -br link show").unwrap().text;
    let fields = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let cards = fields.filter(|fields| fields[0] != "lo");
    cards.map(|fields| (fields[0].to_owned(), fields[2].to_owned())).collect()
}

fn in_order(board: &str, nics: usize) {
    let plan = Plan {
        board: board.parse().unwrap(),
        nics,
        append: "config=none".into(),
        ..Plan::new(&format!("{nics}_cards_on_{board}"))
    };
    let mut lab = Lab::boot(plan).unwrap();
    let expected: Vec<_> = lab
        .segments
        .iter()
        .enumerate()
        .map(|(index, segment)| (format!("eth{index}"), mac_text(segment.router.0)))
        .collect();
    assert_eq!(cards(&mut lab), expected);
    lab.finish();
}

#[test]
fn one_card() {
    in_order("q35", 1);
}

#[test]
fn eight_cards_on_q35() {
    in_order("q35", 8);
}

#[test]
fn eight_cards_on_pc() {
    in_order("pc", 8);
}

#[test]
fn eight_cards_on_microvm() {
    in_order("microvm", 8);
}

#[test]
fn eight_cards_on_microvm_without_acpi() {
    in_order("microvm,acpi=off", 8);
}

#[test]
fn without_a_card_the_router_boots_and_says_so() {
    let plan = Plan { nics: 0, append: "config=none".into(), ..Plan::new("no_cards") };
    let lab = Lab::boot(plan).unwrap();
    let said = lab.console.text();
    assert!(said.contains("no network card"), "{said}");
    lab.finish();
}
