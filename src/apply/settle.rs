//! Settling: what an earlier run was about to do when it died is looked up, once, before anything else is done.

use serde_json::Value;

use super::ledger::Ledger;
use crate::cloud::{Cloud, CloudError, CreateRequest, Lost};
use crate::graph::Address;
use crate::state::{Entry, Operation, Record};

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
            (Operation::Update, _) => format!("{address}: an interrupted run was updating it; it is compared again"),
            (Operation::Delete, _) => format!("{address}: an interrupted run was deleting it; it is looked up again"),
        }
    }
}

/// Looks up every unresolved intent and notes what became of it. Updates and deletes need no look-up of their own: the
/// refresh shows what is there.
///
/// # Errors
/// Where the cloud does not answer; the intent then stays unresolved.
pub async fn settle(cloud: &dyn Cloud, ledger: &mut dyn Ledger) -> Result<Vec<Settled>, CloudError> {
    let mut out = Vec::new();
    for intent in ledger.state().unresolved.clone() {
        let mut settled = Settled { address: intent.address.clone(), operation: intent.operation, found: None };
        if intent.operation == Operation::Create {
            let request = CreateRequest {
                address: intent.address.clone(),
                token: intent.token.clone(),
                attributes: intent.attributes.clone(),
            };
            let found = cloud.find(intent.address.kind(), &Lost { request }).await?;
            if let Some(observed) = found {
                if ledger.state().resources.get(&intent.address).is_some_and(|old| old.id != observed.id) {
                    ledger.note(Record::Depose { address: intent.address.clone() });
                }
                let mut outputs = observed.outputs;
                outputs.insert("id".into(), Value::from(observed.id.as_str()));
                settled.found = Some(observed.id.clone());
                let entry = Entry {
                    id: observed.id,
                    attributes: intent.attributes,
                    outputs,
                    depends_on: intent.depends_on,
                    protect: false,
                    complete: false,
                    read_only: false,
                };
                ledger.note(Record::Put { address: intent.address, entry });
            }
        }
        ledger.note(Record::Settled { number: intent.number });
        out.push(settled);
    }
    Ok(out)
}
