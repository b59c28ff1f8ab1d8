//! Saved plans: a plan in a file, to be applied as it was shown.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, Plan};
use crate::state::{Keys, Opener, State, StateError, sha256};

/// Why a saved plan is not applied.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file cannot be read or written.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no whole plan.
    #[error("{path} is no plan file: {why}")]
    NoPlan {
        /// Which file.
        path: String,
        /// Why not.
        why: String,
    },
    /// It is encrypted, and cannot be opened or written with the keys at hand.
    #[error(transparent)]
    Sealed(#[from] StateError),
    /// The plan was made for something else than what is there now.
    #[error("the plan does not fit: {0}")]
    Stale(String),
}

impl SavedError {
    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::Io { .. } => "check the path and its permissions".into(),
            Self::Sealed(error) => error.remedy(),
            Self::NoPlan { .. } => "give a file written by `cofferdam plan --out`".into(),
            Self::Stale(_) => "plan again, look at it, and apply the new plan".into(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    cofferdam_plan: u32,
    sha256: String,
}

impl Plan {
    /// Writes the plan to a file: a line with a checksum and a line with the plan. `state` is the one it was made for;
    /// where that is encrypted, the plan is, too.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&mut self, path: &Path, state: Option<&State>, keys: Option<&Keys>) -> Result<(), SavedError> {
        self.state_digest = Some(state.map_or_else(|| State::empty("", None, "", "", "").digest(), State::digest));
        let io = |source| SavedError::Io { doing: "write", path: path.display().to_string(), source };
        let body = serde_json::to_vec(self).map_err(|e| io(std::io::Error::other(e)))?;
        let head = Head { cofferdam_plan: FORMAT_VERSION, sha256: sha256(&body) };
        let mut text = serde_json::to_vec(&head).map_err(|e| io(std::io::Error::other(e)))?;
        text.push(b'\n');
        text.extend_from_slice(&body);
        text.push(b'\n');
        if let Some(keys) = keys {
            text = keys.seal(&path.display().to_string(), &text)?;
        }
        std::fs::write(path, text).map_err(io)
    }

    /// Reads a plan that [`Plan::save`] wrote.
    ///
    /// # Errors
    /// Where the file is missing, damaged, or of a newer version, or is encrypted for somebody else.
    pub fn load(path: &Path, opener: &Opener) -> Result<Self, SavedError> {
        let bytes = std::fs::read(path).map_err(|source| SavedError::Io {
            doing: "read",
            path: path.display().to_string(),
            source,
        })?;
        let bytes = opener.open(&path.display().to_string(), bytes)?;
        Self::parse(&bytes).map_err(|why| SavedError::NoPlan { path: path.display().to_string(), why })
    }

    /// Whether a file looks like a saved plan: by its head, or because it is encrypted.
    pub fn is_saved(path: &Path) -> bool {
        const HEADS: [&[u8]; 2] = [b"{\"cofferdam_plan\"", b"age-encryption.org/"];
        let mut start = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(32).read_to_end(&mut start));
        read.is_ok() && HEADS.iter().any(|head| start.starts_with(head))
    }

    /// The plan in these bytes.
    ///
    /// # Errors
    /// Why they are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let split = bytes.iter().position(|b| *b == b'\n').ok_or("it has no second line")?;
        let head: Head = serde_json::from_slice(&bytes[..split]).map_err(|_| "its first line is no head")?;
        if head.cofferdam_plan > FORMAT_VERSION {
            return Err(format!("a newer version wrote it (format {})", head.cofferdam_plan));
        }
        let body = bytes[split + 1..].strip_suffix(b"\n").ok_or("it is cut short")?;
        if sha256(body) != head.sha256 {
            return Err("its checksum differs".into());
        }
        serde_json::from_slice(body).map_err(|e| e.to_string())
    }

    /// Whether the plan was made for this state, cloud and account.
    ///
    /// # Errors
    /// [`SavedError::Stale`] with what differs.
    pub fn fits(&self, state: &State, cloud: &str, account: Option<&str>, region: &str) -> Result<(), SavedError> {
        let stale = |what: &str, then: &str, now: &str| {
            Err(SavedError::Stale(format!("it was made for {what} {then}, and this is {now}")))
        };
        if self.cloud != cloud {
            return stale("the cloud", &self.cloud, cloud);
        }
        if self.scope.account.as_deref() != account {
            return stale("account", self.scope.account.as_deref().unwrap_or("?"), account.unwrap_or("?"));
        }
        if self.scope.region != region {
            return stale("region", &self.scope.region, region);
        }
        // A plan made before there was a state knows no lineage; it fits where there is nothing still.
        if self.lineage.as_ref().is_some_and(|lineage| *lineage != state.lineage) {
            return Err(SavedError::Stale("it was made for another state than the one here".into()));
        }
        if self.serial != state.serial {
            return stale("state serial", &self.serial.to_string(), &state.serial.to_string());
        }
        if self.state_digest != Some(state.digest()) {
            let message = "a run that did not come to its end has changed the state since the plan was made";
            return Err(SavedError::Stale(message.into()));
        }
        Ok(())
    }
}
