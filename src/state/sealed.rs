//! Encrypted states: what is kept goes through [age](https://age-encryption.org) on its way to its place.
//!
//! Each state has a key of its own. Snapshots, the history and every piece of the journal are encrypted to it; the key
//! lies beside them in `key.json`, encrypted to the recipients or with the passphrase that the stack names. So another
//! recipient reads everything once the key alone is encrypted anew, and the age tool opens all of it by hand. The lock
//! stays readable: it says who is at work, and nothing of the stack.

use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use age::x25519;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::place::{Contents, Held, Home, Occupied, Place, Taken};
use super::{SNAPSHOT, StateError};
use super::{journal, snapshot};

/// The name of what holds the state's key.
pub(super) const KEY: &str = "key.json";
const JOURNAL: &str = "journal.jsonl";

/// What everything that age encrypted begins with.
const MAGIC: &[u8] = b"age-encryption.org/";

/// The work that a passphrase costs, as a power of two: some tenths of a second, for each command has to do it.
const WORK: u8 = 15;

/// What a record of a journal begins with where it was encrypted: the first 18 bytes of [`MAGIC`] in base64.
const PIECE: &[u8] = b"YWdlLWVuY3J5cHRpb24ub3Jn";

/// Whether these bytes were encrypted.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Whether a record of this journal was encrypted.
pub(super) fn holds_sealed(journal: &[u8]) -> bool {
    let pieces = journal::frames(journal, |payload| Ok(payload.starts_with(PIECE)));
    pieces.is_ok_and(|(pieces, _)| pieces.iter().any(|(is_sealed, _)| *is_sealed))
}

/// Whether these bytes are a snapshot in plain.
fn is_plain(bytes: &[u8]) -> bool {
    snapshot::parse_run("", bytes).is_ok()
}

/// The name of a key that was set aside.
fn aside(number: usize) -> String {
    format!("set-aside/key-{number}.json")
}

/// Copies the state's key to where it is never deleted: removing it may come through late, after somebody else encrypted
/// something to it.
pub(super) fn set_key_aside(place: &dyn Place, held: &mut dyn Held) -> Result<(), StateError> {
    let Some(key) = place.read(KEY)? else { return Ok(()) };
    let mut number = 1;
    while let Some(there) = place.read(&aside(number))? {
        if there == key {
            return Ok(());
        }
        number += 1;
    }
    held.write(&aside(number), &key)
}

/// To whom a state is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encrypt {
    /// To whoever has the key of one of these: `age1…`.
    Recipients(Vec<String>),
    /// To whoever knows the passphrase.
    Passphrase,
}

impl Encrypt {
    /// To these recipients.
    ///
    /// # Errors
    /// Which of them is none, and why.
    pub fn to(recipients: Vec<String>) -> Result<Self, String> {
        match recipients.iter().find_map(|one| Some((one, one.parse::<x25519::Recipient>().err()?))) {
            Some((one, why)) => Err(format!("`{one}` is no recipient of age: {why}")),
            None => Ok(Self::Recipients(recipients)),
        }
    }
}

/// What somebody opens encrypted states with.
#[derive(Default)]
pub struct Opener {
    identities: Vec<Box<dyn age::Identity + Send + Sync>>,
    passphrase: Option<SecretString>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({} identities, passphrase: {})", self.identities.len(), self.passphrase.is_some())
    }
}

impl Opener {
    /// Opens with the keys in the text of an identity file, as `age-keygen` writes it, or with a passphrase.
    ///
    /// # Errors
    /// Why the text is no identity file.
    pub fn new(identities: Option<&str>, passphrase: Option<SecretString>) -> Result<Self, String> {
        let identities = match identities {
            Some(text) => {
                let file = age::IdentityFile::from_buffer(text.as_bytes()).map_err(|e| e.to_string())?;
                file.into_identities().map_err(|e| e.to_string())?
            }
            None => Vec::new(),
        };
        Ok(Self { identities, passphrase })
    }

