//! Places inside JSON documents, by the way into them: parsed values do not know where they stood.
//!
//! A step of a way is a key, an index, or `=text` for the item of a list that is this text.

use std::ops::Range;

/// Where the deepest value that there is on a way stands in a text that begins with a document; `None` where the text is
/// none. What stands alone is as good as a list of one.
pub fn locate(text: &str, way: &[String]) -> Option<Range<usize>> {
    let mut scan = Scan { text, at: 0 };
    scan.blank();
    let mut found = scan.at..scan.value()?;
    for step in way {
        let inner = match text.as_bytes().get(found.start)? {
            b'{' => members(text, found.start)?.into_iter().find(|(key, _)| key == step).map(|(_, at)| at),
            b'[' => {
                let items = items(text, found.start)?;
                match (step.strip_prefix('='), step.parse::<usize>()) {
                    (Some(wanted), _) => {
                        items.into_iter().find(|at| text_of(&text[at.clone()]).as_deref() == Some(wanted))
                    }
                    (None, Ok(index)) => items.into_iter().nth(index),
                    _ => None,
                }
            }
            _ => None,
        };
        // `0` of what stands alone is that.
        let stays = inner.is_none() && step == "0";
        match inner {
            Some(inner) => found = inner,
            None if stays => {}
            None => break,
        }
    }
    Some(found)
}

/// The members of the object that begins at a byte.
fn members(text: &str, start: usize) -> Option<Vec<(String, Range<usize>)>> {
    let mut scan = Scan { text, at: start + 1 };
    let mut out = Vec::new();
    loop {
        scan.blank();
        if scan.take(b'}') {
            return Some(out);
        }
        let key = scan.at;
        let key = text_of(&text[key..scan.value()?])?;
        scan.blank();
        scan.take(b':').then_some(())?;
        scan.blank();
        let value = scan.at;
        out.push((key, value..scan.value()?));
        scan.blank();
        scan.take(b',');
    }
}

/// The items of the list that begins at a byte.
fn items(text: &str, start: usize) -> Option<Vec<Range<usize>>> {
    let mut scan = Scan { text, at: start + 1 };
    let mut out = Vec::new();
    loop {
        scan.blank();
        if scan.take(b']') {
            return Some(out);
        }
        let value = scan.at;
        out.push(value..scan.value()?);
        scan.blank();
        scan.take(b',');
    }
}

fn text_of(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// Goes through a text value by value.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl Scan<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.byte().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        let is = self.byte() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    /// Goes behind the value that begins here; gives where that is.
    fn value(&mut self) -> Option<usize> {
        let mut depth = 0_usize;
        loop {
            match self.byte()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth == 0 => return None,
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                _ if depth > 0 => self.at += 1,
                byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') => {
                    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                    while self.byte().is_some_and(is_part) {
                        self.at += 1;
                    }
                }
                _ => return None,
            }
            if depth == 0 {
                return Some(self.at);
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.byte()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'t>(text: &'t str, way: &[&str]) -> Option<&'t str> {
        let way: Vec<String> = way.iter().map(|step| (*step).to_owned()).collect();
        locate(text, &way).and_then(|at| text.get(at))
    }

    #[test]
    fn values_are_found_where_they_stand() {
        let text = r#" {"a": [1, {"b\"": "}x"}, "é"], "c": {"d": "one"}, "e": -1.5e3} "#;
        assert_eq!(found(text, &["a", "1", "b\""]), Some("\"}x\""));
        assert_eq!(found(text, &["a", "=é"]), Some("\"é\""));
        assert_eq!(found(text, &["a", "7"]), Some(r#"[1, {"b\"": "}x"}, "é"]"#), "the deepest that there is");
        assert_eq!(found(text, &["c", "0", "d", "=one"]), Some("\"one\""), "what stands alone is a list of one");
        assert_eq!(found(text, &["e"]), Some("-1.5e3"));
        assert_eq!(found(text, &["x"]), Some(text.trim()));
        for broken in ["", "}", "{\"a", "[[", "\"\\", "{1 2}", "{\"a\": é}"] {
            let _ = found(broken, &["a", "0"]);
        }
        assert_eq!(found("", &["a"]), None);
    }
}
