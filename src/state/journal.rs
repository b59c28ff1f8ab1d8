//! The journal: records appended and synced before and after every mutating call.
//!
//! A line is `LENGTH CHECKSUM JSON`: the length of the JSON in bytes and its CRC-32, both in hexadecimal. A last line
//! that is cut short or does not match its checksum is a torn write of a run that died; it is cut off. A bad line with
//! good ones behind it is damage.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Record, StateError};

/// A journal in a file.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Pushed and not safe yet.
    buffer: Vec<u8>,
    /// The length of what is whole: a failed append is cut back to it.
    whole: u64,
}

impl Journal {
    /// Opens the journal for appending, after `whole` bytes (see [`read`]).
    ///
    /// # Errors
    /// Where the file cannot be opened or cut.
    pub fn open(path: &Path, whole: u64) -> Result<Self, StateError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(StateError::io("open", path))?;
        file.set_len(whole).map_err(StateError::io("write", path))?;
        file.seek(SeekFrom::Start(whole)).map_err(StateError::io("write", path))?;
        Ok(Self { file, path: path.to_owned(), buffer: Vec::new(), whole })
    }

    /// Empties the journal: its records are in the snapshot now.
    ///
    /// # Errors
    /// Where the file cannot be cut.
    pub fn clear(&mut self) -> Result<(), StateError> {
        self.file.set_len(0).map_err(StateError::io("write", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(StateError::io("write", &self.path))?;
        self.whole = 0;
        self.file.sync_data().map_err(StateError::io("sync", &self.path))
    }

    /// Takes a record that the next [`Journal::flush`] makes safe.
    ///
    /// # Errors
    /// Where it has no JSON form.
    pub fn push(&mut self, record: &Record) -> Result<(), StateError> {
        encode(record, &mut self.buffer)
            .map_err(|e| StateError::Damaged { path: self.path.display().to_string(), why: e.to_string() })
    }

    /// Appends what was pushed, all in one write and one sync. Returning means that it is safe.
    ///
    /// # Errors
    /// Where it cannot be made safe. Nothing may be sent to a cloud then; what was pushed is kept for another attempt.
    pub fn flush(&mut self) -> Result<(), StateError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match self.file.write_all(&self.buffer).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.whole += self.buffer.len() as u64;
                self.buffer.clear();
                Ok(())
            }
            Err(error) => {
                // Part of it may be on disk: take it back, so that what follows does not stand behind a torn line. If
                // even that fails, reading will find the torn line.
                let _ = self.file.set_len(self.whole).and_then(|()| self.file.seek(SeekFrom::Start(self.whole)));
                Err(StateError::io("write", &self.path)(error))
            }
        }
    }
}

fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = out.len();
    out.extend_from_slice(b"00000000 00000000 ");
    let from = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, record) {
        out.truncate(start);
        return Err(error);
    }
    let json = &out[from..];
    let head = format!("{:08x} {:08x} ", json.len(), crc32fast::hash(json));
    out[start..from].copy_from_slice(head.as_bytes());
    out.push(b'\n');
    Ok(())
}

/// The records of a journal file and the length in bytes of what is whole. A missing file is an empty journal.
///
/// # Errors
/// Where the file cannot be read, or is damaged elsewhere than at its end.
pub fn read(path: &Path) -> Result<(Vec<Record>, u64), StateError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map_err(StateError::io("read", path))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(StateError::io("read", path)(error)),
    };
    parse(&bytes).map_err(|why| StateError::Damaged { path: path.display().to_string(), why })
}

/// The records in these bytes, and how many of the bytes are whole.
///
/// # Errors
/// What is wrong, where it is not just the last line.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Record>, u64), String> {
    let mut records = Vec::new();
    let mut at = 0;
    let mut number = 0;
    while at < bytes.len() {
        number += 1;
        let end = bytes[at..].iter().position(|b| *b == b'\n').map(|length| at + length);
        match end.ok_or("it has no end").and_then(|end| decode(&bytes[at..end])) {
            Ok(record) => records.push(record),
            Err(why) => {
                // Torn only if nothing whole follows.
                let next = end.map_or(bytes.len(), |end| end + 1);
                let follows = bytes[next..].split(|b| *b == b'\n').any(|line| decode(line).is_ok());
                if follows || has_lost_its_end(&bytes[at..]) {
                    return Err(format!("line {number}: {why}"));
                }
                return Ok((records, at as u64));
            }
        }
        at = end.map_or(bytes.len(), |end| end + 1);
    }
    Ok((records, at as u64))
}

/// Whether a whole record stands here with something else than the end of a line behind it.
fn has_lost_its_end(bytes: &[u8]) -> bool {
    let length = bytes.get(..8).and_then(|head| std::str::from_utf8(head).ok());
    let end = length.and_then(|text| usize::from_str_radix(text, 16).ok()).and_then(|length| length.checked_add(18));
    end.is_some_and(|end| {
        bytes.get(end).is_some_and(|byte| *byte != b'\n') && bytes.get(..end).is_some_and(|line| decode(line).is_ok())
    })
}

fn decode(line: &[u8]) -> Result<Record, &'static str> {
    let hex = |bytes: &[u8]| {
        std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or("its head is no number")
    };
    let (Some(head), Some(json)) = (line.get(..18), line.get(18..)) else { return Err("it is too short") };
    if head[8] != b' ' || head[17] != b' ' {
        return Err("its head is damaged");
    }
    if hex(&head[..8])? as usize != json.len() {
        return Err("it has another length than it says");
    }
    if hex(&head[9..17])? != crc32fast::hash(json) {
        return Err("its checksum differs");
    }
    serde_json::from_slice(json).map_err(|_| "it is no record")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in 0..3 {
            encode(&Record::Settled { number }, &mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_journal_cut_anywhere_gives_its_whole_lines() {
        let bytes = lines();
        let length = bytes.len() / 3;
        for cut in 0..=bytes.len() {
            let (records, whole) = parse(&bytes[..cut]).unwrap();
            assert_eq!(records.len(), cut / length, "cut at {cut}");
            assert_eq!(whole as usize, cut / length * length);
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_unless_it_is_in_the_last_line() {
        let bytes = lines();
        let length = bytes.len() / 3;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let parsed = parse(&flipped);
            // The end of the last line may be anything: what stands before it is whole, and is not taken as torn.
            if at < 2 * length || at == bytes.len() - 1 {
                assert!(parsed.is_err(), "a flip at {at} went unseen: {parsed:?}");
            } else {
                assert_eq!(parsed.unwrap().0.len(), 2);
            }
        }
    }
}
