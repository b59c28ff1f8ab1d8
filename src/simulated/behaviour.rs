//! How a simulated cloud behaves: how long things take, how often it may be called, and what goes wrong by chance.

use std::collections::HashMap;
use std::time::Duration;

use super::buckets::Sizes;

/// How long things of a kind take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until any call is answered.
    pub call: Duration,
    /// From the create or update call until the resource is ready.
    pub ready: Duration,
    /// From the delete call until the resource is gone.
    pub gone: Duration,
    /// From the create call until reading and finding show the resource.
    pub visible: Duration,
    /// From the create call until calls that name the resource are accepted.
    pub usable: Duration,
    /// How many calls creating takes after the first one; at least one is counted.
    pub finishing: u32,
}

/// What goes wrong by chance: of each, the share of the calls (or, where that is said, of the resources) that it befalls,
/// from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Refused for their rate.
    pub throttled: f64,
    /// Answered with an internal error; of every other one, the call had its effect all the same.
    pub failed: f64,
    /// Sent and never arrived.
    pub request_lost: f64,
    /// Carried out, and the answer never arrived.
    pub answer_lost: f64,
    /// Of delete calls: refused because something that is not the stack's still holds the resource.
    pub in_use: f64,
    /// Of create calls: refused because a quota is used up.
    pub quota: f64,
    /// Of resources of kinds that can: ending as failed instead of ready.
    pub broken: f64,
}

/// How a simulated cloud behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// How long things take, by kind.
    pub timings: HashMap<String, Timing>,
    /// The same for every other kind.
    pub timing: Timing,
    /// Every duration varies by up to this share of itself, up or down.
    pub jitter: f64,
    /// What the variation and the weather are drawn from.
    pub seed: u64,
    /// What goes wrong by chance.
    pub weather: Weather,
    /// How often it may be called.
    pub limits: Option<Limits>,
    /// The kinds whose resources can end as failed.
    pub breakable: &'static [&'static str],
    /// How long a call waits for an answer that does not come.
    pub timeout: Duration,
}

/// How often a simulated cloud may be called.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The token buckets of a service.
    pub sizes: Sizes,
    /// The share of those sizes that is given here.
    pub share: f64,
}

impl Behaviour {
    /// The same with what goes wrong by chance.
    pub fn weather(self, weather: Weather) -> Self {
        Self { weather, ..self }
    }

    /// The same with token buckets of this share of their sizes.
    pub fn limited_to(mut self, share: f64) -> Self {
        if let Some(limits) = &mut self.limits {
            limits.share = share;
        }
        self
    }

    /// How long things of this kind take.
    pub fn timing(&self, kind: &str) -> Timing {
        self.timings.get(kind).copied().unwrap_or(self.timing)
    }
}
