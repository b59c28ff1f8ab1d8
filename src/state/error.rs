//! Why a state cannot be read or written, and what to do.

use std::time::Duration;

use super::{FORMAT_VERSION, Holder};

/// Why a state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What stands in a file is not what was written there.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: String,
        /// In what way.
        why: String,
    },
    /// A newer version wrote it.
    #[error("{path} was written by a newer version (format {found}; this version reads up to {FORMAT_VERSION})")]
    Newer {
        /// Which file.
        path: String,
        /// Its format.
        found: u32,
    },
    /// Somebody else holds the lock.
    #[error("the state is locked: {}", .holder.sentence())]
    Locked {
        /// Who.
        holder: Box<Holder>,
        /// Where the holder may be dead: how much longer it must give no sign of life until its lock is taken over.
        dead_in: Option<Duration>,
    },
    /// Somebody else took the lock while this process held it.
    #[error("the lock on {name} was taken away from this run; it has stopped, and sends nothing more")]
    LockLost {
        /// Which state's.
        name: String,
    },
    /// Object storage refused, or did not answer.
    #[error("cannot {doing} {name}: {why}")]
    Remote {
        /// `read`, `write` …
        doing: &'static str,
        /// The object's URL.
        name: String,
        /// What it said.
        why: String,
        /// What to do.
        help: String,
    },
    /// The state is encrypted, and the stack does not say so.
    #[error("{name} is encrypted")]
    Encrypted {
        /// Which file.
        name: String,
    },
    /// Something encrypted cannot be opened, or encrypted, with the keys at hand.
    #[error("cannot open {name}: {why}")]
    Key {
        /// Which file.
        name: String,
        /// Why.
        why: String,
    },
    /// The state is somewhere else now.
    #[error("the state is not in {name} any more: it was moved to {to}")]
    Moved {
        /// Where it was.
        name: String,
        /// Where it is.
        to: String,
    },
    /// There is no state where one was to be moved from.
    #[error("there is no state of this stack in {name}")]
    Nothing {
        /// Where.
        name: String,
    },
    /// There is a state already where one was to be moved to.
    #[error("there is another state of this stack in {name} already")]
    Taken {
        /// Where.
        name: String,
    },
    /// There is no run with this number in the history.
    #[error("the history of {name} has no run {number}")]
    NoRun {
        /// Which state's.
        name: String,
        /// The number asked for.
        number: u64,
        /// The numbers that there are, oldest first.
        known: Vec<u64>,
    },
}

impl StateError {
    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room on the disk and run the same command again: it continues".into()
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "allow yourself to write there, or name another directory with --state".into()
            }
            Self::Io { .. } => "make the path readable and writable, and run the same command again".into(),
            Self::Damaged { .. } => {
                "nothing was overwritten; `cofferdam recover STACK` rebuilds the state from the cloud, and \
                 `cofferdam history restore STACK N` goes back to what run N left"
                    .into()
            }
            Self::Newer { .. } => "use the version of cofferdam that wrote it, or a newer one".into(),
            Self::Locked { .. } => "run the same command again when it is done, or let it wait with --lock-wait 10m; \
                                    where you know that the holder is gone, `cofferdam lock break STACK` takes its lock away"
                .into(),
            Self::LockLost { .. } => {
                "`cofferdam lock show STACK` says who has it; when that run is done, run the same command \
                                      again: it continues"
                    .into()
            }
            Self::Remote { help, .. } => help.clone(),
            Self::Encrypted { .. } => {
                "let the stack say for whom: `[state] encrypt = [\"age1…\"]`, or `encrypt = \"passphrase\"`; or, where it \
                 is to be plain from now on, `cofferdam state migrate STACK` makes it so"
                    .into()
            }
            Self::Key { .. } => "set COFFERDAM_STATE_IDENTITY to the path of an identity file of age that one of the \
                                 recipients has, or COFFERDAM_STATE_PASSPHRASE to the passphrase"
                .into(),
            Self::Moved { to, .. } => format!(
                "let the stack say so ([state] url), or bring it back with `cofferdam state migrate STACK --from {to}`"
            ),
            Self::Nothing { .. } => {
                "name the place that it is in with --from, a directory or s3://bucket/prefix".into()
            }
            Self::Taken { .. } => {
                "nothing was moved; look at the history of both, and move the one that you do not need \
                                   out of the way"
                    .into()
            }
            Self::NoRun { known, .. } => match (known.first(), known.last()) {
                (Some(first), Some(last)) if first != last => format!("there are {first} to {last}"),
                (Some(only), _) => format!("there is {only}"),
                _ => "nothing was applied yet".into(),
            },
        }
    }

    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn damaged(path: String, why: impl Into<String>) -> Self {
        Self::Damaged { path, why: why.into() }
    }
}
