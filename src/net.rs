//! Address ranges: checks that several kinds and constructs share.

use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;

use crate::graph::{Attributes, Problem, template};

/// A range from its text, or what is wrong with it, in words.
///
/// # Errors
/// Where the text is no range in CIDR notation, or has host bits set.
pub fn parse_cidr(text: &str) -> Result<Ipv4Net, Problem> {
    let net: Ipv4Net = text.parse().map_err(|_| {
        Problem::at("", format!("`{text}` is not an IPv4 range")).help("write it as address/length: \"10.0.0.0/16\"")
    })?;
    if net.addr() != net.network() {
        return Err(Problem::at("", format!("`{text}` has host bits set"))
            .help(format!("the range that holds it is \"{}\"", net.trunc())));
    }
    Ok(net)
}

/// Checks one attribute that is a range, unless a reference stands in it, and gives the range.
pub fn check_cidr(
    attributes: &Attributes,
    name: &str,
    lengths: RangeInclusive<u8>,
    problems: &mut Vec<Problem>,
) -> Option<Ipv4Net> {
    check_cidr_value(attributes.get(name)?, name, lengths, problems)
}

/// Checks a value that is a range, at this path, unless a reference stands in it, and gives the range.
pub fn check_cidr_value(
    value: &Value,
    path: &str,
    lengths: RangeInclusive<u8>,
    problems: &mut Vec<Problem>,
) -> Option<Ipv4Net> {
    let Value::String(text) = value else { return None };
    if template::is_unknown(value) {
        return None;
    }
    match parse_cidr(text) {
        Ok(net) if !lengths.contains(&net.prefix_len()) => {
            let (from, to) = (lengths.start(), lengths.end());
            problems.push(
                Problem::at(path, format!("`{text}` is a /{}, and AWS takes /{from} to /{to}", net.prefix_len()))
                    .help("choose another length"),
            );
            None
        }
        Ok(net) => Some(net),
        Err(problem) => {
            problems.push(Problem { path: Problem::at(path, "").path, ..problem });
            None
        }
    }
}

/// Whether two ranges share an address.
pub fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// What is wrong with a text that shall be an IPv4 or IPv6 range.
pub fn range_problem(path: &str, text: &str) -> Option<Problem> {
    match text.parse::<IpNet>() {
        Ok(net) if net.addr() != net.network() => Some(
            Problem::at(path, format!("`{text}` has host bits set"))
                .help(format!("the range that holds it is \"{}\"", net.trunc())),
        ),
        Ok(_) => None,
        Err(_) => Some(
            Problem::at(path, format!("`{text}` is no address range"))
                .help("write it as address/length: \"10.0.0.0/16\", \"0.0.0.0/0\" for everything"),
        ),
    }
}

/// A range of either version in its usual spelling, as AWS returns it; anything else stays as it is.
pub fn spelled(text: &str) -> String {
    text.parse::<IpNet>().map_or_else(|_| text.to_owned(), |net| net.to_string())
}
