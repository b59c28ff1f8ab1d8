//! What is wrong with a stack: collected while it is read, told at the end, in the order of the text.

use std::fmt;
use std::sync::Arc;

use miette::{LabeledSpan, NamedSource, SourceCode};

use super::source::{Origin, Place, Sources};
pub use crate::words::nearest;

/// One thing that is wrong, with its place and what to do about it.
#[derive(Debug)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The file; `None` where the mistake is in no file (a variable given on the command line).
    pub file: Option<String>,
    /// The line, from 1; 0 without a file.
    pub line: usize,
    /// The column in characters, from 1; 0 without a file.
    pub column: usize,
    source: Option<NamedSource<Arc<str>>>,
    labels: Vec<LabeledSpan>,
}

impl Diagnostic {
    /// What there is to say and where, on one line.
    pub fn line(&self) -> String {
        match &self.file {
            Some(file) => format!("{} ({file}:{})", self.message, self.line),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty())
            .then(|| Box::new(self.labels.iter().cloned()) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// Everything that is wrong with a stack, in the order of its text.
#[derive(Debug)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Diagnostics {
    /// A line each: `file:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, one) in self.0.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            if let Some(file) = &one.file {
                write!(f, "{file}:{}:{}: ", one.line, one.column)?;
            }
            f.write_str(&one.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A diagnostic before its places are looked up.
#[derive(Debug, Clone)]
pub struct Finding {
    message: String,
    help: Option<String>,
    places: Vec<(Place, Option<String>)>,
    /// Where its place is a document, the way into that.
    inside: Vec<String>,
    /// What to do instead where the value comes from a variable, `{}` for its name.
    help_for_variable: Option<String>,
}

impl Finding {
    /// What is wrong at a place.
    pub fn at(place: Place, message: impl Into<String>) -> Self {
        Self { places: vec![(place, None)], ..Self::nowhere(message) }
    }

    /// What is wrong in no file.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, places: Vec::new(), inside: Vec::new(), help_for_variable: None }
    }

    /// With what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With what to do, where that is known.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// With what to do where the value comes from a variable; `{}` stands for its name.
    pub fn help_for_variable(mut self, help: Option<String>) -> Self {
        self.help_for_variable = help;
        self
    }

    /// Inside the document at its place.
    pub fn inside(mut self, way: &[String]) -> Self {
        self.inside = way.to_vec();
        self
    }

    /// With words at its place.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some((_, text)) = self.places.first_mut() {
            *text = Some(label.into());
        }
        self
    }

    /// With a second place that has to do with it.
    pub fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.places.push((place, Some(label.into())));
        self
    }
}

/// Collects findings.
#[derive(Debug, Default)]
pub struct Report {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Report {
    /// An error.
    pub fn error(&mut self, finding: Finding) {
        self.errors.push(finding);
    }

    /// Something worth knowing.
    pub fn warning(&mut self, finding: Finding) {
        self.warnings.push(finding);
    }

    /// Everything that another report collected.
    pub fn append(&mut self, other: Report) {
        self.errors.extend(other.errors);
        self.warnings.extend(other.warnings);
    }

    /// What another report collected and this one does not say yet, at whatever place.
    pub fn append_new(&mut self, other: Report) {
        let new = other.errors.into_iter().filter(|one| self.errors.iter().all(|known| known.message != one.message));
        let new: Vec<Finding> = new.collect();
        self.errors.extend(new);
        self.warnings.extend(other.warnings);
    }

    /// Whether there is an error already about something at the place of this one.
    pub fn is_told_within(&self, finding: &Finding) -> bool {
        let first = |finding: &Finding| finding.places.first().map(|(place, _)| *place);
        let Some(whole) = first(finding) else { return false };
        let is_within = |place: Place| place.file == whole.file && whole.start <= place.start && place.end <= whole.end;
        self.errors.iter().filter_map(first).any(is_within)
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.errors.len()
    }

    /// Errors and warnings with their places looked up, each sorted by file and place.
    pub fn told(self, sources: &Sources) -> (Diagnostics, Vec<Diagnostic>) {
        (Diagnostics(tell(self.errors, sources)), tell(self.warnings, sources))
    }
}

fn tell(mut findings: Vec<Finding>, sources: &Sources) -> Vec<Diagnostic> {
    for finding in findings.iter_mut().filter(|finding| !finding.inside.is_empty()) {
        if let Some((place, _)) = finding.places.first_mut() {
            *place = sources.inside(*place, &finding.inside);
        }
    }
    findings.iter_mut().for_each(|finding| tell_origin(finding, sources));
    findings.sort_by(|a, b| {
        (a.places.first().map(|(place, _)| place), &a.message)
            .cmp(&(b.places.first().map(|(place, _)| place), &b.message))
    });
    findings.dedup_by(|b, a| a.message == b.message && a.places.first() == b.places.first());
    findings.into_iter().map(|finding| diagnostic(finding, sources)).collect()
}

/// A value that comes from a variable is wrong where the variable has it from.
fn tell_origin(finding: &mut Finding, sources: &Sources) {
    let Some((place, label)) = finding.places.first_mut() else { return };
    // What is wrong with the variable itself is told where it is declared.
    if sources.variables.values().any(|origin| *origin == Origin::Default(*place)) {
        return;
    }
    let Some((name, origin)) = sources.variable(*place) else { return };
    if let (Some(help), Some(Origin::Given(_))) = (finding.help_for_variable.take(), origin) {
        finding.help = Some(help.replace("{}", name));
    }
    match origin {
        Some(Origin::Given(how)) if label.is_none() => *label = Some(format!("{how} gives it")),
        Some(Origin::Default(default)) if label.is_none() => {
            let default = *default;
            finding.places.push((default, Some(format!("the value of `{name}`"))));
        }
        _ => {}
    }
}

fn diagnostic(finding: Finding, sources: &Sources) -> Diagnostic {
    let Finding { message, help, places, .. } = finding;
    let Some(&(first, _)) = places.first() else {
        return Diagnostic { message, help, file: None, line: 0, column: 0, source: None, labels: Vec::new() };
    };
    let (line, column) = sources.position(first);
    let name = sources.name(first.file);
    let labels = places
        .into_iter()
        .filter(|(place, _)| place.file == first.file)
        .enumerate()
        .map(|(position, (place, label))| {
            let place = sources.first_line(place);
            let span = place.start..place.end;
            match position {
                0 => LabeledSpan::new_primary_with_span(label, span),
                _ => LabeledSpan::new_with_span(label, span),
            }
        })
        .collect();
    Diagnostic {
        message,
        help,
        file: Some(name.to_owned()),
        line,
        column,
        source: Some(NamedSource::new(name, sources.text(first.file))),
        labels,
    }
}

/// Help that names the nearest candidate, or, where none is near, all of them.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, all: &str) -> Option<String> {
    let mut candidates: Vec<&str> = candidates.into_iter().collect();
    candidates.sort_unstable();
    candidates.dedup();
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => Some(format!("did you mean `{candidate}`?")),
        None if candidates.is_empty() => None,
        None => Some(format!("{all}: {}", list(candidates))),
    }
}

/// Words as a list for people: `a, b, c`; long lists are cut.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 24;
    let words: Vec<&str> = words.into_iter().collect();
    let mut text = words.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if words.len() > SHOWN {
        text.push_str(&format!(" and {} more", words.len() - SHOWN));
    }
    text
}
