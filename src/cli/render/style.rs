//! Styles. Everything printed passes through anstream, which takes them out again where there is no terminal.

use anstyle::{AnsiColor, Style};

/// What is created, and what went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is changed.
pub const CHANGED: Style = AnsiColor::Yellow.on_default();
/// What is deleted, and what went wrong.
pub const BAD: Style = AnsiColor::Red.on_default();
/// What is made anew.
pub const ANEW: Style = AnsiColor::Magenta.on_default();
/// What is said beside the point.
pub const FAINT: Style = Style::new().dimmed();
/// What to look at.
pub const STRONG: Style = Style::new().bold();

/// Text in a style.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Something went well.
pub fn good(text: &str) -> String {
    paint(GOOD.bold(), text)
}

/// Something went wrong.
pub fn bad(text: &str) -> String {
    paint(BAD.bold(), text)
}

/// The word before a hint.
pub fn hint(text: &str) -> String {
    paint(AnsiColor::Cyan.on_default(), text)
}

/// Something to look at.
pub fn strong(text: &str) -> String {
    paint(STRONG, text)
}

/// Something beside the point.
pub fn faint(text: &str) -> String {
    paint(FAINT, text)
}

/// A line that tells of something the user did not ask about.
pub fn note(text: &str) -> String {
    format!("{}: {text}", paint(AnsiColor::Cyan.on_default(), "note"))
}
