//! Settling: what an earlier run was about to do when it died is looked up, once, before anything else is done.

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::ledger::Ledger;
use crate::cloud::{Cloud, CloudError, CreateRequest, FIRST_PAUSE, Known, Lost, Observed, longer};
use crate::graph::{Address, Identity};
use crate::plan::refresh;
use crate::state::{Intent, Operation, Record, State, StateError};

/// What became of one unresolved intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The resource.
    pub address: Address,
    /// What was about to be done.
    pub operation: Operation,
    /// The id of what was found, where a create had its effect.
    pub found: Option<String>,
}

impl Settled {
    /// One line for the user.
    pub fn sentence(&self) -> String {
        let address = &self.address;
        match (self.operation, &self.found) {
            (Operation::Create, Some(id)) => format!("{address}: an interrupted run created {id}; it is adopted"),
            (Operation::Create, None) => format!("{address}: an interrupted run had not created it yet"),
            (Operation::Update, _) => {
                format!("{address}: an interrupted run was updating it; what it changed is changed again")
            }
            (Operation::Delete, _) => format!("{address}: an interrupted run was deleting it; it is looked up again"),
        }
    }
}

/// Looks up every unresolved intent, all at once, and notes what became of it: a create that had its effect is adopted, a
/// delete that had is noted. What an update changed is kept in mind, and changed again: not all of it can be read back.
///
/// # Errors
/// Where the cloud does not answer; the intents then stay unresolved.
pub async fn settle(cloud: &dyn Cloud, ledger: &mut dyn Ledger) -> Result<Vec<Settled>, SettleError> {
    let intents = ledger.state().unresolved.clone();
    let state = ledger.state();
    let became = try_join_all(intents.iter().map(|intent| async move {
        Ok::<_, CloudError>(match intent.operation {
            Operation::Create => Became::Found(find(cloud, intent).await?),
            Operation::Update => Became::HalfDone,
            Operation::Delete => match known(state, intent) {
                Some(known) => {
                    // It may never have been sent, and a read may lag behind: gone is what stays away.
                    let read = refresh::read(cloud, intent.address.kind(), &[(&known, true)]).await?;
                    if read.into_iter().flatten().next().is_some() { Became::Unclear } else { Became::Gone(known.id) }
                }
                None => Became::Unclear,
            },
        })
    }))
    .await?;
    let mut out = Vec::new();
    for (intent, became) in intents.into_iter().zip(became) {
        let mut settled = Settled { address: intent.address.clone(), operation: intent.operation, found: None };
        let mut record = Record::Settled { number: intent.number };
        match became {
            Became::HalfDone => record = Record::HalfDone { number: intent.number },
            Became::Found(Some(observed)) => {
                settled.found = Some(observed.id.clone());
                adopt(ledger, &intent, observed);
            }
            Became::Gone(id) => ledger.note(Record::Remove { address: intent.address, id }),
            Became::Found(None) | Became::Unclear => {}
        }
        ledger.note(record);
        out.push(settled);
    }
    ledger.sync()?;
    Ok(out)
}

/// What became of an intent.
enum Became {
    /// What a create made, if anything.
    Found(Option<Observed>),
    /// What a delete deleted, by its id.
    Gone(String),
    /// To be seen by the refresh.
    Unclear,
    /// An update, of which the refresh need not see everything.
    HalfDone,
}

/// Why unresolved intents are not settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The cloud did not answer.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// What was found cannot be written down.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Finds what a create made. What was made just before the run died may not be shown yet, and must not be made twice.
async fn find(cloud: &dyn Cloud, intent: &Intent) -> Result<Option<Observed>, CloudError> {
    let request = CreateRequest {
        address: intent.address.clone(),
        token: intent.token.clone(),
        attributes: intent.attributes.clone(),
    };
    let kind = intent.address.kind();
    let lost = Lost { request };
    let is_natural = cloud.spec(kind).is_some_and(|spec| spec.identity == Identity::Natural);
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let found = cloud.find(kind, &lost).await?;
        if found.is_some() || is_natural || began.elapsed() >= cloud.visibility() {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

fn known(state: &State, intent: &Intent) -> Option<Known> {
    let entry = state.entry(&intent.address, intent.id.as_deref()?)?;
    Some(Known {
        address: intent.address.clone(),
        id: entry.id.clone(),
        attributes: entry.attributes.clone(),
        outputs: entry.outputs.clone(),
    })
}

fn adopt(ledger: &mut dyn Ledger, intent: &Intent, observed: Observed) {
    let Observed { id, mut outputs, .. } = observed;
    outputs.insert("id".into(), Value::from(id.as_str()));
    ledger.note(Record::Created { number: intent.number, id, outputs, protect: false });
}
