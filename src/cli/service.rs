//! What the verbs on services share: which service is meant, who acts, plans of single values.

use std::process::ExitCode;

use serde_json::Value;

use super::apply::{RunOptions, carry_out};
use super::failure::{Failure, Outcome};
use super::options::{LockOptions, StackOptions};
use super::session::{Session, holder};
use crate::aws::Aws;
use crate::graph::{Address, Attributes};
use crate::plan::{GivenValue, at_path, same};
use crate::services::{self, NotFound, Service};
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

/// A stack's cloud and state, to look at: no lock is taken.
pub struct ReadSession {
    /// The cloud, and which stack it is.
    pub session: Session,
    /// What the state holds.
    pub state: State,
}

impl ReadSession {
    /// Opens both.
    ///
    /// # Errors
    /// Where the stack was never applied, or the cloud does not answer.
    pub async fn open(options: &StackOptions) -> Result<Self, Failure> {
        let session = Session::open_state(options).await?;
        match session.peek().await? {
            Some(state) => Ok(Self { session, state }),
            None => Err(Failure::new("this stack was not applied here yet")
                .help(format!("`{}` makes what it describes", options.command("apply")))),
        }
    }

    /// How AWS is called.
    pub fn aws(&self) -> &Aws {
        self.session.cloud.aws()
    }

    /// The service that is meant.
    ///
    /// # Errors
    /// Where that is none, or more than one.
    pub fn service(&self, named: &str) -> Result<Service<'_>, Failure> {
        Ok(services::find(&self.state, named)?)
    }

    /// The service that is named, or all of them.
    ///
    /// # Errors
    /// Where there is none.
    pub fn services(&self, named: Option<&str>) -> Result<Vec<Service<'_>>, Failure> {
        let all = services::all(&self.state);
        match named {
            Some(named) => Ok(vec![self.service(named)?]),
            None if all.is_empty() => {
                Err(Failure::new("the state holds no service").help("apply a stack that has one"))
            }
            None => Ok(all),
        }
    }
}

/// A stack of which one service is changed: its state is locked.
pub struct LockedSession {
    /// The cloud, and what the stack says.
    pub session: Session,
    /// The state.
    pub writer: Writer,
    verb: &'static str,
}

impl LockedSession {
    /// Reads the stack, and locks its state for a verb.
    ///
    /// # Errors
    /// What is wrong in the stack, or why its state cannot be written.
    pub async fn open(options: &StackOptions, verb: &'static str, lock: &LockOptions) -> Result<Self, Failure> {
        let session = Session::open(options).await?;
        let writer = session.lock(verb, lock).await?;
        Ok(Self { session, writer, verb })
    }

    /// What the state holds.
    pub fn state(&self) -> &State {
        self.writer.state()
    }

    /// The service that is meant.
    ///
    /// # Errors
    /// Where that is none, or more than one.
    pub fn service(&self, named: &str) -> Result<Service<'_>, Failure> {
        Ok(services::find(self.state(), named)?)
    }

    /// A value that is given by this verb: held from now on, but where the stack says the same.
    ///
    /// # Errors
    /// What is wrong in the stack.
    pub fn gives(&self, address: &Address, path: &str, value: Value) -> Result<GivenValue, Failure> {
        let graph = self.session.graph(Some(self.state()))?;
        let stack = graph.get(address).and_then(|resource| at_path(&resource.attributes, path));
        let held = match stack {
            Some(said) if same(said, &value) => None,
            _ => Some(held(self.verb, value.clone())),
        };
        Ok(GivenValue { address: address.clone(), path: path.to_owned(), value: Some(value), held })
    }

    /// Plans these values for these resources alone, asks, and applies.
    ///
    /// # Errors
    /// As of an apply.
    pub async fn put(
        self,
        targets: &[Address],
        values: &[GivenValue],
        change: impl FnMut(&Address, &mut Attributes),
        how: &RunOptions,
    ) -> Outcome {
        let plan = self.session.plan_given(self.writer.state(), targets, values, change).await?;
        carry_out(&self.session, self.writer, &plan, how, false, self.verb).await
    }
}

/// Ends a verb that only looked.
pub fn done() -> Outcome {
    Ok(ExitCode::SUCCESS)
}

/// A value, held by a verb from now on.
pub fn held(verb: &str, value: Value) -> HeldValue {
    let holder = holder(verb);
    HeldValue { value, by: verb.to_owned(), who: format!("{}@{}", holder.user, holder.host), at: holder.since }
}
