//! The values of a stack with their places: what TOML parses into, and what every later step works on.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Finding, Report};
use super::source::Place;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub item: Item,
    pub place: Place,
}

/// A value. Texts are templates (see [`crate::graph::template`]).
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date(String),
    /// Only in documents that are JSON: TOML has none.
    Null,
    List(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

/// A part of a node.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A key, where it stands.
    Key(Place),
    /// What is neither list nor table.
    Value(&'a Node),
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn entry_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.item {
            Item::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn table(&self) -> Option<&Table> {
        match &self.item {
            Item::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The entries of a table; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        self.table().map_or(&[], |table| &table.entries)
    }

    /// What it is, in words.
    pub fn is_a(&self) -> &'static str {
        match self.item {
            Item::Text(_) => "a text",
            Item::Integer(_) => "an integer",
            Item::Float(_) => "a number",
            Item::Bool(_) => "true or false",
            Item::Date(_) => "a date",
            Item::Null => "null",
            Item::List(_) => "a list",
            Item::Table(_) => "a table",
        }
    }

    /// The value alone.
    pub fn value(&self) -> Value {
        match &self.item {
            Item::Text(text) | Item::Date(text) => Value::String(text.clone()),
            Item::Integer(number) => Value::from(*number),
            Item::Float(number) => Value::from(*number),
            Item::Bool(yes) => Value::Bool(*yes),
            Item::Null => Value::Null,
            Item::List(items) => items.iter().map(Node::value).collect(),
            Item::Table(table) => table.entries.iter().map(|e| (e.key.clone(), e.node.value())).collect(),
        }
    }

    /// A value whose parts may stand elsewhere than at `place`: `found` says where, of the nearest key and the value. A key
    /// stands where `found` says of it and null.
    pub fn of(value: &Value, place: Place, found: &dyn Fn(&str, &Value) -> Option<Place>) -> Self {
        Self::of_key("", value, place, found)
    }

    fn of_key(key: &str, value: &Value, place: Place, found: &dyn Fn(&str, &Value) -> Option<Place>) -> Self {
        let item = match value {
            Value::Null => Item::Null,
            Value::Bool(yes) => Item::Bool(*yes),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Item::Integer(number),
                None => Item::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => Item::Text(text.clone()),
            Value::Array(items) => Item::List(items.iter().map(|item| Self::of_key(key, item, place, found)).collect()),
            Value::Object(map) => {
                let entries = map.iter().map(|(key, item)| Entry {
                    key: key.clone(),
                    key_place: found(key, &Value::Null).unwrap_or(place),
                    node: Self::of_key(key, item, place, found),
                });
                Item::Table(Table { entries: entries.collect() })
            }
        };
        let is_single = !matches!(item, Item::Null | Item::List(_) | Item::Table(_));
        let here = if is_single { found(key, value) } else { None };
        Self { item, place: here.unwrap_or(place) }
    }

    /// A value that stands as a whole at a place.
    pub fn at(value: &Value, place: Place) -> Self {
        Self::of(value, place, &|_, _| None)
    }

    /// The place of the deepest node there is on a path of keys and indices; of its key where `path` ends in one.
    /// `canonical` is the value that the path was told for: lists may have been sorted since.
    pub fn find(&self, path: &[String], canonical: &Value, otherwise: Place) -> Place {
        let Some((step, rest)) = path.split_first() else { return otherwise };
        match &self.item {
            Item::Table(table) => match table.entry(step) {
                Some(entry) => entry.node.find(rest, canonical.get(step).unwrap_or(&Value::Null), entry.node.place),
                None => otherwise,
            },
            Item::List(items) => {
                if let Some(wanted) = step.strip_prefix('=') {
                    return items.iter().find(|item| item.text() == Some(wanted)).map_or(otherwise, |item| item.place);
                }
                let Ok(index) = step.parse::<usize>() else { return otherwise };
                let wanted = canonical.get(index).unwrap_or(&Value::Null);
                let moved = items.iter().find(|item| is_part(&item.value(), wanted));
                match moved.or_else(|| items.get(index)) {
                    Some(item) => item.find(rest, wanted, item.place),
                    None => otherwise,
                }
            }
            _ => otherwise,
        }
    }

    /// Calls `found` for every key in it, and for every value that is neither list nor table with the nearest key.
    pub fn each_part<'a>(&'a self, found: &mut impl FnMut(&'a str, Part<'a>)) {
        self.each_part_of("", found);
    }

    fn each_part_of<'a>(&'a self, key: &'a str, found: &mut impl FnMut(&'a str, Part<'a>)) {
        match &self.item {
            Item::List(items) => items.iter().for_each(|item| item.each_part_of(key, found)),
            Item::Table(table) => table.entries.iter().for_each(|entry| {
                found(&entry.key, Part::Key(entry.key_place));
                entry.node.each_part_of(&entry.key, found);
            }),
            _ => found(key, Part::Value(self)),
        }
    }

    /// Calls `found` for every text in it.
    pub fn each_text<'a>(&'a self, found: &mut impl FnMut(&'a str, Place)) {
        match &self.item {
            Item::Text(text) => found(text, self.place),
            Item::List(items) => items.iter().for_each(|item| item.each_text(found)),
            Item::Table(table) => table.entries.iter().for_each(|entry| entry.node.each_text(found)),
            _ => {}
        }
    }
}

