//! Errors as the user sees them: what is wrong, where, and what to do.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::apply::SettleError;
use crate::aws::ConnectError;
use crate::cloud::{CloudError, ErrorClass};
use crate::plan::{FORMAT_VERSION, PlanError, SavedError};
use crate::stack::{Diagnostic, Diagnostics};
use crate::state::StateError;

use super::options::in_hints;
use super::render::style;

/// A verb that failed.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: Option<String>,
    /// Whether the message is laid out already and needs no `error:` before it.
    laid_out: bool,
    /// Of several things that are wrong, each by itself, for programs.
    things: Vec<Value>,
}

/// What a verb gives.
pub type Outcome = Result<ExitCode, Failure>;

impl Failure {
    /// An error with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, laid_out: false, things: Vec::new() }
    }

    /// The same with what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prints it to stderr, for programs also to stdout as JSON, and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        let help = self.help.as_deref().map(in_hints);
        if json {
            let things = match self.things.as_slice() {
                [] => vec![json!({ "message": self.message, "help": help })],
                things => things.iter().cloned().map(with_stack).collect(),
            };
            let message = match things.as_slice() {
                [one] => one["message"].clone(),
                many => format!("{} things are wrong", many.len()).into(),
            };
            let help = match things.as_slice() {
                [one] => one["help"].clone(),
                _ => Value::Null,
            };
            let error = json!({ "message": message, "help": help, "things": things });
            outln!("{}", json!({ "format_version": FORMAT_VERSION, "error": error }));
        }
        let mut text = String::new();
        if self.laid_out {
            text.push_str(&in_hints(&self.message));
        } else {
            let _ = writeln!(text, "{}: {}", style::bad("error"), self.message);
        }
        if let Some(help) = &help {
            let _ = writeln!(text, "  {}: {help}", style::hint("help"));
        }
        err!("{text}");
        ExitCode::FAILURE
    }
}

/// One of several things that are wrong, with the stack in its hint.
fn with_stack(mut thing: Value) -> Value {
    if let Some(help) = thing["help"].as_str().map(in_hints) {
        thing["help"] = help.into();
    }
    thing
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        let things = diagnostics.iter().map(|one| {
            let Diagnostic { message, help, file, line, column, .. } = one;
            json!({ "message": message, "help": help, "file": file, "line": line, "column": column })
        });
        let things = things.collect();
        let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self { laid_out: true, things, ..Self::new(super::render::diagnostics(&diagnostics, color)) }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new(error.to_string()).help(error.remedy())
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        Self::new(error.to_string()).help(error.remedy())
    }
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Cloud(error) => error.into(),
            SettleError::State(error) => error.into(),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = error.to_string();
        let ConnectError::Identity(cause) = error;
        let help = match cause.class {
            ErrorClass::Denied => format!("{}; or use --cloud local, which needs no account", cause.remedy()),
            _ => cause.remedy(),
        };
        Self::new(message).help(help)
    }
}

impl From<SavedError> for Failure {
    fn from(error: SavedError) -> Self {
        Self::new(error.to_string()).help(error.remedy())
    }
}

impl From<Vec<PlanError>> for Failure {
    fn from(errors: Vec<PlanError>) -> Self {
        match errors.as_slice() {
            [one] => Self::new(one.to_string()).help(one.remedy()),
            many => {
                let mut text = String::new();
                for error in many {
                    let _ = writeln!(text, "{}: {error}", style::bad("error"));
                    let _ = writeln!(text, "  {}: {}", style::hint("help"), error.remedy());
                }
                let things = many.iter().map(|error| json!({ "message": error.to_string(), "help": error.remedy() }));
                Self { laid_out: true, things: things.collect(), ..Self::new(text) }
            }
        }
    }
}

impl From<crate::local::LocalError> for Failure {
    fn from(error: crate::local::LocalError) -> Self {
        let help = error.help();
        Self::new(error.to_string()).help(help)
    }
}
