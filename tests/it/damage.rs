//! States that cannot be written, and states that were damaged: a clear error, and nothing is overwritten.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use cofferdam::graph::{Address, Attributes};
use cofferdam::state::{Entry, Holder, Record, State, StateError, Store};

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

fn holder() -> Holder {
    Holder { user: "alice".into(), host: "mars".into(), pid: 4711, verb: "apply".into(), since: "10:00".into() }
}

fn fresh() -> State {
    State::empty("web", None, "local", "123456789012", "eu-west-2")
}

fn put(number: usize) -> Record {
    let entry = Entry {
        id: format!("id-{number}"),
        attributes: Attributes::new(),
        outputs: Attributes::new(),
        depends_on: Vec::new(),
        protect: false,
        complete: true,
        read_only: false,
        changing: Attributes::new(),
    };
    Record::Put { address: Address::new("node", &format!("n{number}")), entry }
}

/// A state with a snapshot of this many resources, and a journal of as many again by a run that died.
fn state(folder: &Path, count: usize) -> Store {
    let store = Store::at(folder);
    let mut writer = store.open(&holder(), fresh).expect("it is free");
    (0..count).for_each(|number| writer.note(put(number)));
    writer.close().expect("it is written");
    let mut writer = store.open(&holder(), fresh).expect("it is free");
    (count..2 * count).for_each(|number| writer.note(put(number)));
    writer.sync().expect("it is safe");
    store
}

/// Every file in a folder but the lock, which is nobody's work.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable")) {
        let name = entry.file_name().into_string().expect("text");
        if entry.path().is_dir() {
            out.extend(files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if name != "lock" {
            out.insert(name, std::fs::read(entry.path()).expect("readable"));
        }
    }
    out
}

/// Sees that a damaged state is refused by readers and writers alike, with a remedy, and stays as it is.
fn is_refused(store: &Store, folder: &Path, what: &str) {
    let before = files(folder);
    for error in [store.read().err(), store.open(&holder(), fresh).err()] {
        let error = error.unwrap_or_else(|| panic!("{what} goes unseen"));
        let known = matches!(error, StateError::Damaged { .. } | StateError::Newer { .. });
        assert!(known, "{what}: {error}");
        assert!(error.to_string().contains(&folder.display().to_string()), "{what}: {error} names the file");
        if matches!(error, StateError::Damaged { .. }) {
            assert!(error.remedy().contains("cofferdam recover"), "{what}: {}", error.remedy());
        }
    }
    assert_eq!(files(folder), before, "{what}: nothing is overwritten");
}

#[test]
fn each_flipped_bit_of_a_snapshot_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = state(folder.path(), 1);
    let path = folder.path().join("snapshot.json");
    let whole = std::fs::read(&path).expect("readable");
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).expect("it is written");
        assert!(store.read().is_err(), "bit {bit} of {}", whole.len() * 8);
        // Opening takes the disk's time: a sample.
        if bit % 61 == 0 {
            is_refused(&store, folder.path(), &format!("bit {bit}"));
        }
    }
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("it is written");
        assert!(store.read().is_err(), "cut to {length}");
    }
    is_refused(&store, folder.path(), "a cut end");
    std::fs::remove_file(&path).expect("it is there");
    is_refused(&store, folder.path(), "no snapshot");
}

#[test]
fn each_flipped_bit_of_a_journal_is_refused_and_a_torn_end_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = state(folder.path(), 1);
    let path = folder.path().join("journal.jsonl");
    let whole = std::fs::read(&path).expect("readable");
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).expect("it is written");
        assert!(store.read().is_err(), "bit {bit} of {}", whole.len() * 8);
        if bit % 61 == 0 {
            is_refused(&store, folder.path(), &format!("bit {bit}"));
        }
    }
    // What was cut off is what a run had not yet written when it died.
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("it is written");
        let state = store.read().unwrap_or_else(|error| panic!("cut to {length}: {error}")).expect("it is there");
        assert_eq!(state.resources.len(), 1, "cut to {length}");
    }
}

#[test]
fn a_sample_of_flipped_bits_of_a_large_state_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = state(folder.path(), 300);
    for name in ["snapshot.json", "journal.jsonl"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).expect("readable");
        for bit in (0..8 * whole.len()).step_by(4001) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).expect("it is written");
            assert!(store.read().is_err(), "bit {bit} of {name}");
        }
        std::fs::write(&path, &whole).expect("it is written");
    }
    assert_eq!(store.read().expect("it is whole").expect("it is there").resources.len(), 600);
}

#[test]
fn a_full_disk_is_told_and_what_was_safe_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    std::fs::create_dir(&state).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&state).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("a small file system cannot be mounted here: nothing is tested");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let store = Store::at(&state.join("web"));
        let mut writer = store.open(&holder(), fresh).expect("it is free");
        writer.note(put(0));
        writer.close().expect("there is room");
        let mut writer = store.open(&holder(), fresh).expect("it is free");
        let mut safe = 1;
        let error = loop {
            (safe..safe + 10).for_each(|number| writer.note(put(number)));
            match writer.sync() {
                Ok(()) => safe += 10,
                Err(error) => break error,
            }
        };
        assert!(error.remedy().contains("make room"), "{error}: {}", error.remedy());
        assert!(writer.close().is_err(), "there is no room for a snapshot either");
        let seen = store.read().expect("it is whole").expect("it is there").resources.len();
        assert_eq!(seen, safe, "what was safe is there");
        assert!(store.open(&holder(), fresh).is_err(), "there is still no room");
        assert_eq!(store.read().expect("it is whole").expect("it is there").resources.len(), safe);
    });
    let unmounted = Command::new("umount").arg("-l").arg(&state).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_state_that_cannot_be_written_is_told_before_anything_is_sent() {
    let project = Project::new(Emulator::Moto, "[log_group.a]\nretention_days = 7\n");
    // A file where the directory should be stops the superuser, too.
    std::fs::write(project.path("state"), "").expect("it is written");
    let output = project.run(&["apply", "--yes"]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: cannot ") && err.contains("state") && err.contains("help:"), "{err}");
    std::fs::remove_file(project.path("state")).expect("it is there");
    assert_eq!(project.planned(&[]).len(), 1, "nothing was made");
}
