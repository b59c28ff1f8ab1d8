//! Who holds a lock: its name for everybody else.

use serde::{Deserialize, Serialize};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user's name.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// What it is doing: `apply`.
    pub verb: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl Holder {
    /// The holder in a sentence: `alice on mars (process 4711) runs apply since 10:00`.
    pub fn sentence(&self) -> String {
        let Self { user, host, pid, verb, since } = self;
        format!("{user} on {host} (process {pid}) runs `{verb}` since {since}")
    }

    /// The holder of the lock that this text was written into; somebody, where it cannot be read.
    pub(super) fn parse(text: &str) -> Self {
        let unknown = || "somebody".to_owned();
        serde_json::from_str(text).unwrap_or_else(|_| Self {
            user: unknown(),
            host: "this machine".into(),
            pid: 0,
            verb: "a run".into(),
            since: "just now".into(),
        })
    }
}
