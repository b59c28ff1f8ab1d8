//! Types and values of DNS records: their canonical form, how Route 53 writes them, and what is wrong with them.

use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::graph::{Attributes, Problem, template};

/// The type of a record ("Supported DNS record types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the types are those of DNS")]
pub enum RecordType {
    A,
    Aaaa,
    Caa,
    Cname,
    Ds,
    Https,
    Mx,
    Naptr,
    Ns,
    Ptr,
    Spf,
    Srv,
    Sshfp,
    Svcb,
    Tlsa,
    Txt,
}

impl RecordType {
    /// Whether its values are texts, quoted in DNS.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Txt | Self::Spf)
    }

    /// As Route 53 writes it.
    pub fn name(self) -> String {
        json!(self).as_str().unwrap_or_default().to_owned()
    }
}

/// A value in the form in which it is compared: texts without quotes, addresses as short as they are.
pub fn canonical_value(kind: RecordType, value: &str) -> String {
    if kind.is_text() {
        return unquoted(value);
    }
    match kind {
        RecordType::Aaaa => value.parse::<Ipv6Addr>().map_or_else(|_| value.to_owned(), |address| address.to_string()),
        _ => value.to_owned(),
    }
}

/// The text of a TXT record: its quoted strings joined, escapes resolved. What is not quoted is a text already.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    if !(value.starts_with('"') && value.ends_with('"') && value.len() >= 2) {
        return value.to_owned();
    }
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut inside, mut at) = (false, 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => inside = !inside,
            b'\\' if inside => match value.get(at..at + 3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
                Some(code) => {
                    out.push(code);
                    at += 3;
                }
                None => {
                    out.extend(bytes.get(at));
                    at += 1;
                }
            },
            byte if inside => out.push(byte),
            _ => {}
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A text as Route 53 takes it: quoted strings of 255 bytes at most, escaped ("TXT record type").
pub fn quoted(text: &str) -> String {
    let strings = text.as_bytes().chunks(255).map(|chunk| {
        let mut out = String::with_capacity(chunk.len() + 2);
        out.push('"');
        for byte in chunk {
            match byte {
                b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
                b' '..=b'~' => out.push(char::from(*byte)),
                other => out.push_str(&format!("\\{other:03o}")),
            }
        }
        out.push('"');
        out
    });
    let strings: Vec<String> = strings.collect();
    if strings.is_empty() { "\"\"".to_owned() } else { strings.join(" ") }
}

/// What is wrong with a record, as far as that can be told offline.
pub fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let given = |name: &str| attributes.get(name).is_some_and(|value| value != &json!([]) && value != &json!(false));
    match (given("values"), given("alias")) {
        (false, false) => {
            problems.push(Problem::at("", "the record answers nothing").help("give `values`, or an `alias`"))
        }
        (true, true) => problems.push(Problem::at("alias", "it has `values` too").help("keep one of the two")),
        _ => {}
    }
    if given("alias") && given("ttl") {
        problems.push(Problem::at("ttl", "an alias has the TTL of what it stands for").help("remove it"));
    }
    let mut range = |name: &str, most: i64| {
        if let Some(value) = attributes.get(name).and_then(Value::as_i64).filter(|value| !(0..=most).contains(value)) {
            problems.push(Problem::at(name, format!("{value} is out of range")).help(format!("it is 0 to {most}")));
        }
    };
    range("ttl", i64::from(i32::MAX));
    range("weight", 255);
    let ways: Vec<&str> =
        ["weight", "region", "failover", "geo", "multivalue"].into_iter().filter(|name| given(name)).collect();
    if let [first, others @ ..] = ways.as_slice() {
        for other in others {
            problems.push(Problem::at(other, format!("it has `{first}` too")).help("a record is routed in one way"));
        }
        if !given("set_id") {
            problems.push(
                Problem::at(first, "records that share a name need a `set_id`").help("add one: `set_id = \"blue\"`"),
            );
        }
    } else if given("set_id") {
        problems.push(
            Problem::at("set_id", "nothing tells when this record of the set answers")
                .help("add `weight`, `region`, `failover`, `geo` or `multivalue`, or remove `set_id`"),
        );
    }
    let kind = attributes.get("type").and_then(|kind| RecordType::deserialize(kind.clone()).ok());
    let name = attributes.get("name").and_then(Value::as_str).unwrap_or_default();
    let dynamic = !template::references(name).is_empty();
    if !dynamic
        && (name.len() > 255 || name.trim_end_matches('.').split('.').any(|label| label.is_empty() || label.len() > 63))
    {
        problems.push(
            Problem::at("name", format!("`{name}` is no domain name"))
                .help("it has parts of 1 to 63 characters, parted by dots; \"@\" is the zone's own name"),
        );
    }
    if let Some(kind) = kind {
        check_values(kind, name, attributes, &mut problems);
    }
    problems
}

