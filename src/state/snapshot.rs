//! The form of a snapshot: three lines. A head with the version and the checksum of the others, the run that left it,
//! and the state. Where a state was moved away, the head says where to, and nothing follows.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FORMAT_VERSION, Run, State, StateError};

#[derive(Serialize, Deserialize)]
struct Head {
    format_version: u32,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
}

/// A snapshot that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The run that left it; none where it is the beginning of a state.
    pub run: Option<Run>,
    /// The state.
    pub state: State,
}

/// The bytes of a snapshot.
///
/// # Errors
/// Where the state has no JSON form.
pub fn encode(state: &State, run: Option<&Run>) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = serde_json::to_vec(&run)?;
    body.push(b'\n');
    serde_json::to_writer(&mut body, state)?;
    body.push(b'\n');
    let mut bytes =
        serde_json::to_vec(&Head { format_version: FORMAT_VERSION, sha256: sha256(&body), moved_to: None })?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The bytes that stand in a snapshot's place where the state was moved to `to`.
///
/// # Errors
/// Where that has no JSON form.
pub fn moved(to: &str) -> Result<Vec<u8>, serde_json::Error> {
    let head = Head { format_version: FORMAT_VERSION, sha256: sha256(to.as_bytes()), moved_to: Some(to.to_owned()) };
    let mut bytes = serde_json::to_vec(&head)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The snapshot in these bytes; `name` is what messages call it.
///
/// # Errors
/// [`StateError::Damaged`] and [`StateError::Newer`].
pub fn parse(name: &str, bytes: &[u8]) -> Result<Snapshot, StateError> {
    let (run, state) = checked(name, bytes)?;
    let damaged = |error: serde_json::Error| StateError::damaged(name.to_owned(), error.to_string());
    Ok(Snapshot {
        run: serde_json::from_slice(run).map_err(damaged)?,
        state: serde_json::from_slice(state).map_err(damaged)?,
    })
}

/// Only the run of the snapshot in these bytes.
///
/// # Errors
/// [`StateError::Damaged`] and [`StateError::Newer`].
pub fn parse_run(name: &str, bytes: &[u8]) -> Result<Option<Run>, StateError> {
    let (run, _) = checked(name, bytes)?;
    serde_json::from_slice(run).map_err(|e| StateError::damaged(name.to_owned(), e.to_string()))
}

/// The lines of run and state, of whose bytes each is as it was written.
fn checked<'a>(name: &str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), StateError> {
    let damaged = |why: &str| StateError::damaged(name.to_owned(), why);
    if super::sealed::is_sealed(bytes) {
        return Err(StateError::Encrypted { name: name.to_owned() });
    }
    let (head, body) = line(bytes).ok_or_else(|| damaged("it has no second line"))?;
    let head: Head = serde_json::from_slice(head).map_err(|_| damaged("its first line is no head"))?;
    if head.format_version > FORMAT_VERSION {
        return Err(StateError::Newer { path: name.to_owned(), found: head.format_version });
    }
    if head.format_version != FORMAT_VERSION {
        return Err(damaged("no version of this program wrote such a head"));
    }
    if let Some(to) = head.moved_to {
        return match sha256(to.as_bytes()) == head.sha256 && body.is_empty() {
            true => Err(StateError::Moved { name: name.to_owned(), to }),
            false => Err(damaged("its checksum differs")),
        };
    }
    if sha256(body) != head.sha256 {
        return Err(damaged(if body.ends_with(b"\n") { "its checksum differs" } else { "it is cut short" }));
    }
    let (run, state) = line(body).ok_or_else(|| damaged("it has no third line"))?;
    Ok((run, state))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
