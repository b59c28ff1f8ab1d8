//! Progress of an apply: live on a terminal, a line for each event elsewhere, JSON where asked for.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::render::{duration, json, step_words, style};
use crate::apply::Event;
use crate::graph::Address;
use crate::plan::{Plan, Verb};

/// How many running steps are shown at once; more would scroll the screen.
const SHOWN: usize = 12;

/// Shows an apply while it goes on.
pub enum Progress {
    /// JSON lines on stdout.
    Json,
    /// Plain lines on stderr.
    Lines {
        /// What each step last waited for, so that each wait is told once.
        waits: HashMap<Address, String>,
    },
    /// Bars on a terminal.
    Live(Live),
}

/// Bars on a terminal.
pub struct Live {
    bars: MultiProgress,
    total: ProgressBar,
    running: HashMap<Address, ProgressBar>,
    names: HashMap<Address, &'static str>,
}

impl Progress {
    /// Progress of this plan.
    pub fn new(as_json: bool, plan: &Plan) -> Self {
        if as_json {
            return Self::Json;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { waits: HashMap::new() };
        }
        let steps: u64 = plan.changing().map(|a| if a.action == Verb::Replace { 2 } else { 1 }).sum();
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(steps));
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise:.dim} [{bar:30.green/dim}] {pos}/{len}") {
            total.set_style(style.progress_chars("━━─"));
        }
        if steps == 0 {
            total.finish_and_clear();
        }
        Self::Live(Live { bars, total, running: HashMap::new(), names: HashMap::new() })
    }

    /// Shows an event.
    pub fn take(&mut self, event: &Event) {
        match self {
            Self::Json => println!("{}", json::event(event)),
            Self::Lines { waits } => {
                if let Event::Waiting { address, what } = event {
                    if waits.insert(address.clone(), what.clone()).as_ref() == Some(what) {
                        return;
                    }
                }
                if let Some(line) = line(event) {
                    anstream::eprintln!("{line}");
                }
            }
            Self::Live(live) => live.take(event),
        }
    }

    /// Takes the bars away.
    pub fn end(&mut self) {
        if let Self::Live(live) = self {
            live.running.values().for_each(ProgressBar::finish_and_clear);
            live.total.finish_and_clear();
        }
    }
}

/// An event as a line.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { address, step } => format!("  {address}: {} …", step_words(*step).0),
        Event::Waiting { address, what } => format!("  {address}: waiting: {what}"),
        Event::Done { address, step, id, elapsed } => {
            let id = if id.is_empty() { String::new() } else { format!(" ({id})") };
            format!("{} {address}: {}{id} in {}", style::good("✓"), step_words(*step).1, duration(*elapsed))
        }
        Event::Failed { address, step, error } => {
            format!("{} {address}: {} failed: {error}", style::bad("✗"), step_words(*step).0)
        }
        Event::Skipped { .. } => return None,
        Event::Stopping { in_flight } => {
            let calls = super::render::plural(*in_flight, "call", "calls");
            style::note(&format!("stopping: {calls} under way are finished; interrupt again to leave at once"))
        }
    })
}

impl Live {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Started { address, step } => {
                let doing = step_words(*step).0;
                self.names.insert(address.clone(), doing);
                if self.running.len() < SHOWN {
                    let bar = self.bars.insert_before(&self.total, ProgressBar::new_spinner());
                    if let Ok(style) = ProgressStyle::with_template("  {spinner:.cyan} {msg} {elapsed:.dim}") {
                        bar.set_style(style);
                    }
                    bar.set_message(format!("{address} {doing}"));
                    bar.enable_steady_tick(Duration::from_millis(120));
                    self.running.insert(address.clone(), bar);
                }
            }
            Event::Waiting { address, what } => {
                if let Some(bar) = self.running.get(address) {
                    let doing = self.names.get(address).copied().unwrap_or_default();
                    bar.set_message(format!("{address} {doing}, waiting: {what}"));
                }
            }
            Event::Done { address, .. } | Event::Failed { address, .. } => {
                if let Some(bar) = self.running.remove(address) {
                    bar.finish_and_clear();
                }
                self.total.inc(1);
                self.print(event);
            }
            Event::Skipped { .. } => self.total.inc(1),
            Event::Stopping { .. } => self.print(event),
        }
    }

    fn print(&self, event: &Event) {
        if let Some(line) = line(event) {
            let _ = self.bars.println(line);
        }
    }
}
