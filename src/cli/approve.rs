//! Approval: a plan is carried out once somebody has seen it.

use std::io::{BufRead, IsTerminal};

use super::failure::Failure;
use super::render::style;

/// Asks on a terminal, unless it is approved already. Without a terminal `--yes` is needed.
///
/// # Errors
/// Where there is nobody to ask.
pub fn approve(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(
            Failure::new("there is no terminal to ask on").help("look at the plan and run this again with --yes")
        );
    }
    err!("\n{} Only `yes` is taken as one: ", style::strong(question));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if !line.ends_with('\n') {
        // Ctrl-D leaves the cursor behind the question.
        errln!();
    }
    Ok(read.is_ok() && line.trim() == "yes")
}
