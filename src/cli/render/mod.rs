//! What people and programs see: the same plans and events as text and as JSON.

mod changes;
pub mod history;
pub mod json;
pub mod plan;
pub mod recovered;
pub mod rehearsal;
pub mod style;
pub mod table;
mod value;

use std::fmt::Write as _;

use super::options::in_hints;
use crate::apply::{Report, StepName};
use crate::graph::Address;
use crate::stack::Diagnostics;

pub use value::inline;

/// Everything that is wrong in a stack, each with its place and what to do.
pub fn diagnostics(diagnostics: &Diagnostics, color: bool) -> String {
    let theme = match color {
        true => miette::GraphicalTheme::unicode(),
        false => miette::GraphicalTheme::unicode_nocolor(),
    };
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    let mut text = String::new();
    for diagnostic in diagnostics.iter() {
        let _ = handler.render_report(&mut text, diagnostic);
    }
    let count = diagnostics.iter().count();
    let _ = writeln!(text, "{}: {}", style::bad("error"), plural(count, "thing is wrong", "things are wrong"));
    text
}

/// `1 thing is wrong`, `2 things are wrong`.
pub fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What a step is called while it runs and when it is done.
pub fn step_words(step: StepName) -> (&'static str, &'static str) {
    match step {
        StepName::Create => ("creating", "created"),
        StepName::Replace => ("replacing", "replaced"),
        StepName::Update => ("updating", "updated"),
        StepName::Delete => ("deleting", "deleted"),
        StepName::Read => ("reading", "read"),
    }
}

/// How an apply ended: what failed and what to do, what was left, and the counts.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    for (address, step, error) in &report.failed {
        let (doing, _) = step_words(*step);
        let _ = writeln!(text, "\n{}: {doing} {}", style::bad("error"), style::strong(address.as_str()));
        for (index, line) in error.to_string().lines().enumerate() {
            let _ = writeln!(text, "{}{line}", if index == 0 { "  " } else { "    " });
        }
        let _ = writeln!(text, "  {}: {}", style::hint("help"), in_hints(&error.remedy()));
    }
    if !report.skipped.is_empty() {
        let _ = writeln!(text, "\nNot begun, because of that: {}", addresses(&report.skipped));
    }
    if !report.left.is_empty() {
        let _ = writeln!(text, "\nLeft for the next run: {}", addresses(&report.left));
    }
    let counts = [
        (report.created, "created"),
        (report.updated, "updated"),
        (report.replaced, "replaced"),
        (report.deleted, "deleted"),
        (report.failed.len(), "failed"),
    ];
    let told: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let what = if told.is_empty() { "nothing changed".to_owned() } else { told.join(", ") };
    let head = if report.is_complete() { style::good("Done") } else { style::bad("Not done") };
    let _ = writeln!(text, "\n{head}: {what} in {}.", duration(report.elapsed));
    text
}

fn addresses(list: &[Address]) -> String {
    const SHOWN: usize = 8;
    let mut text = list.iter().take(SHOWN).map(Address::as_str).collect::<Vec<_>>().join(", ");
    if list.len() > SHOWN {
        let _ = write!(text, " and {} more", list.len() - SHOWN);
    }
    text
}

/// An id as it is short to say: of an ARN, whose other parts the address and the stack tell, the last one.
pub fn short_id(id: &str) -> &str {
    let resource = id.starts_with("arn:").then(|| id.splitn(6, ':').nth(5)).flatten().unwrap_or(id);
    match resource.rsplit_once('/').or_else(|| resource.rsplit_once(':')) {
        Some((_, last)) if id.starts_with("arn:") && !last.is_empty() => last,
        _ => resource,
    }
}

/// A duration as people say it: `0.4s`, `12s`, `2m 05s`.
pub fn duration(elapsed: std::time::Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", elapsed.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        _ => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

/// The stack's outputs, aligned.
pub fn outputs<'a>(outputs: impl Iterator<Item = (&'a String, &'a serde_json::Value)> + Clone) -> String {
    let width = outputs.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in outputs {
        let _ = writeln!(text, "  {name:width$} = {}", inline(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_where_they_are_arns() {
        let elb = "arn:aws:elasticloadbalancing:eu-west-2:123456789012";
        let ids = [
            (format!("{elb}:loadbalancer/app/web/50dc6c495c0c9188"), "50dc6c495c0c9188"),
            (
                format!("{elb}:listener-rule/app/web/50dc6c495c0c9188/0467ef3c8400ae65/9683b2d02a6cabee"),
                "9683b2d02a6cabee",
            ),
            ("arn:aws:ecs:eu-west-2:123456789012:task-definition/web:3".to_owned(), "web:3"),
            ("arn:aws:sns:eu-west-2:123456789012:alarms".to_owned(), "alarms"),
            ("arn:aws:secretsmanager:eu-west-2:123456789012:secret:web-AbCdEf".to_owned(), "web-AbCdEf"),
            ("arn:aws:iam::123456789012:policy/web".to_owned(), "web"),
            ("vpc-0a1b2c3d".to_owned(), "vpc-0a1b2c3d"),
            ("service/main/web".to_owned(), "service/main/web"),
            ("/ecs/web".to_owned(), "/ecs/web"),
            ("arn:".to_owned(), "arn:"),
        ];
        for (id, short) in &ids {
            assert_eq!(short_id(id), *short, "{id}");
        }
    }
}
