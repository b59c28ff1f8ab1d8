//! Tables as people read them.

use std::fmt::Write as _;

use super::style;

/// Rows below their heads, aligned; the last column is as wide as it likes. A column without anything in it is left out.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| anstream::adapter::strip_str(text).to_string().chars().count();
    let filled = |column: &usize| rows.iter().any(|row| row.get(*column).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<usize> = (0..heads.len()).filter(filled).collect();
    let mut text = String::new();
    let mut line = |cells: &dyn Fn(usize) -> String, dim: bool| {
        let mut shown = String::new();
        for (at, column) in columns.iter().enumerate() {
            let cell = cells(*column);
            let most = rows.iter().filter_map(|row| row.get(*column)).map(|cell| width(cell)).max().unwrap_or(0);
            let pad = most.max(heads[*column].len()).saturating_sub(width(&cell));
            let gap = if at + 1 == columns.len() { 0 } else { pad + 2 };
            let _ = write!(shown, "{cell}{}", " ".repeat(gap));
        }
        let shown = shown.trim_end();
        let _ = if dim { writeln!(text, "{}", style::faint(shown)) } else { writeln!(text, "{shown}") };
    };
    if rows.is_empty() {
        return text;
    }
    line(&|column| heads[column].to_owned(), true);
    for row in rows {
        line(&|column| row.get(column).cloned().unwrap_or_default(), false);
    }
    text
}