fn check_values(kind: RecordType, name: &str, attributes: &Attributes, problems: &mut Vec<Problem>) {
    if name == "@" && kind == RecordType::Cname {
        problems
            .push(Problem::at("type", "the zone's own name cannot be a CNAME").help("use an `alias` of type \"A\""));
    }
    if name == "@" && kind == RecordType::Ns {
        problems
            .push(Problem::at("type", "Route 53 keeps the name servers of the zone itself").help("remove this record"));
    }
    let values = attributes.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if kind == RecordType::Cname && values.len() > 1 {
        problems.push(Problem::at("values", "a CNAME has one value").help("keep one"));
    }
    for (at, value) in values.iter().enumerate().filter(|(_, value)| !template::is_unknown(value)) {
        let value = value.as_str().unwrap_or_default();
        let numbered = |numbers: usize| {
            let words: Vec<&str> = value.split_whitespace().collect();
            words.len() == numbers + 1 && words.iter().take(numbers).all(|word| word.parse::<u16>().is_ok())
        };
        let (right, example) = match kind {
            RecordType::A => (value.parse::<Ipv4Addr>().is_ok(), "an IPv4 address: \"10.0.0.1\""),
            RecordType::Aaaa => (value.parse::<Ipv6Addr>().is_ok(), "an IPv6 address: \"2001:db8::1\""),
            RecordType::Mx => (numbered(1), "a priority and a name: \"10 mail.example.com\""),
            RecordType::Srv => (numbered(3), "priority, weight, port and name: \"1 10 5269 xmpp.example.com\""),
            RecordType::Txt | RecordType::Spf => (value.len() <= 4000, "a text of 4000 characters at most"),
            RecordType::Cname | RecordType::Ns | RecordType::Ptr => {
                (!value.is_empty() && !value.contains(char::is_whitespace), "a domain name: \"www.example.com\"")
            }
            _ => (!value.is_empty(), "not empty"),
        };
        if !right {
            let path = format!("values.{at}");
            let problem = Problem::at(&path, format!("`{value}` is no value of type {}", kind.name()));
            problems.push(problem.help(format!("it is {example}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(value: Value) -> String {
        let attributes = value.as_object().cloned().unwrap();
        check(&attributes).into_iter().map(|p| format!("{} {}\n", p.path.join("."), p.message)).collect()
    }

    #[test]
    fn texts_survive_quoting() {
        for text in ["v=spf1 -all", "say \"hi\" \\ there", "grüße", &"x".repeat(700), ""] {
            assert_eq!(unquoted(&quoted(text)), text);
        }
        assert_eq!(quoted(&"x".repeat(300)).matches('"').count(), 4);
        assert_eq!(unquoted("\"a b\" \"c\""), "a bc");
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said() {
        assert!(messages(json!({"name": "www", "type": "A"})).contains("answers nothing"));
        assert!(messages(json!({"name": "www", "type": "A", "values": ["10.0.0.256"]})).contains("values.0"));
        assert!(messages(json!({"name": "@", "type": "CNAME", "values": ["a.b"]})).contains("cannot be a CNAME"));
        assert!(
            messages(json!({"name": "w", "type": "A", "values": ["10.0.0.1"], "weight": 300})).contains("weight 300")
        );
        assert!(messages(json!({"name": "w", "type": "A", "values": ["10.0.0.1"], "weight": 1})).contains("`set_id`"));
        assert_eq!(messages(json!({"name": "${vars.n}", "type": "A", "values": ["${elastic_ip.a.public_ip}"]})), "");
    }
}
