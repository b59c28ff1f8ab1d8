//! States on object storage: the protocol against storage in memory, where any answer may be lost, and against an
//! emulator's S3.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use cofferdam::graph::{Address, Attributes};
use cofferdam::state::{
    Encrypt, End, Entry, Holder, Home, Keys, ObjectHome, Objects, Opener, Pace, Record, SealedHome, State, StateError,
    Store, Tag, When, Writer,
};

/// Storage in memory, of which single writes can be made to fail.
#[derive(Debug, Default)]
struct Shelf(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    written: u64,
    /// How many writes and deletions still come through, and whether the one after that has its effect.
    fails_after: Option<(u64, bool)>,
}

impl Inner {
    /// Whether this write has its effect, and whether it is answered.
    fn fate(&mut self) -> (bool, bool) {
        match &mut self.fails_after {
            None => (true, true),
            // The process is dead from then on.
            Some((0, has_effect)) => (std::mem::take(has_effect), false),
            Some((left, _)) => {
                *left -= 1;
                (true, true)
            }
        }
    }
}

impl Shelf {
    fn fail_after(&self, writes: u64, has_effect: bool) {
        self.0.lock().expect("whole").fails_after = Some((writes, has_effect));
    }

    fn heal(&self) {
        self.0.lock().expect("whole").fails_after = None;
    }

    fn failed(key: &str) -> StateError {
        StateError::Remote { doing: "write", name: key.into(), why: "no answer".into(), help: "try again".into() }
    }
}

impl Objects for Shelf {
    fn name(&self, key: &str) -> String {
        format!("shelf://{key}")
    }

    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, StateError> {
        let inner = self.0.lock().expect("whole");
        Ok(inner.objects.get(key).map(|(bytes, tag)| (bytes.clone(), tag.to_string())))
    }