/// Whether a value is what was written, apart from defaults filled in.
fn is_part(written: &Value, whole: &Value) -> bool {
    match (written, whole) {
        (Value::Object(written), Value::Object(whole)) => {
            written.iter().all(|(key, item)| whole.get(key).is_some_and(|other| is_part(item, other)))
        }
        _ => written == whole,
    }
}

/// Parses TOML; `None` where there are syntax errors, which are then in the report.
pub fn parse(text: &str, file: usize, report: &mut Report) -> Option<Table> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let start =
        |error: &toml::de::Error| error.span().map_or(0, |span| text.floor_char_boundary(span.start.min(text.len())));
    let (twice, broken): (Vec<_>, Vec<_>) = errors.iter().partition(|error| error.message().contains("duplicate"));
    // One quotation mark that is missing makes nonsense of all that follows.
    if let Some(first) = broken.iter().min_by_key(|error| start(error)) {
        let line = |error: &toml::de::Error| text[..start(error)].matches('\n').count();
        let lines: std::collections::BTreeSet<usize> = broken.iter().map(|error| line(error)).collect();
        let more = match lines.len() - 1 {
            0 => String::new(),
            1 => "; one more line was not understood, most likely because of this one".to_owned(),
            more => format!("; {more} more lines were not understood, most likely because of this one"),
        };
        let message = format!("this is not TOML: {}", first.message().trim_end());
        let at = start(first);
        let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let advice = match text[line_start..].trim_start().starts_with('[') && first.message().contains("unquoted key")
        {
            true => "blocks are named [kind.name], with letters, digits, `-` and `_`",
            false => "texts stand in quotes, lists in brackets: key = \"text\"",
        };
        report.error(
            Finding::at(Place::new(file, first.span().unwrap_or(0..0)), message).help(format!("{advice}{more}")),
        );
        return None;
    }
    let mut told_until = 0;
    for error in twice {
        // The keys of a table that stands twice are twice there, too.
        if start(error) >= told_until {
            told_until = next_header(text, start(error));
            report.error(duplicate(text, file, error.span().unwrap_or(0..0)));
        }
    }
    if !errors.is_empty() {
        return None;
    }
    let before = report.errors();
    let table = convert_table(table.get_ref(), file, report);
    (report.errors() == before).then_some(table)
}

/// As much of a text as can be read as TOML, whatever is wrong with the rest.
pub fn recovered(text: &str, file: usize) -> Table {
    let (table, _) = DeTable::parse_recoverable(text);
    convert_table(table.get_ref(), file, &mut Report::default())
}

/// Where the next table begins behind a byte.
fn next_header(text: &str, from: usize) -> usize {
    text[from..].find("\n[").map_or(text.len(), |at| from + at)
}

/// A key or table that stands twice, with the first of the two.
fn duplicate(text: &str, file: usize, span: std::ops::Range<usize>) -> Finding {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default().trim();
    let is_table = line.starts_with('[');
    // A table is the same line somewhere above; a key stands above in the same table.
    let (wanted, from) = match is_table {
        true => (line, 0),
        false => {
            let key = line.split(['=', ' ']).next().unwrap_or(line);
            (key, text[..line_start].rfind("\n[").unwrap_or(0))
        }
    };
    let mut at = from;
    let first = text[from..line_start].split_inclusive('\n').find_map(|one| {
        let here = at;
        at += one.len();
        let rest = one.trim_start().strip_prefix(wanted)?;
        (is_table || rest.trim_start().starts_with('=')).then(|| Place::new(file, here..here + one.trim_end().len()))
    });
    let what = if is_table { line.to_owned() } else { format!("`{wanted}`") };
    let finding = Finding::at(Place::new(file, span), format!("{what} stands here a second time"));
    let finding = finding.help("put the two together, or take one out");
    match first {
        Some(first) if !wanted.is_empty() => finding.label("again").also(first, "the first"),
        _ => finding,
    }
}

fn convert_table(table: &DeTable<'_>, file: usize, report: &mut Report) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_place: Place::new(file, key.span()),
            node: convert(value, file, report),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_place);
    Table { entries }
}

fn convert(value: &Spanned<DeValue<'_>>, file: usize, report: &mut Report) -> Node {
    let place = Place::new(file, value.span());
    let item = match value.get_ref() {
        DeValue::String(text) => Item::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Item::Integer(number),
            Err(_) => {
                report.error(
                    Finding::at(place, format!("`{number}` is too large a number")).help("numbers go up to 2⁶³ − 1"),
                );
                Item::Integer(0)
            }
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Item::Float(number),
            _ => {
                report.error(
                    Finding::at(place, format!("`{number}` is no number that can be used")).help("write a finite one"),
                );
                Item::Float(0.0)
            }
        },
        DeValue::Boolean(yes) => Item::Bool(*yes),
        DeValue::Datetime(date) => Item::Date(date.to_string()),
        DeValue::Array(items) => Item::List(items.iter().map(|item| convert(item, file, report)).collect()),
        DeValue::Table(table) => Item::Table(convert_table(table, file, report)),
    };
    Node { item, place }
}
