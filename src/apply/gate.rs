//! The gate that every call to a cloud goes through, one real request at a time: counted, limited, and sent again where its
//! error says that this helps. The AWS clients and the simulated cloud stand behind the same one.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use super::limiter::{Limiter, Side};
use crate::cloud::{CloudError, ErrorClass};

/// How often each call was sent, by its name: `ec2:CreateVpc`.
pub type CallCounts = BTreeMap<String, u64>;

/// How often a call is sent whose answer was lost, or whose service failed.
const ATTEMPTS: u32 = 8;
/// How often a call is sent that is refused for its rate. Such a refusal costs nothing and says nothing about the call,
/// and the pauses between come to several minutes.
const THROTTLED_ATTEMPTS: u32 = 40;

/// Whether a call may be sent again when its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// A second one changes nothing.
    Safe,
    /// A second one changes nothing, and a third is not worth waiting for.
    Once,
    /// A second one might make a second resource: only where the first one was refused.
    OnlyIfRefused,
}

/// One limiter for each service and side, and one counter for each call. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    limiter: Limiter,
    counts: Arc<Mutex<CallCounts>>,
}

impl Gate {
    /// How often each call was sent since the start.
    pub fn counts(&self) -> CallCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a call as often as its errors allow. What stands before the colon of `action` is the service. An error that
    /// comes after an answer was lost is marked as [doubtful](CloudError::doubtful).
    ///
    /// # Errors
    /// Once sending it again did not help, or at once where it cannot.
    pub async fn send<T, F, Fut>(&self, action: &str, side: Side, again: Again, attempt: F) -> Result<T, CloudError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, CloudError>>,
    {
        let service = action.split(':').next().unwrap_or(action);
        let (mut lost, mut throttled) = (0, 0);
        loop {
            self.limiter.admit(service, side).await;
            self.count(action);
            let error = match attempt().await {
                Ok(answer) => {
                    self.limiter.succeeded(service, side);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let retry = match error.class {
                ErrorClass::Throttled => {
                    self.limiter.throttled(service, side);
                    throttled += 1;
                    throttled < THROTTLED_ATTEMPTS
                }
                ErrorClass::Uncertain => {
                    lost += 1;
                    let most = match again {
                        Again::Safe => ATTEMPTS,
                        Again::Once => 2,
                        Again::OnlyIfRefused => 1,
                    };
                    lost < most
                }
                _ => false,
            };
            if !retry {
                return Err(CloudError { doubtful: error.doubtful || (side == Side::Write && lost > 0), ..error });
            }
            tokio::time::sleep(self.limiter.pause(lost.max(throttled))).await;
        }
    }

    fn count(&self, action: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(action) {
            Some(count) => *count += 1,
            None => drop(counts.insert(action.to_owned(), 1)),
        }
    }
}
