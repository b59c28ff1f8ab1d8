//! Progress of an apply: live on a terminal, a line for each event elsewhere, JSON where asked for.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::render::{duration, json, short_id, step_words, style};
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
    spacer: ProgressBar,
    total: ProgressBar,
    running: Vec<Running>,
    colors: bool,
}

/// A step that runs.
struct Running {
    address: Address,
    since: Instant,
    message: String,
    /// Where it is shown; nowhere while as many as fit are.
    bar: Option<ProgressBar>,
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
        let steps: u64 = plan.changing().map(|a| if a.action == Verb::Replace && !a.keeps_old { 2 } else { 1 }).sum();
        let colors = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let bars = MultiProgress::new();
        // The terminal's echo of Ctrl-C moves the cursor down, and then the topmost line is left behind: an empty one.
        let spacer = bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            spacer.set_style(style);
        }
        spacer.set_message(" ");
        let total = bars.add(ProgressBar::new(steps));
        let template =
            if colors { "[{bar:20.green/dim}] {pos}/{len} {elapsed:.dim}" } else { "[{bar:20}] {pos}/{len} {elapsed}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            total.set_style(style.progress_chars("━━─"));
        }
        if steps == 0 {
            total.finish_and_clear();
            spacer.finish_and_clear();
        }
        Self::Live(Live { bars, spacer, total, running: Vec::new(), colors })
    }

    /// Shows an event.
    pub fn take(&mut self, event: &Event) {
        match self {
            Self::Json => outln!("{}", json::event(event)),
            Self::Lines { waits } => {
                if let Event::Waiting { address, what } = event
                    && waits.insert(address.clone(), what.clone()).as_ref() == Some(what)
                {
                    return;
                }
                if let Some(line) = line(event, false) {
                    errln!("{line}");
                }
            }
            Self::Live(live) => live.take(event),
        }
    }

    /// Takes the bars away.
    pub fn end(&mut self) {
        if let Self::Live(live) = self {
            live.running.iter().filter_map(|step| step.bar.as_ref()).for_each(ProgressBar::finish_and_clear);
            live.total.finish_and_clear();
            live.spacer.finish_and_clear();
        }
    }
}

/// An event as a line. Ids are whole where the line is likely to be kept, and short on a terminal.
fn line(event: &Event, is_terminal: bool) -> Option<String> {
    Some(match event {
        Event::Started { address, step } => format!("  {address}: {} …", step_words(*step).0),
        Event::Waiting { address, what } => format!("  {address}: waiting: {what}"),
        Event::News { address, line } => format!("  {address}: {line}"),
        Event::Done { address, step, id, elapsed } => {
            let id = if is_terminal { short_id(id) } else { id.as_str() };
            let id = if id.is_empty() { String::new() } else { format!(" ({id})") };
            format!("{} {address}: {}{id} in {}", style::good("✓"), step_words(*step).1, duration(*elapsed))
        }
        Event::Failed { address, step, error } => {
            // The rest stands in the report.
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            format!("{} {address}: {} failed: {first}", style::bad("✗"), step_words(*step).0)
        }
        Event::Skipped { .. } => return None,
        Event::Stopping { in_flight: 0 } => style::note("stopping: no call is under way"),
        Event::Stopping { in_flight } => {
            let calls = super::render::plural(*in_flight, "call", "calls");
            style::note(&format!("stopping: waiting for {calls} under way; interrupt again to leave at once"))
        }
    })
}

impl Live {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Started { address, step } => {
                let message = format!("{address} {}", step_words(*step).0);
                self.running.push(Running { address: address.clone(), since: Instant::now(), message, bar: None });
                self.fill();
            }
            Event::Waiting { address, what } => {
                if let Some(step) = self.running.iter_mut().find(|step| step.address == *address) {
                    let doing = step.message.split(", waiting: ").next().unwrap_or_default();
                    step.message = format!("{doing}, waiting: {what}");
                    if let Some(bar) = &step.bar {
                        bar.set_message(step.message.clone());
                    }
                }
            }
            Event::Done { address, .. } | Event::Failed { address, .. } => {
                if let Some(at) = self.running.iter().position(|step| step.address == *address) {
                    let step = self.running.remove(at);
                    step.bar.iter().for_each(ProgressBar::finish_and_clear);
                }
                self.total.inc(1);
                self.print(event);
                self.fill();
            }
            Event::Skipped { .. } => self.total.inc(1),
            Event::News { .. } | Event::Stopping { .. } => self.print(event),
        }
    }

    /// Shows what runs longest, as far as there is room.
    fn fill(&mut self) {
        let shown = self.running.iter().filter(|step| step.bar.is_some()).count();
        let colors = self.colors;
        let template =
            if colors { "  {spinner:.cyan} {elapsed:.dim} {wide_msg}" } else { "  {spinner} {elapsed} {wide_msg}" };
        for step in self.running.iter_mut().filter(|step| step.bar.is_none()).take(SHOWN.saturating_sub(shown)) {
            let bar = ProgressBar::new_spinner().with_elapsed(step.since.elapsed());
            let bar = self.bars.insert_before(&self.total, bar);
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(step.message.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            step.bar = Some(bar);
        }
    }

    fn print(&self, event: &Event) {
        if let Some(line) = line(event, true) {
            let line = if self.colors { line } else { anstream::adapter::strip_str(&line).to_string() };
            let _ = self.bars.println(line);
        }
    }
}
