//! Values that stand in files of their own: policy documents, user data.
//!
//! A field of a document (`x-file = "json"`) takes the name of a file that ends in `.json`, JSON text, or a table; a
//! field of text (`x-file = "text"`) takes a file's name or the text. Files are rendered like the stack itself.

use std::io;

use serde_json::Value;

use super::diagnostic::{Finding, Report};
use super::node::{Entry, Item, Node, Table};
use super::scopes::Scopes;
use super::shape::{self, Shape};
use super::source::{Place, Sources};
use super::substitute::{UNREAD, check_syntax};

/// Where the files of a stack are read from.
pub struct Files<'a> {
    /// Reads a file by the name that the stack gives it.
    pub read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// What names are relative to, for people.
    pub root: String,
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Files({})", self.root)
    }
}

/// What loading a file works with.
pub struct Loading<'l, 'a> {
    pub files: &'l Files<'a>,
    pub sources: &'l mut Sources,
    pub scopes: &'l mut Scopes<'a>,
    pub report: &'l mut Report,
}

impl Loading<'_, '_> {
    /// Puts the content of files, and documents written as tables, into the fields that take them. Gives the names of
    /// attributes that could not be loaded.
    pub fn load(&mut self, node: &mut Node, shape: Shape<'_>) {
        shape::each_extended(node, shape, &["x-file", "x-files"], &mut |node, extension, kind| {
            let kind = if kind.as_str() == Some("text") { "text" } else { "json" };
            match extension {
                "x-files" => self.load_many(node, kind),
                _ => self.load_one(node, kind),
            }
        });
    }

    fn load_many(&mut self, node: &mut Node, kind: &str) {
        if shape::is_whole_reference(node) {
            return;
        }
        match &mut node.item {
            Item::Table(table) => {
                for entry in &mut table.entries {
                    self.load_one(&mut entry.node, kind);
                }
            }
            Item::List(items) => {
                let mut entries: Vec<Entry> = Vec::new();
                for mut item in std::mem::take(items) {
                    let (Some(name), at) = (item.text().map(str::to_owned), item.place) else {
                        self.report.error(
                            Finding::at(item.place, format!("this is {}, not the name of a file", item.is_a()))
                                .help("list names of files, or give a table of name = document"),
                        );
                        continue;
                    };
                    let Some(stem) = file_stem(&name, kind) else {
                        self.report.error(Finding::at(at, format!("`{name}` is not the name of a {kind} file")).help(
                            "list names of files such as \"policies/logs.json\", or give a table of name = document",
                        ));
                        continue;
                    };
                    if let Some(first) = entries.iter().find(|entry| entry.key == stem) {
                        self.report.error(
                            Finding::at(at, format!("two files are named `{stem}`"))
                                .also(first.key_place, "the first")
                                .help("give them names of their own: a table of name = file"),
                        );
                        continue;
                    }
                    self.load_one(&mut item, kind);
                    entries.push(Entry { key: stem, key_place: at, node: item });
                }
                node.item = Item::Table(Table { entries });
            }
            // What it is was told when the block was held against its schema.
            _ => node.item = Item::Table(Table::default()),
        }
    }

    fn load_one(&mut self, node: &mut Node, kind: &str) {
        match &node.item {
            Item::Table(_) | Item::List(_) if kind == "json" => {
                self.sources.keep(node.clone());
                node.item = Item::Text(node.value().to_string());
            }
            Item::Text(text) if file_stem(text, kind).is_some() => {
                let name = text.clone();
                self.load_file(node, &name, kind);
            }
            Item::Text(text) if kind == "json" && !shape::is_whole_reference(node) => {
                if let Err(error) = serde_json::from_str::<Value>(text) {
                    let finding = match text.trim_start().starts_with(['{', '[']) {
                        true => Finding::at(node.place, format!("this document is not JSON: {error}"))
                            .help("correct it, or write it as a table"),
                        false => Finding::at(node.place, "this is neither a document nor the name of one")
                            .help("give the name of a file that ends in .json, a table, or JSON text"),
                    };
                    self.report.error(finding);
                    node.item = Item::Text(UNREAD.to_owned());
                }
            }
            _ => {}
        }
    }

    fn load_file(&mut self, node: &mut Node, name: &str, kind: &str) {
        let Some(text) = self.read(name, node.place) else {
            node.item = Item::Text(UNREAD.to_owned());
            return;
        };
        let file = self.sources.add(name, &text);
        let whole = Place::new(file, 0..text.len());
        let content = match kind {
            "json" => match serde_json::from_str::<Value>(&text) {
                Ok(value) => Node::at(&value, whole),
                Err(error) => {
                    self.report.error(bad_json(&error, file, &text));
                    node.item = Item::Text(UNREAD.to_owned());
                    return;
                }
            },
            _ => Node { item: Item::Text(text), place: whole },
        };
        let mut content = content;
        check_syntax(&content, self.sources, self.report);
        self.scopes.fill(&mut content, self.sources, self.report);
        node.place = whole;
        node.item = match content.item {
            item @ Item::Text(_) if kind == "text" => item,
            item => Item::Text(Node { item, place: whole }.value().to_string()),
        };
    }

    fn read(&mut self, name: &str, place: Place) -> Option<String> {
        let root = &self.files.root;
        if name.starts_with('/') || name.contains('\\') || name.split('/').any(|part| part == "..") {
            self.report.error(
                Finding::at(place, format!("`{name}` is not below the project's folder"))
                    .help(format!("name files relative to {root}, with `/`")),
            );
            return None;
        }
        let bytes = match (self.files.read)(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (why, what) = match error.kind() {
                    io::ErrorKind::NotFound => ("there is no file".to_owned(), "make it, or correct its name"),
                    kind => (format!("{kind}:"), "see that it is a file and can be read"),
                };
                self.report.error(
                    Finding::at(place, format!("{why} `{name}`"))
                        .help(format!("{what}; names of files are relative to {root}")),
                );
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(_) => {
                self.report
                    .error(Finding::at(place, format!("`{name}` is not a text in UTF-8")).help("save it as UTF-8"));
                None
            }
        }
    }
}

fn bad_json(error: &serde_json::Error, file: usize, text: &str) -> Finding {
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (line_start + error.column().saturating_sub(1)).min(text.len());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let end = text.ceil_char_boundary((at + 1).min(text.len()));
    Finding::at(Place::new(file, text.floor_char_boundary(at)..end), format!("this is not JSON: {message}"))
        .help("correct the document; JSON takes no comments and no comma before a closing bracket")
}

/// The name without folders and ending, where a text is the name of a file; `None` where it is content.
fn file_stem(text: &str, kind: &str) -> Option<String> {
    let is_name = !text.is_empty() && text.len() < 1024 && !text.contains(|c: char| c.is_whitespace() || c == '$');
    let fits = match kind {
        "json" => text.ends_with(".json") && !text.starts_with(['{', '[', '"']),
        _ => !text.starts_with(['#', '<', '{']) && (text.contains('.') || text.contains('/')),
    };
    if !is_name || !fits {
        return None;
    }
    let base = text.rsplit('/').next().unwrap_or(text);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    (!stem.is_empty()).then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_told_from_content() {
        assert_eq!(file_stem("policies/logs.json", "json").as_deref(), Some("logs"));
        assert_eq!(file_stem("{\"a\": \"b.json\"}", "json"), None);
        assert_eq!(file_stem("boot/user-data.sh", "text").as_deref(), Some("user-data"));
        assert_eq!(file_stem("#!/bin/sh", "text"), None);
        assert_eq!(file_stem("echo hello > a.txt", "text"), None);
    }
}