    fn put(&self, key: &str, bytes: &[u8], when: &When) -> Result<Option<Tag>, StateError> {
        let mut inner = self.0.lock().expect("whole");
        let (has_effect, is_answered) = inner.fate();
        let there = inner.objects.get(key).map(|(_, tag)| tag.to_string());
        let holds = match when {
            When::Always => true,
            When::Absent => there.is_none(),
            When::Is(tag) => there.as_ref() == Some(tag),
        };
        let mut tag = None;
        if has_effect && holds {
            inner.written += 1;
            let written = inner.written;
            inner.objects.insert(key.to_owned(), (bytes.to_owned(), written));
            tag = Some(written.to_string());
        }
        if is_answered { Ok(tag) } else { Err(Self::failed(key)) }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let inner = self.0.lock().expect("whole");
        Ok(inner.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    fn folders(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let keys = self.list(prefix)?;
        let folder = |key: &String| Some(key.strip_prefix(prefix)?.split_once('/')?.0.to_owned());
        let mut folders: Vec<String> = keys.iter().filter_map(folder).collect();
        folders.dedup();
        Ok(folders)
    }

    fn delete(&self, key: &str) -> Result<(), StateError> {
        let mut inner = self.0.lock().expect("whole");
        let (has_effect, is_answered) = inner.fate();
        if has_effect {
            inner.objects.remove(key);
        }
        if is_answered { Ok(()) } else { Err(Self::failed(key)) }
    }
}

fn holder(user: &str) -> Holder {
    Holder { user: user.into(), host: "mars".into(), pid: 4711, verb: "apply".into(), since: "10:00".into() }
}

fn fresh() -> State {
    State::empty("web", None, "aws", "123456789012", "eu-west-2")
}

fn put(name: &str) -> Record {
    let entry = Entry {
        id: format!("id-{name}"),
        attributes: Attributes::new(),
        changing: Attributes::new(),
        outputs: Attributes::new(),
        depends_on: Vec::new(),
        protect: false,
        complete: true,
        read_only: false,
    };
    Record::Put { address: Address::new("node", name), entry }
}

/// A lease that nobody outlives within a test, and one that is over at once.
const LONG: Pace = Pace { lease: Duration::from_secs(3600), beat: Duration::from_secs(3600) };
const SHORT: Pace = Pace { lease: Duration::from_millis(20), beat: Duration::from_secs(3600) };

fn store(shelf: &Arc<Shelf>, pace: Pace) -> Store {
    let home = ObjectHome::new(shelf.clone(), "/team/").with_pace(pace);
    Store::of(&home, "web", Some("staging"), "aws", "123456789012", "eu-west-2")
}

fn names(state: &State) -> Vec<&str> {
    state.resources.keys().map(Address::name).collect()
}

/// Opens a state whose holder gives no sign of life any more.
fn take_over(store: &Store, user: &str) -> Writer {
    loop {
        match store.open(&holder(user), fresh) {
            Ok(writer) => return writer,
            Err(StateError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{user}: {error}"),
        }
    }
}

#[test]
fn a_state_on_object_storage_is_a_state_like_another() {
    let shelf = Arc::new(Shelf::default());
    let store = store(&shelf, LONG);
    assert!(store.read().expect("it answers").is_none());
    let mut writer = store.open(&holder("alice"), fresh).expect("it is free");
    writer.note(put("a"));
    writer.sync().expect("it is safe");
    let error = store.open(&holder("bob"), fresh).expect_err("it is held");
    assert_eq!(error.to_string(), "the state is locked: alice on mars (process 4711) runs `apply` since 10:00");
    assert_eq!(names(&store.read().expect("it answers").expect("it is there")), ["a"], "reading takes no lock");
    writer.note(put("b"));
    let state = writer.close().expect("it is written");
    assert_eq!((names(&state), state.serial), (vec!["a", "b"], 1));
    assert!(store.holder().expect("it answers").is_none(), "the lease is given back");
    store.open(&holder("bob"), fresh).expect("it is free").close().expect("nothing changes");
    let mut writer = store.open(&holder("bob"), fresh).expect("it is free");
    writer.note(Record::Remove { address: Address::new("node", "a"), id: "id-a".into() });
    writer.close().expect("it is written");
    let runs = store.runs().expect("it answers");
    assert_eq!(
        runs.iter().map(|(number, run)| (*number, run.who.as_str())).collect::<Vec<_>>(),
        [(1, "alice@mars"), (2, "bob@mars")]
    );
    let folder = "team/web@staging/aws-123456789012-eu-west-2";
    assert_eq!(
        shelf.list("").expect("it answers"),
        [
            format!("{folder}/history/00000000.json"),
            format!("{folder}/history/00000001.json"),
            format!("{folder}/journal.jsonl"),
            format!("{folder}/lock.json"),
            format!("{folder}/snapshot.json"),
        ]
    );
    let home = ObjectHome::new(shelf, "team");
    assert_eq!(home.scopes("web@staging").expect("it answers"), ["aws-123456789012-eu-west-2"]);
    assert_eq!(home.scopes("web").expect("it answers"), Vec::<String>::new());
}

#[test]
fn a_holder_that_slept_through_its_lease_can_write_nothing_more() {
    // It sleeps at each moment: just opened, in the middle, and right before its end.
    for moment in 0..3 {
        let shelf = Arc::new(Shelf::default());
        // By its own clock its lease is not over: only what the next holder did can stop it.
        let mut slow = store(&shelf, LONG).open(&holder("alice"), fresh).expect("it is free");
        if moment > 0 {
            slow.note(put("safe"));
            slow.sync().expect("it is safe");
        }
        let others = store(&shelf, SHORT);
        let mut quick = take_over(&others, "bob");
        assert_eq!(names(quick.state()), if moment > 0 { vec!["safe"] } else { vec![] });
        let is_lost = |error: &StateError| matches!(error, StateError::LockLost { .. });
        if moment < 2 {
            slow.note(put("late"));
            assert!(is_lost(&slow.sync().expect_err("it is lost")), "moment {moment}");
        }
        assert!(is_lost(&slow.close().expect_err("it is lost")), "moment {moment}");
        quick.note(put("quick"));
        // The quick one's own lease is short, too: what it writes, it writes within it, or not at all.
        if let Ok(state) = quick.close() {
            assert!(names(&state).contains(&"quick") && !names(&state).contains(&"late"));
            assert_eq!(others.read().expect("it answers"), Some(state));
        }
    }
}

#[test]
fn a_lease_whose_holder_lives_is_not_taken_over() {
    let shelf = Arc::new(Shelf::default());
    let lively = Pace { lease: Duration::from_millis(400), beat: Duration::from_millis(5) };
    let store = store(&shelf, lively);
    let mut writer = store.open(&holder("alice"), fresh).expect("it is free");
    let began = std::time::Instant::now();
    let mut refused = 0;
    while began.elapsed() < 3 * lively.lease {
        assert!(matches!(store.open(&holder("bob"), fresh), Err(StateError::Locked { .. })));
        refused += 1;
    }
    assert!(refused > 0);
    writer.note(put("a"));
    writer.close().expect("it is held still");
}

#[test]
fn a_broken_lock_stops_its_holder() {
    let shelf = Arc::new(Shelf::default());
    let store = store(&shelf, LONG);
    let mut slow = store.open(&holder("alice"), fresh).expect("it is free");
    slow.note(put("safe"));
    slow.sync().expect("it is safe");
    assert_eq!(store.holder().expect("it answers").expect("alice").0.user, "alice");
    store.break_lock().expect("it is broken");
    assert!(store.holder().expect("it answers").is_none());
    slow.note(put("late"));
    assert!(matches!(slow.sync(), Err(StateError::LockLost { .. })));
    let mut quick = store.open(&holder("bob"), fresh).expect("it is free");
    assert!(matches!(slow.sync(), Err(StateError::LockLost { .. })));
    drop(slow);
    quick.note(put("quick"));
    assert_eq!(names(&quick.close().expect("it is held")), ["quick", "safe"]);
}

/// A run that dies at every one of its writes, which had its effect or had none: what it was told is safe is found by the
/// next, and nothing is damaged.
#[test]
fn a_run_may_die_at_each_of_its_writes() {
    let mut deaths = 0;
    for has_effect in [false, true] {
        for writes in 0.. {
            let shelf = Arc::new(Shelf::default());
            let store = store(&shelf, LONG);
            let mut writer = store.open(&holder("alice"), fresh).expect("it is free");
            writer.note(put("old"));
            writer.close().expect("it is written");
            shelf.fail_after(writes, has_effect);
            let mut safe = vec!["old"];
            let outcome = store.open(&holder("bob"), fresh).and_then(|mut writer| {
                for name in ["one", "two"] {
                    writer.note(put(name));
                    writer.sync()?;
                    safe.push(name);
                }
                writer.close()
            });
            shelf.heal();
            store.break_lock().expect("it answers");
            let seen = store.read().unwrap_or_else(|e| panic!("after {writes}: {e}")).expect("it is there");
            assert!(safe.iter().all(|name| names(&seen).contains(name)), "after {writes}: {:?}", names(&seen));
            let mut next = store.open(&holder("carol"), fresh).unwrap_or_else(|e| panic!("after {writes}: {e}"));
            assert_eq!(names(next.state()), names(&seen), "after {writes}");
            next.note(put("three"));
            let state = next.close().expect("it is written");
            assert!(names(&state).contains(&"three") && safe.iter().all(|name| names(&state).contains(name)));
            assert!(shelf.list("").expect("it answers").iter().all(|key| !key.contains("/journal/")), "after {writes}");
            store.runs().expect("the history is whole");
            if outcome.is_ok() && store.holder().expect("it answers").is_none() && writes > 20 {
                break;
            }
            deaths += u64::from(outcome.is_err());
        }
    }
    assert!(deaths > 12, "{deaths}");
}

/// Making an encrypted state plain dies at every one of its writes: done again, it comes to its end, and nothing is lost.
#[test]
fn making_a_state_plain_may_die_at_each_of_its_writes() {
    let alice = Identity::generate();
    let opener = || Opener::new(Some(alice.to_string().expose_secret()), None).expect("an identity");
    let encrypt = Encrypt::to(vec![alice.to_public().to_string()]).expect("a recipient");
    let mut deaths = 0;
    for has_effect in [false, true] {
        for writes in 0.. {
            let shelf = Arc::new(Shelf::default());
            let plain = store(&shelf, LONG);
            let with = |keys: Keys| {
                let home = Arc::new(ObjectHome::new(shelf.clone(), "/team/").with_pace(LONG));
                let sealed = SealedHome::new(home, Arc::new(keys));
                Store::of(&sealed, "web", Some("staging"), "aws", "123456789012", "eu-west-2")
            };
            let sealed = with(Keys::new(encrypt.clone(), opener()));
            for name in ["a", "b"] {
                let mut writer = sealed.open(&holder("alice"), fresh).expect("it is free");
                writer.note(put(name));
                writer.close().expect("it is written");
            }
            let mut writer = sealed.open(&holder("bob"), fresh).expect("it is free");
            writer.note(put("c"));
            writer.sync().expect("it is written");
            drop(writer);
            shelf.fail_after(writes, has_effect);
            let outcome = plain.make_plain(&with(Keys::only_open(opener())), &holder("alice"));
            shelf.heal();
            plain.break_lock().expect("it answers");
            if outcome.is_err() {
                deaths += 1;
                let seen = with(Keys::only_open(opener())).read().expect("it is whole").expect("it is there");
                assert_eq!(names(&seen), ["a", "b", "c"], "after {writes}");
                let in_plain = plain.read();
                assert!(matches!(in_plain, Ok(_) | Err(StateError::Encrypted { .. })), "after {writes}: {in_plain:?}");
                plain
                    .make_plain(&with(Keys::only_open(opener())), &holder("alice"))
                    .unwrap_or_else(|e| panic!("after {writes}: {e}"));
            }
            let seen = plain.read().unwrap_or_else(|e| panic!("after {writes}: {e}")).expect("it is there");
            assert_eq!(names(&seen), ["a", "b", "c"], "after {writes}");
            assert!(!plain.has_key().expect("it answers"));
            let runs = plain.runs().unwrap_or_else(|e| panic!("after {writes}: {e}"));
            let ends: Vec<_> = runs.iter().take(3).map(|(number, run)| (*number, run.end)).collect();
            assert_eq!(ends, [(1, End::Done), (2, End::Done), (3, End::Died)], "after {writes}");
            if outcome.is_ok() && writes > 12 {
                break;
            }
        }
    }
    assert!(deaths > 12, "{deaths}");
}

/// Making an encrypted state plain dies at every one of its writes, and the stack encrypts again: nothing stays in plain.
#[test]
fn what_was_being_made_plain_is_encrypted_again() {
    let alice = Identity::generate();
    let opener = || Opener::new(Some(alice.to_string().expose_secret()), None).expect("an identity");
    let encrypt = Encrypt::to(vec![alice.to_public().to_string()]).expect("a recipient");
    let mut deaths = 0;
    for has_effect in [false, true] {
        for writes in 0.. {
            let shelf = Arc::new(Shelf::default());
            let plain = store(&shelf, LONG);
            let with = |keys: Keys| {
                let home = Arc::new(ObjectHome::new(shelf.clone(), "/team/").with_pace(LONG));
                let sealed = SealedHome::new(home, Arc::new(keys));
                Store::of(&sealed, "web", Some("staging"), "aws", "123456789012", "eu-west-2")
            };
            let sealed = || with(Keys::new(encrypt.clone(), opener()));
            let run = |name: &str| {
                let mut writer = sealed().open(&holder("alice"), fresh).expect("it is free");
                writer.note(put(name));
                writer
            };
            for name in ["a", "b"] {
                run(name).close().expect("it is written");
            }
            run("c").sync().expect("it is written");
            shelf.fail_after(writes, has_effect);
            let outcome = plain.make_plain(&with(Keys::only_open(opener())), &holder("alice"));
            shelf.heal();
            plain.break_lock().expect("it answers");
            drop(sealed().open(&holder("alice"), fresh).unwrap_or_else(|e| panic!("after {writes}: {e}")));
            // With its quote: shorter text stands in encrypted bytes by chance, once in many runs.
            let is_plain = |key: &String| {
                let (bytes, _) = shelf.get(key).expect("it answers").expect("it is there");
                key.contains("/history/") && !bytes.starts_with(b"age-encryption.org/")
                    || String::from_utf8_lossy(&bytes).contains("\"id-")
            };
            let left: Vec<_> = shelf.list("").expect("it answers").into_iter().filter(is_plain).collect();
            assert_eq!(left, Vec::<String>::new(), "after {writes}");
            let seen = sealed().read().expect("it is whole").expect("it is there");
            assert_eq!(names(&seen), ["a", "b", "c"], "after {writes}");
            sealed().runs().unwrap_or_else(|e| panic!("after {writes}: {e}"));
            if outcome.is_ok() && writes > 12 {
                break;
            }
            deaths += u64::from(outcome.is_err());
        }
    }
    assert!(deaths > 12, "{deaths}");
}

/// What is written anew with each sync stays short, and nothing of a long journal is lost.
#[test]
fn a_long_journal_is_kept_in_parts() {
    let shelf = Arc::new(Shelf::default());
    let store = store(&shelf, LONG);
    let parts = || -> Vec<String> {
        shelf.list("").expect("it answers").into_iter().filter(|key| key.contains("/journal/")).collect()
    };
    let mut writer = store.open(&holder("alice"), fresh).expect("it is free");
    for number in 0..3000 {
        writer.note(put(&format!("n{number}")));
        if number % 10 == 9 {
            writer.sync().expect("it is safe");
        }
    }
    assert!(parts().len() > 3, "{:?}", parts());
    let key = "team/web@staging/aws-123456789012-eu-west-2/journal.jsonl";
    assert!(shelf.get(key).expect("it answers").expect("it is there").0.len() < 70_000);
    drop(writer);
    let mut writer = store.open(&holder("bob"), fresh).expect("it is free");
    assert_eq!(writer.state().resources.len(), 3000);
    assert!(parts().is_empty(), "it is in the snapshot now");
    for number in 3000..6000 {
        writer.note(put(&format!("n{number}")));
        if number % 10 == 9 {
            writer.sync().expect("it is safe");
        }
    }
    drop(writer);
    shelf.delete(&parts()[1]).expect("it answers");
    let error = store.open(&holder("carol"), fresh).expect_err("it is damaged");
    assert!(matches!(error, StateError::Damaged { .. }) && error.to_string().contains("are missing"), "{error}");
}

#[test]
fn a_state_moves_with_its_history_and_leaves_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Store::new(folder.path(), "web", None, "aws", "123456789012", "eu-west-2");
    let shelf = Arc::new(Shelf::default());
    let remote = Store::of(&ObjectHome::new(shelf, "team"), "web", None, "aws", "123456789012", "eu-west-2");
    for name in ["a", "b"] {
        let mut writer = directory.open(&holder("alice"), fresh).expect("it is free");
        writer.note(put(name));
        writer.close().expect("it is written");
    }
    let before = directory.read().expect("it is whole").expect("it is there");
    remote.move_here(&directory, &holder("bob")).expect("it is moved");
    let after = remote.read().expect("it is whole").expect("it is there");
    assert_eq!((&after.resources, &after.lineage, after.serial), (&before.resources, &before.lineage, 3));
    assert_eq!(remote.runs().expect("it is whole").len(), 3, "the history came along, and the move is in it");
    let error = directory.open(&holder("alice"), fresh).expect_err("it is gone");
    assert!(matches!(&error, StateError::Moved { to, .. } if to == "shelf://team"), "{error}");
    assert!(matches!(remote.move_here(&directory, &holder("bob")), Err(StateError::Moved { .. })));

    let mut writer = remote.open(&holder("bob"), fresh).expect("it is free");
    writer.note(put("c"));
    writer.close().expect("it is written");
    directory.move_here(&remote, &holder("bob")).expect("it is moved back");
    let back = directory.read().expect("it is whole").expect("it is there");
    assert_eq!((names(&back), back.serial), (vec!["a", "b", "c"], 5));
    assert!(matches!(remote.read(), Err(StateError::Moved { .. })));
    let runs = directory.runs().expect("it is whole");
    assert_eq!(
        runs.iter().map(|(number, run)| (*number, run.end)).collect::<Vec<_>>(),
        [(1, End::Done), (2, End::Done), (3, End::Done), (4, End::Done), (5, End::Done)]
    );

    let other = Store::new(&folder.path().join("other"), "web", None, "aws", "123456789012", "eu-west-2");
    let nothing = directory.move_here(&other, &holder("bob")).expect_err("there is nothing");
    assert!(matches!(nothing, StateError::Nothing { .. }), "{nothing}");
    let mut writer = other.open(&holder("bob"), fresh).expect("it is free");
    writer.note(put("x"));
    writer.close().expect("it is written");
    let taken = directory.move_here(&other, &holder("bob")).expect_err("another state is here");
    assert!(matches!(taken, StateError::Taken { .. }), "{taken}");
    assert!(other.read().expect("it is whole").is_some(), "nothing was moved");
}