    /// Decrypts what [`Keys::seal`] gave; what is not encrypted is given back as it is.
    ///
    /// # Errors
    /// [`StateError::Key`] where it cannot be opened with these.
    pub fn open(&self, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, StateError> {
        if !is_sealed(&bytes) {
            return Ok(bytes);
        }
        let wrong = |why: String| StateError::Key { name: name.to_owned(), why };
        let decryptor = age::Decryptor::new_buffered(bytes.as_slice()).map_err(|e| wrong(e.to_string()))?;
        let opened = match decryptor.is_scrypt() {
            true => {
                let passphrase = self.passphrase.clone().ok_or_else(|| wrong(NO_PASSPHRASE.to_owned()))?;
                opened(decryptor, std::iter::once(&age::scrypt::Identity::new(passphrase) as _))
            }
            false if self.identities.is_empty() => return Err(wrong(NO_IDENTITY.to_owned())),
            false => opened(decryptor, self.identities.iter().map(|one| one.as_ref() as _)),
        };
        opened.map_err(wrong)
    }
}

/// Encrypts to what a stack names, and decrypts with what the user has.
#[derive(Debug)]
pub struct Keys {
    encrypt: Encrypt,
    opener: Opener,
}

impl Keys {
    /// The keys of a stack.
    pub fn new(encrypt: Encrypt, opener: Opener) -> Self {
        Self { encrypt, opener }
    }

    /// Keys that only decrypt, for a stack that names nobody any more.
    pub fn only_open(opener: Opener) -> Self {
        Self { encrypt: Encrypt::Recipients(Vec::new()), opener }
    }

    fn are_only_to_open(&self) -> bool {
        matches!(&self.encrypt, Encrypt::Recipients(recipients) if recipients.is_empty())
    }

