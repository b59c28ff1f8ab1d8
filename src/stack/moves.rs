//! `moved`: addresses that changed, so that what stands there is not made anew.

use super::Moved;
use super::diagnostic::{Finding, Report, did_you_mean};
use super::node::{Item, Node};
use super::resolve::Names;
use super::source::Place;
use crate::graph::{Address, template};

/// One entry of the list, with the place of each end.
#[derive(Debug, Clone)]
pub struct Move {
    /// What moves where.
    pub moved: Moved,
    from: Place,
    to: Place,
}

/// Reads the list.
pub fn read(node: &Node, report: &mut Report) -> Vec<Move> {
    let Item::List(items) = &node.item else { return Vec::new() };
    let mut out = Vec::new();
    for item in items {
        let mut address = |key: &str| {
            let node = item.table()?.get(key)?;
            let text = template::literal(&node.text()?.into())?;
            match Address::parse(text.as_str()?) {
                Ok(address) => Some((address, node.place)),
                Err(error) => {
                    let help = "write the address as `cofferdam state list STACK` does";
                    report.error(Finding::at(node.place, error.to_string()).help(help));
                    None
                }
            }
        };
        if let (Some((from, from_place)), Some((to, to_place))) = (address("from"), address("to")) {
            out.push(Move { moved: Moved { from, to }, from: from_place, to: to_place });
        }
    }
    out
}

/// Reports moves that cannot be meant: between kinds, to what the stack does not have, twice from or to one address.
pub fn check(moves: &[Move], names: &Names<'_, '_>, report: &mut Report) {
    let Names { resources, constructs, .. } = names;
    let has = |address: &Address| {
        let address = address.as_str();
        resources.contains(address) || constructs.contains_key(address) || names.is_missed(address)
    };
    for (index, one) in moves.iter().enumerate() {
        let Moved { from, to } = &one.moved;
        if from == to {
            report.error(Finding::at(one.to, format!("`{from}` moves to itself")).help("take the entry out"));
            continue;
        }
        if from.kind() != to.kind() {
            report.error(
                Finding::at(one.to, format!("a {} cannot become a {}", from.kind(), to.kind()))
                    .help("only the name and the construct of an address may change"),
            );
            continue;
        }
        let twice = |same: &dyn Fn(&Move) -> bool| moves[..index].iter().find(|earlier| same(earlier));
        if let Some(first) = twice(&|earlier| earlier.moved.from == *from) {
            report.error(
                Finding::at(one.from, format!("`{from}` moves to two addresses"))
                    .also(first.from, "the first")
                    .help("keep one of them"),
            );
        }
        if let Some(first) = twice(&|earlier| earlier.moved.to == *to) {
            report.error(
                Finding::at(one.to, format!("two addresses move to `{to}`"))
                    .also(first.to, "the first")
                    .help("keep one of them"),
            );
        }
        let goes_on = moves.iter().skip(index + 1).any(|later| later.moved.from == *to);
        if !has(to) && !goes_on {
            let known = resources.iter().chain(constructs.keys()).map(String::as_str);
            let earlier = moves[..index].iter().any(|earlier| earlier.moved.from == *to);
            let help = match earlier {
                true => {
                    Some("moves are made in the order they stand in: put this one before the one that goes on".into())
                }
                false => did_you_mean(to.as_str(), known, "there are"),
            };
            report.error(
                Finding::at(one.to, format!("`moved` leads to `{to}`, which is not in the stack")).maybe_help(help),
            );
        }
    }
}
