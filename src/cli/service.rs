//! What the verbs on services share: which service is meant, who acts, plans of single values.

use std::process::ExitCode;

use super::apply::{RunOptions, carry_out};
use super::failure::{Failure, Outcome};
use super::options::StackOptions;
use super::session::{Session, holder};
use crate::graph::{Address, Attributes};
use crate::plan::GivenValue;
use crate::services::NotFound;
use crate::state::{HeldValue, State, Writer};

/// Which service of which stack.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceOptions {
    #[command(flatten)]
    pub stack: StackOptions,

    /// The service: its address, the block that it stands below, or its name where only one has it
    pub service: String,
}

impl From<NotFound> for Failure {
    fn from(error: NotFound) -> Self {
        Self::new(error.to_string()).help(error.remedy())
    }
}

/// The stack's cloud and state, to look at: no lock is taken.
///
/// # Errors
/// Where the stack was never applied, or the cloud does not answer.
pub async fn look(options: &StackOptions) -> Result<(Session, State), Failure> {
    let session = Session::open_state(options).await?;
    match session.peek().await? {
        Some(state) => Ok((session, state)),
        None => Err(Failure::new("this stack was not applied here yet")
            .help(format!("`{}` makes what it describes", options.command("apply")))),
    }
}

/// A value, held by a verb from now on.
pub fn held(verb: &str, value: serde_json::Value) -> HeldValue {
    let holder = holder(verb);
    HeldValue { value, by: verb.to_owned(), who: format!("{}@{}", holder.user, holder.host), at: holder.since }
}

/// Plans these values for these resources alone, asks, and applies.
///
/// # Errors
/// As of an apply.
pub async fn put(
    session: &Session,
    writer: Writer,
    (targets, values): (&[Address], &[GivenValue]),
    change: impl FnMut(&Address, &mut Attributes),
    how: &RunOptions,
    verb: &str,
) -> Outcome {
    let plan = session.plan_given(writer.state(), targets, values, change).await?;
    carry_out(session, writer, &plan, how, false, verb).await
}

/// Ends a verb that only looked.
pub fn done() -> Outcome {
    Ok(ExitCode::SUCCESS)
}