    /// Encrypts something that is kept beside a state: a saved plan.
    ///
    /// # Errors
    /// [`StateError::Key`] where there is no passphrase to do it with.
    pub fn seal(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, StateError> {
        let wrong = |why: String| StateError::Key { name: name.to_owned(), why };
        match &self.encrypt {
            Encrypt::Recipients(recipients) => {
                let recipients: Result<Vec<x25519::Recipient>, _> = recipients.iter().map(|one| one.parse()).collect();
                let recipients = recipients.map_err(|why| wrong(why.to_owned()))?;
                sealed(recipients.iter().map(|one| one as _), bytes)
            }
            Encrypt::Passphrase => {
                let passphrase = self.opener.passphrase.clone().ok_or_else(|| wrong(NO_PASSPHRASE.to_owned()))?;
                let mut recipient = age::scrypt::Recipient::new(passphrase);
                recipient.set_work_factor(WORK);
                sealed(std::iter::once(&recipient as _), bytes)
            }
        }
        .map_err(wrong)
    }
}

const NO_PASSPHRASE: &str = "it takes a passphrase, and COFFERDAM_STATE_PASSPHRASE holds none";
const NO_IDENTITY: &str = "it takes a key of age, and COFFERDAM_STATE_IDENTITY names no file with one";

fn sealed<'a>(to: impl Iterator<Item = &'a dyn age::Recipient>, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let encryptor = age::Encryptor::with_recipients(to).map_err(|e| e.to_string())?;
    let mut out = Vec::with_capacity(bytes.len() + 256);
    let mut writer = encryptor.wrap_output(&mut out).map_err(|e| e.to_string())?;
    writer.write_all(bytes).and_then(|()| writer.finish()).map_err(|e| e.to_string())?;
    Ok(out)
}

fn opened<'a>(
    decryptor: age::Decryptor<&[u8]>,
    with: impl Iterator<Item = &'a dyn age::Identity>,
) -> Result<Vec<u8>, String> {
    let mut reader = decryptor.decrypt(with).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    reader.read_to_end(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// What stands in `key.json`.
#[derive(Debug, Serialize, Deserialize)]
struct KeyFile {
    format_version: u32,
    /// To whom the key is encrypted; none where it is with a passphrase.
    recipients: Vec<String>,
    /// The key, encrypted, in base64.
    key: String,
}

/// A home whose states are encrypted.
#[derive(Debug)]
pub struct SealedHome {
    inner: Arc<dyn Home>,
    keys: Arc<Keys>,
}

impl SealedHome {
    /// The same states, encrypted.
    pub fn new(inner: Arc<dyn Home>, keys: Arc<Keys>) -> Self {
        Self { inner, keys }
    }
}

impl Home for SealedHome {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn place(&self, stack: &str, scope: &str) -> Arc<dyn Place> {
        let inner = self.inner.place(stack, scope);
        Arc::new(Sealed { inner, keys: self.keys.clone(), key: Arc::default() })
    }

    fn scopes(&self, stack: &str) -> Result<Vec<String>, StateError> {
        self.inner.scopes(stack)
    }

    fn stacks(&self) -> Result<Vec<String>, StateError> {
        self.inner.stacks()
    }
}

/// A place whose contents are encrypted.
#[derive(Debug, Clone)]
struct Sealed {
    inner: Arc<dyn Place>,
    keys: Arc<Keys>,
    key: Arc<OnceLock<Key>>,
}

/// The key of one state.
struct Key(x25519::Identity);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    fn seal(&self, name: String, bytes: &[u8]) -> Result<Vec<u8>, StateError> {
        sealed(std::iter::once(&self.0.to_public() as _), bytes).map_err(|why| StateError::Key { name, why })
    }

    fn open(&self, name: String, bytes: &[u8]) -> Result<Vec<u8>, StateError> {
        let damaged = |why: String| StateError::damaged(name, format!("it cannot be decrypted: {why}"));
        let decryptor = match age::Decryptor::new_buffered(bytes) {
            Ok(decryptor) => decryptor,
            Err(error) => return Err(damaged(error.to_string())),
        };
        opened(decryptor, std::iter::once(&self.0 as _)).map_err(damaged)
    }
}

/// A journal that was read: its records in plain, and where each piece ends, in plain and as it is kept.
#[derive(Debug, Default)]
struct Opened {
    plain: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

/// A piece of a journal.
enum Piece {
    /// A record that was written before the state was encrypted.
    Plain(Vec<u8>),
    Sealed(Vec<u8>),
}

impl Sealed {
    /// The state's key; `None` where it has none, and nothing is encrypted yet.
    fn key(&self) -> Result<Option<&Key>, StateError> {
        if self.key.get().is_none() {
            let Some(file) = self.key_file(KEY)? else { return Ok(None) };
            let _ = self.key.set(self.opened_key(KEY, &file)?);
        }
        Ok(self.key.get())
    }

    /// The key that was set aside last: where the state has none, it may be what the state is encrypted to.
    fn former_key(&self) -> Result<Option<Key>, StateError> {
        let mut last = None;
        while let Some(file) = self.key_file(&aside(last.as_ref().map_or(1, |(number, _)| number + 1)))? {
            last = Some((last.map_or(1, |(number, _)| number + 1), file));
        }
        last.map(|(number, file)| self.opened_key(&aside(number), &file)).transpose()
    }

    fn opened_key(&self, name: &str, file: &KeyFile) -> Result<Key, StateError> {
        let name = self.inner.name(name);
        let damaged = |why: &str| StateError::damaged(name.clone(), why);
        let sealed = STANDARD.decode(&file.key).map_err(|_| damaged("its key is no base64"))?;
        let text =
            String::from_utf8(self.keys.opener.open(&name, sealed)?).map_err(|_| damaged("its key is no key"))?;
        SecretString::from(text).expose_secret().parse().map(Key).map_err(|why: &str| damaged(why))
    }

    fn key_file(&self, name: &str) -> Result<Option<KeyFile>, StateError> {
        let Some(bytes) = self.inner.read(name)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| StateError::damaged(self.inner.name(name), e.to_string()))
    }

    /// Something of the state that is encrypted; `None` where all of it is in plain.
    fn sealed_sample(&self) -> Result<Option<Vec<u8>>, StateError> {
        let history = self.inner.history()?.into_iter().map(|name| format!("history/{name}"));
        for name in std::iter::once(SNAPSHOT.to_owned()).chain(history) {
            if let Some(bytes) = self.inner.read(&name)?.filter(|bytes| is_sealed(bytes)) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// What `key.json` holds for this key.
    fn key_bytes(&self, key: &Key) -> Result<Vec<u8>, StateError> {
        let name = self.inner.name(KEY);
        let sealed = self.keys.seal(&name, key.0.to_string().expose_secret().as_bytes())?;
        let recipients = match &self.keys.encrypt {
            Encrypt::Recipients(recipients) => recipients.clone(),
            Encrypt::Passphrase => Vec::new(),
        };
        let file = KeyFile { format_version: 1, recipients, key: STANDARD.encode(sealed) };
        serde_json::to_vec_pretty(&file).map_err(|e| StateError::Key { name, why: e.to_string() })
    }

    fn open(&self, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, StateError> {
        if !is_sealed(&bytes) {
            return Ok(bytes);
        }
        let name = self.inner.name(name);
        match self.key()? {
            Some(key) => key.open(name, &bytes),
            None => match self.former_key()? {
                Some(key) => key.open(name, &bytes),
                None => {
                    Err(StateError::damaged(name, format!("it is encrypted, and {} is missing", self.inner.name(KEY))))
                }
            },
        }
    }

    fn open_journal(&self, bytes: &[u8]) -> Result<Opened, StateError> {
        let read = |payload: &[u8]| match payload.first() {
            Some(b'{') => Ok(Piece::Plain(payload.to_owned())),
            _ => STANDARD.decode(payload).map(Piece::Sealed).map_err(|_| "it is no record"),
        };
        let (pieces, _) =
            journal::frames(bytes, read).map_err(|why| StateError::damaged(self.inner.name(JOURNAL), why))?;
        let mut out = Opened::default();
        for (piece, end) in pieces {
            match piece {
                Piece::Plain(payload) => journal::frame(&payload, &mut out.plain),
                Piece::Sealed(sealed) => out.plain.extend(self.open(JOURNAL, sealed)?),
            }
            out.ends.push((out.plain.len(), end));
        }
        Ok(out)
    }

    fn open_contents(&self, contents: Contents) -> Result<(Contents, Opened), StateError> {
        let journal = self.open_journal(&contents.journal)?;
        let snapshot = contents.snapshot.map(|bytes| self.open(SNAPSHOT, bytes)).transpose()?;
        Ok((Contents { snapshot, journal: journal.plain.clone() }, journal))
    }
}

impl Place for Sealed {
    fn name(&self, key: &str) -> String {
        self.inner.name(key)
    }

    fn directory(&self) -> Option<&std::path::Path> {
        self.inner.directory()
    }

    fn contents(&self) -> Result<Contents, StateError> {
        Ok(self.open_contents(self.inner.contents()?)?.0)
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.inner.read(key)?.map(|bytes| self.open(key, bytes)).transpose()
    }

    fn history(&self) -> Result<Vec<String>, StateError> {
        self.inner.history()
    }

    fn take(&self, holder: &str) -> Result<Taken, StateError> {
        Ok(match self.inner.take(holder)? {
            Taken::Held(inner) => {
                let mut writing = Writing { place: self.clone(), inner, ends: Vec::new() };
                writing.prepare()?;
                Taken::Held(Box::new(writing))
            }
            occupied @ Taken::Occupied(_) => occupied,
        })
    }

    fn holder(&self) -> Result<Option<Occupied>, StateError> {
        self.inner.holder()
    }

    fn break_lock(&self) -> Result<(), StateError> {
        self.inner.break_lock()
    }
}

/// A place that is locked, and written to in cipher.
#[derive(Debug)]
struct Writing {
    place: Sealed,
    inner: Box<dyn Held>,
    /// Where the pieces of the journal that was read last end, in plain and as they are kept.
    ends: Vec<(usize, usize)>,
}

impl Writing {
    /// Sees to it that the state has a key, and that those have it whom the stack names. What was kept in plain is
    /// encrypted.
    fn prepare(&mut self) -> Result<(), StateError> {
        let file = match self.place.key_file(KEY) {
            // A state that is to be made anew may be damaged, its key too.
            Err(StateError::Damaged { .. }) => return Ok(()),
            file => file?,
        };
        let wanted = match &self.place.keys.encrypt {
            // The state stays for whom it was: it is to be moved away.
            Encrypt::Recipients(_) if self.place.keys.are_only_to_open() => return self.place.key().map(|_| ()),
            Encrypt::Recipients(recipients) => recipients.as_slice(),
            Encrypt::Passphrase => &[],
        };
        match file {
            Some(file) if file.recipients == wanted => {
                self.place.key()?;
            }
            Some(_) => {
                let Some(key) = self.place.key()? else { return Ok(()) };
                let bytes = self.place.key_bytes(key)?;
                self.inner.write(KEY, &bytes)?;
            }
            None => return self.begin_sealing(),
        }
        self.seal_rest()
    }

    /// Gives the state a key: a new one, unless something is encrypted to one that was set aside.
    fn begin_sealing(&mut self) -> Result<(), StateError> {
        let opens = |key: &Key, bytes: &[u8]| key.open(String::new(), bytes).is_ok();
        let former = match self.place.sealed_sample()? {
            Some(bytes) => self.place.former_key()?.filter(|key| opens(key, &bytes)),
            None => None,
        };
        let key = former.unwrap_or_else(|| Key(x25519::Identity::generate()));
        let bytes = self.place.key_bytes(&key)?;
        self.inner.write(KEY, &bytes)?;
        let _ = self.place.key.set(key);
        self.seal_rest()
    }

    /// Encrypts what is in plain still. The snapshot is the last that is encrypted and the first that is made plain, so
    /// where it is encrypted, all is.
    fn seal_rest(&mut self) -> Result<(), StateError> {
        let snapshot = self.place.inner.read(SNAPSHOT)?;
        if snapshot.as_deref().is_some_and(is_sealed) {
            return Ok(());
        }
        for name in self.place.inner.history()? {
            let file = format!("history/{name}");
            if let Some(plain) = self.place.inner.read(&file)?.filter(|bytes| is_plain(bytes)) {
                let sealed = self.seal(&file, &plain)?;
                self.inner.keep(&name, &sealed)?;
            }
        }
        if snapshot.is_some_and(|bytes| is_plain(&bytes))
            && let Some(plain) = self.inner.contents()?.snapshot.filter(|bytes| is_plain(bytes))
        {
            let sealed = self.seal(SNAPSHOT, &plain)?;
            self.inner.replace(&sealed, None)?;
        }
        Ok(())
    }

    fn seal(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, StateError> {
        let named = self.place.name(name);
        match self.place.key()? {
            Some(key) => key.seal(named, bytes),
            None => Err(StateError::damaged(self.place.name(KEY), "it is missing")),
        }
    }

    /// Records as one piece of the journal.
    fn piece(&self, records: &[u8]) -> Result<Vec<u8>, StateError> {
        let sealed = STANDARD.encode(self.seal(JOURNAL, records)?);
        let mut out = Vec::with_capacity(sealed.len() + 20);
        journal::frame(sealed.as_bytes(), &mut out);
        Ok(out)
    }
}

impl Held for Writing {
    fn check(&self) -> Result<(), StateError> {
        self.inner.check()
    }

    fn contents(&mut self) -> Result<Contents, StateError> {
        let (contents, journal) = self.place.open_contents(self.inner.contents()?)?;
        self.ends = journal.ends;
        Ok(contents)
    }

    fn begin(&mut self, whole: u64, record: &[u8]) -> Result<(), StateError> {
        let ends = &mut self.ends.iter();
        let kept = match whole {
            0 => Some(0),
            _ => ends.find(|(plain, _)| *plain as u64 == whole).map(|(_, kept)| *kept as u64),
        };
        let damaged = || StateError::damaged(self.place.name(JOURNAL), "it ends within a piece");
        let kept = kept.ok_or_else(damaged)?;
        let piece = self.piece(record)?;
        self.inner.begin(kept, &piece)
    }

    fn append(&mut self, records: &[u8]) -> Result<(), StateError> {
        let piece = self.piece(records)?;
        self.inner.append(&piece)
    }

    fn replace(&mut self, snapshot: &[u8], keep: Option<&str>) -> Result<(), StateError> {
        // Word of where a state has gone is for whoever looks for it.
        if matches!(snapshot::parse_run("", snapshot), Err(StateError::Moved { .. })) {
            return self.inner.replace(snapshot, keep);
        }
        let sealed = self.seal(SNAPSHOT, snapshot)?;
        self.inner.replace(&sealed, keep)
    }

    fn clear(&mut self) -> Result<(), StateError> {
        self.inner.clear()
    }

    fn keep(&mut self, name: &str, snapshot: &[u8]) -> Result<(), StateError> {
        let sealed = self.seal(&format!("history/{name}"), snapshot)?;
        self.inner.keep(name, &sealed)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let sealed = self.seal(name, bytes)?;
        self.inner.write(name, &sealed)
    }

    /// A state that is made anew gets a key where the one that there is cannot be read.
    fn set_aside(&mut self, name: &str) -> Result<Option<String>, StateError> {
        let aside = self.inner.set_aside(name)?;
        if matches!(self.place.key_file(KEY), Err(StateError::Damaged { .. })) {
            self.begin_sealing()?;
        }
        Ok(aside)
    }

    fn remove(&mut self, name: &str) -> Result<(), StateError> {
        self.inner.remove(name)
    }

    fn forget(&mut self, name: &str) {
        self.inner.forget(name);
    }
}
