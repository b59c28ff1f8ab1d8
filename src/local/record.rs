//! The file that says what runs.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::at;
use super::{Endpoints, LocalError, endpoint};

/// What was started last. Whether it still runs is the processes' to say.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Names the start; it is in the processes' command lines.
    pub start: String,
    /// Names the contents; see [`Endpoints::instance`].
    pub instance: String,
    /// The emulator of everything else.
    pub main: Server,
    /// The emulator of ECS.
    pub ecs: Server,
}

/// One emulator.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Server {
    /// Its port; the next start takes the same where it is free.
    pub port: Option<u16>,
    /// Its process, unless it was stopped.
    pub pid: Option<u32>,
}

const NAME: &str = "cloud.json";

impl Record {
    /// The record of a run folder; an empty one where there is none that can be read, for then nothing is known to run.
    pub fn read(run: &Path) -> Self {
        let text = std::fs::read(run.join(NAME)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn write(&self, run: &Path) -> Result<(), LocalError> {
        let path = run.join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other).map_err(at(&path))?;
        let mut file = tempfile::NamedTempFile::new_in(run).map_err(at(run))?;
        file.write_all(&text).map_err(at(&path))?;
        file.persist(&path).map_err(|error| at(&path)(error.error))?;
        Ok(())
    }

    /// Where it is, if both emulators were started.
    pub fn endpoints(&self) -> Option<Endpoints> {
        Some(Endpoints {
            main: endpoint(self.main.port?),
            ecs: endpoint(self.ecs.port?),
            main_pid: self.main.pid?,
            ecs_pid: self.ecs.pid?,
            instance: self.instance.clone(),
        })
    }
}
