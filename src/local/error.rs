//! What can go wrong with the local cloud, and what to do then.

use std::io;
use std::path::{Path, PathBuf};

/// The local cloud cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No Python on the search path, or only older ones.
    #[error("the local cloud needs Python 3.10 or later, and {found}")]
    NoPython {
        /// What was found instead.
        found: String,
    },
    /// A Python that cannot make virtual environments: Debian and Ubuntu package that apart.
    #[error("{} (Python {version}) cannot make a virtual environment: it has no ensurepip", .python.display())]
    NoVenv {
        /// That Python.
        python: PathBuf,
        /// Its version, `3.11`.
        version: String,
    },
    /// A step of the installation failed.
    #[error("the emulators cannot be installed: {step} failed\n{output}")]
    Install {
        /// The step.
        step: &'static str,
        /// The last lines that it printed.
        output: String,
    },
    /// An emulator ended while it was started.
    #[error("{emulator} ended while it was started ({outcome})\n{output}")]
    Died {
        /// Which one.
        emulator: &'static str,
        /// How: `exit status: 1`.
        outcome: String,
        /// The last lines of its log.
        output: String,
    },
    /// An emulator does not answer.
    #[error("{emulator} does not answer: {problem}\n{output}")]
    Silent {
        /// Which one.
        emulator: &'static str,
        /// What happened instead.
        problem: String,
        /// The last lines of its log.
        output: String,
    },
    /// A process of the local cloud does not end.
    #[error("the process {pid} of the local cloud does not end")]
    Unstoppable {
        /// Its id.
        pid: u32,
    },
    /// No port to listen on.
    #[error("no port of 127.0.0.1 can be listened on: {0}")]
    Listen(io::Error),
    /// Its record was changed by somebody else while it was started.
    #[error("the record of the local cloud was changed while it was started")]
    Vanished,
    /// A file, folder or program cannot be used.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LocalError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NoPython { .. } => {
                "install Python 3.10 or later as `python3` (Debian and Ubuntu: `apt install python3 python3-venv`; \
                 macOS: `brew install python`), or use a cloud of your own with --cloud aws"
                    .into()
            }
            Self::NoVenv { version, .. } => format!(
                "on Debian and Ubuntu run `apt install python{version}-venv`; elsewhere install a Python \
                 that has the modules venv and ensurepip"
            ),
            Self::Install { .. } => {
                "the packages come from PyPI: check the network, and set HTTPS_PROXY or PIP_INDEX_URL where it is \
                 reached through a proxy or a mirror; then run the same command again"
                    .into()
            }
            Self::Died { .. } | Self::Silent { .. } => "run `cofferdam cloud down`, then the same command again".into(),
            Self::Unstoppable { pid } => format!("end it by hand: `kill -KILL {pid}`"),
            Self::Listen(_) => "check the network settings of this machine: the loopback interface is needed".into(),
            Self::Vanished => "run the same command again".into(),
            Self::Io { .. } => "check that the path can be written and that the disk is not full".into(),
        }
    }
}

/// Says which path an error is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> LocalError {
    let path = path.to_owned();
    move |source| LocalError::Io { path, source }
}

/// The last lines of an output, indented.
pub(super) fn tail(output: &str) -> String {
    let lines: Vec<_> = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
