//! Encrypted states: nothing of the stack is readable, everything that holds of states in plain holds, and who has no key
//! is told what to do.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use cofferdam::graph::{Address, Attributes};
use cofferdam::state::{
    Directories, Encrypt, End, Entry, Holder, Home, Keys, Opener, Record, SealedHome, State, StateError, Store,
};

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

/// What must not be found in any file.
const ID: &str = "vpc-0telltale";

fn holder() -> Holder {
    Holder { user: "alice".into(), host: "mars".into(), pid: 4711, verb: "apply".into(), since: "10:00".into() }
}

fn fresh() -> State {
    State::empty("web", None, "aws", "123456789012", "eu-west-2")
}

fn put(name: &str) -> Record {
    let entry = Entry {
        id: ID.into(),
        attributes: Attributes::new(),
        outputs: Attributes::new(),
        depends_on: Vec::new(),
        protect: false,
        complete: true,
        read_only: false,
        changing: Attributes::new(),
    };
    Record::Put { address: Address::new("node", name), entry }
}

fn names(state: &State) -> Vec<&str> {
    state.resources.keys().map(Address::name).collect()
}

fn store_in(home: &dyn Home) -> Store {
    Store::of(home, "web", None, "aws", "123456789012", "eu-west-2")
}

fn plain(root: &Path) -> Store {
    store_in(&Directories::new(root))
}

fn sealed(root: &Path, encrypt: Encrypt, opener: Opener) -> Store {
    let keys = Arc::new(Keys::new(encrypt, opener));
    store_in(&SealedHome::new(Arc::new(Directories::new(root)), keys))
}

fn of(identities: &[&Identity]) -> Encrypt {
    Encrypt::to(identities.iter().map(|one| one.to_public().to_string()).collect()).expect("recipients")
}

fn opener(identity: &Identity) -> Opener {
    Opener::new(Some(identity.to_string().expose_secret()), None).expect("an identity file")
}

fn with_passphrase(passphrase: &str) -> Opener {
    Opener::new(None, Some(passphrase.to_owned().into())).expect("an opener")
}

/// Applies a resource of this name.
fn run(store: &Store, name: &str) {
    let mut writer = store.open(&holder(), fresh).expect("it opens");
    writer.note(put(name));
    writer.close().expect("it is kept");
}

/// The files below a folder that hold what must not be found.
fn telltale(folder: &Path, of: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(telltale(&path, of));
        } else if String::from_utf8_lossy(&fs::read(&path).expect("readable")).contains(of) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn what_is_kept_is_for_the_recipients_alone() {
    let root = tempfile::tempdir().unwrap();
    let (alice, bob, eve) = (Identity::generate(), Identity::generate(), Identity::generate());
    let store = sealed(root.path(), of(&[&alice, &bob]), opener(&alice));
    run(&store, "a");
    run(&store, "b");
    // Not closed: what it noted is in the journal alone.
    let mut writer = store.open(&holder(), fresh).unwrap();
    writer.note(put("c"));
    writer.sync().unwrap();

    assert_eq!(telltale(root.path(), ID), Vec::<String>::new());
    assert_eq!(telltale(root.path(), "node.a"), Vec::<String>::new());
    let of_bob = sealed(root.path(), of(&[&alice, &bob]), opener(&bob));
    assert_eq!(names(&of_bob.read().unwrap().unwrap()), ["a", "b", "c"]);
    drop(writer);
    assert_eq!(of_bob.runs().unwrap().len(), 2);
    run(&of_bob, "d");
    assert_eq!(names(&store.read().unwrap().unwrap()), ["a", "b", "c", "d"]);

    let of_eve = sealed(root.path(), of(&[&alice, &bob]), opener(&eve)).read().unwrap_err();
    let of_nobody = sealed(root.path(), of(&[&alice, &bob]), Opener::default()).read().unwrap_err();
    let unsaid = plain(root.path()).read().unwrap_err();
    let told = [of_eve, of_nobody, unsaid].map(|error| format!("{error}\n  help: {}", error.remedy()));
    let told = told.join("\n").replace(&root.path().display().to_string(), "state");
    insta::assert_snapshot!(told, @r#"
    cannot open state/web/aws-123456789012-eu-west-2/key.json: No matching keys found
      help: set COFFERDAM_STATE_IDENTITY to the path of an identity file of age that one of the recipients has, or COFFERDAM_STATE_PASSPHRASE to the passphrase
    cannot open state/web/aws-123456789012-eu-west-2/key.json: it takes a key of age, and COFFERDAM_STATE_IDENTITY names no file with one
      help: set COFFERDAM_STATE_IDENTITY to the path of an identity file of age that one of the recipients has, or COFFERDAM_STATE_PASSPHRASE to the passphrase
    state/web/aws-123456789012-eu-west-2/snapshot.json is encrypted
      help: let the stack say for whom: `[state] encrypt = ["age1…"]`, or `encrypt = "passphrase"`; or, where it is to be plain from now on, `cofferdam state migrate STACK` makes it so
    "#);
}

#[test]
fn a_state_in_plain_is_encrypted_with_its_history() {
    let root = tempfile::tempdir().unwrap();
    let alice = Identity::generate();
    run(&plain(root.path()), "a");
    run(&plain(root.path()), "b");
    // A run that died.
    let mut writer = plain(root.path()).open(&holder(), fresh).unwrap();
    writer.note(put("c"));
    writer.sync().unwrap();
    drop(writer);
    assert!(!telltale(root.path(), ID).is_empty());

    let store = sealed(root.path(), of(&[&alice]), opener(&alice));
    assert_eq!(names(&store.read().unwrap().unwrap()), ["a", "b", "c"], "it is read before it is encrypted");
    run(&store, "d");
    assert_eq!(telltale(root.path(), ID), Vec::<String>::new());
    assert_eq!(names(&store.read().unwrap().unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(names(&store.run(2).unwrap().state), ["a", "b"]);
}

/// The way back: everything that stood in cipher stands in plain, a run that died with it.
#[test]
fn an_encrypted_state_is_made_plain_with_its_history() {
    let root = tempfile::tempdir().unwrap();
    let alice = Identity::generate();
    let store = sealed(root.path(), of(&[&alice]), opener(&alice));
    run(&store, "a");
    run(&store, "b");
    let mut writer = store.open(&holder(), fresh).unwrap();
    writer.note(put("c"));
    writer.sync().unwrap();
    drop(writer);
    let with = |opener: Opener| once_sealed(root.path(), opener);

    let plain = plain(root.path());
    assert!(plain.has_key().unwrap());
    let without = plain.make_plain(&with(Opener::default()), &holder()).unwrap_err();
    assert!(matches!(without, StateError::Key { .. }), "{without}");
    assert_eq!(names(&store.read().unwrap().unwrap()), ["a", "b", "c"], "nothing was done");
    plain.make_plain(&with(opener(&alice)), &holder()).unwrap();
    assert!(!plain.has_key().unwrap());
    assert_eq!(names(&plain.read().unwrap().unwrap()), ["a", "b", "c"]);
    let ends: Vec<_> = plain.runs().unwrap().into_iter().map(|(number, run)| (number, run.end)).collect();
    assert_eq!(ends, [(1, End::Done), (2, End::Done), (3, End::Died), (4, End::Done)]);
    assert_eq!(names(&plain.run(2).unwrap().state), ["a", "b"]);
    run(&plain, "d");
    assert_eq!(names(&plain.read().unwrap().unwrap()), ["a", "b", "c", "d"]);
}

/// The state of a stack that encrypts no more, opened with somebody's key.
fn once_sealed(root: &Path, opener: Opener) -> Store {
    store_in(&SealedHome::new(Arc::new(Directories::new(root)), Arc::new(Keys::only_open(opener))))
}

/// Removing the key comes through late: somebody who still encrypts has gone on with it meanwhile.
#[test]
fn what_was_encrypted_before_the_key_went_late_is_read_with_its_copy() {
    let root = tempfile::tempdir().unwrap();
    let alice = Identity::generate();
    let (plain, sealed) = (plain(root.path()), sealed(root.path(), of(&[&alice]), opener(&alice)));
    run(&sealed, "a");
    let key = plain.directory().unwrap().join("key.json");
    let bytes = fs::read(&key).unwrap();
    plain.make_plain(&once_sealed(root.path(), opener(&alice)), &holder()).unwrap();
    fs::write(&key, bytes).unwrap();
    let sealed = || self::sealed(root.path(), of(&[&alice]), opener(&alice));
    run(&sealed(), "b");
    fs::remove_file(&key).unwrap();

    assert_eq!(names(&sealed().read().unwrap().unwrap()), ["a", "b"]);
    run(&sealed(), "c");
    assert_eq!(names(&sealed().run(1).unwrap().state), ["a"]);
    assert_eq!(sealed().runs().unwrap().len(), 4);
    assert_eq!(telltale(root.path(), ID), Vec::<String>::new());
    // Nor is it lost to who does not encrypt.
    fs::remove_file(&key).unwrap();
    assert!(plain.has_key().unwrap());
    plain.make_plain(&once_sealed(root.path(), opener(&alice)), &holder()).unwrap();
    assert_eq!(names(&plain.read().unwrap().unwrap()), ["a", "b", "c"]);
}

/// A state that has lost its key for good gets another one, whatever was set aside.
#[test]
fn a_key_that_was_set_aside_is_not_taken_for_another() {
    let root = tempfile::tempdir().unwrap();
    let alice = Identity::generate();
    let sealed = || sealed(root.path(), of(&[&alice]), opener(&alice));
    run(&sealed(), "a");
    let plain = plain(root.path());
    plain.make_plain(&once_sealed(root.path(), opener(&alice)), &holder()).unwrap();
    run(&sealed(), "b");
    fs::remove_file(plain.directory().unwrap().join("key.json")).unwrap();
    let store = sealed();
    assert!(matches!(store.read(), Err(StateError::Damaged { .. })));
    let (mut writer, _) = store.rebuild(&holder()).unwrap().begin(fresh()).unwrap();
    writer.note(put("anew"));
    writer.close().unwrap();
    assert_eq!(names(&sealed().read().unwrap().unwrap()), ["anew"]);
}

/// A stack takes `encrypt` out and names another place at once.
#[test]
fn an_encrypted_state_is_moved_and_made_plain_at_once() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alice = Identity::generate();
    let store = sealed(root.path(), of(&[&alice]), opener(&alice));
    run(&store, "a");
    run(&store, "b");
    let key = fs::read(store.directory().unwrap().join("key.json")).unwrap();
    let there = plain(other.path());
    there.move_here(&once_sealed(root.path(), opener(&alice)), &holder()).unwrap();
    assert_eq!(names(&there.read().unwrap().unwrap()), ["a", "b"]);
    assert_eq!(names(&there.run(1).unwrap().state), ["a"]);
    assert!(!there.has_key().unwrap());
    assert!(matches!(plain(root.path()).read(), Err(StateError::Moved { .. })));
    assert_eq!(
        fs::read(store.directory().unwrap().join("key.json")).unwrap(),
        key,
        "what was left stays for whom it was"
    );
    assert_eq!(telltale(root.path(), ID), Vec::<String>::new());
}

#[test]
fn who_joins_reads_everything_and_who_leaves_keeps_nothing_new() {
    let root = tempfile::tempdir().unwrap();
    let (alice, bob) = (Identity::generate(), Identity::generate());
    run(&sealed(root.path(), of(&[&alice]), opener(&alice)), "a");
    let of_bob = sealed(root.path(), of(&[&alice, &bob]), opener(&bob));
    assert!(matches!(of_bob.read(), Err(StateError::Key { .. })), "nobody has let bob in yet");
    run(&sealed(root.path(), of(&[&alice, &bob]), opener(&alice)), "b");
    assert_eq!(names(&of_bob.read().unwrap().unwrap()), ["a", "b"]);
    assert_eq!(names(&of_bob.run(1).unwrap().state), ["a"]);
    run(&sealed(root.path(), of(&[&alice]), opener(&alice)), "c");
    let of_bob = sealed(root.path(), of(&[&alice]), opener(&bob));
    assert!(matches!(of_bob.read(), Err(StateError::Key { .. })), "bob is out");
}

#[test]
fn a_passphrase_will_do() {
    let root = tempfile::tempdir().unwrap();
    let store = |passphrase: &str| sealed(root.path(), Encrypt::Passphrase, with_passphrase(passphrase));
    run(&store("correct horse"), "a");
    assert_eq!(names(&store("correct horse").read().unwrap().unwrap()), ["a"]);
    assert!(matches!(store("wrong horse").read(), Err(StateError::Key { .. })));
    assert_eq!(telltale(root.path(), ID), Vec::<String>::new());
}

/// Whether a run dies or a disk fails: the same as with states in plain.
#[test]
fn torn_journals_are_cut_and_damage_is_told() {
    let root = tempfile::tempdir().unwrap();
    let alice = Identity::generate();
    let store = sealed(root.path(), of(&[&alice]), opener(&alice));
    run(&store, "a");
    let mut writer = store.open(&holder(), fresh).unwrap();
    for name in ["b", "c"] {
        writer.note(put(name));
        writer.sync().unwrap();
    }
    drop(writer);
    let journal = store.directory().unwrap().join("journal.jsonl");
    let whole = fs::read(&journal).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
    assert_eq!(ends.len(), 3, "a beginning and two syncs");
    for cut in (0..whole.len()).step_by(7) {
        fs::write(&journal, &whole[..cut]).unwrap();
        let there = ends.iter().filter(|end| **end <= cut).count();
        let state = store.read().unwrap().unwrap();
        assert_eq!(names(&state), ["a", "b", "c"][..there.max(1)], "cut at {cut}");
    }
    for bit in (0..8 * whole.len()).step_by(13) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&journal, &flipped).unwrap();
        assert!(matches!(store.read(), Err(StateError::Damaged { .. })), "a flip of bit {bit} goes unseen");
    }
    // Torn, and continued.
    fs::write(&journal, &whole[..whole.len() - 5]).unwrap();
    run(&store, "d");
    assert_eq!(names(&store.read().unwrap().unwrap()), ["a", "b", "d"]);
}

#[test]
fn a_lost_key_is_damage_and_a_state_made_anew_has_another() {
    let root = tempfile::tempdir().unwrap();
    let alice = Identity::generate();
    let store = || sealed(root.path(), of(&[&alice]), opener(&alice));
    for damage in [None, Some("{"), Some("{}")] {
        run(&store(), "a");
        let key = store().directory().unwrap().join("key.json");
        match damage {
            None => fs::remove_file(&key).unwrap(),
            Some(text) => fs::write(&key, text).unwrap(),
        }
        assert!(matches!(store().read(), Err(StateError::Damaged { .. })), "{damage:?}");
        assert!(matches!(store().open(&holder(), fresh), Err(StateError::Damaged { .. })), "{damage:?}");
        let store = store();
        let (mut writer, aside) = store.rebuild(&holder()).unwrap().begin(fresh()).unwrap();
        assert!(aside.is_some(), "{damage:?}");
        writer.note(put("anew"));
        writer.close().unwrap();
        assert_eq!(names(&store.read().unwrap().unwrap()), ["anew"], "{damage:?}");
    }
}

/// The whole tool: a stack that says for whom.
#[test]
fn a_stack_says_for_whom() {
    let alice = Identity::generate();
    let stack = format!(
        "[state]\nencrypt = [\"{}\"]\n\n[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[outputs]\nvpc = \"${{vpc.main.id}}\"\n",
        alice.to_public()
    );
    let project = Project::new(Emulator::Moto, &stack);
    fs::write(project.path("key.txt"), format!("# a key\n{}\n", alice.to_string().expose_secret())).unwrap();
    let run = |arguments: &[&str], with_key: bool| {
        let (verb, rest) = arguments.split_first().unwrap();
        let mut command = project.command();
        command.args(verb.split(' ')).args(["stack.toml", "--cloud", "aws"]).args(rest);
        if with_key {
            command.env("COFFERDAM_STATE_IDENTITY", "key.txt");
        }
        command.output().unwrap()
    };
    let succeeds = |arguments: &[&str]| {
        let output = run(arguments, true);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    succeeds(&["plan", "--out", "first.plan"]);
    assert!(fs::read(project.path("first.plan")).unwrap().starts_with(b"age-encryption.org/v1"));
    succeeds(&["apply", "--plan", "first.plan", "--yes"]);
    assert_eq!(run(&["plan", "--detailed-exitcode"], true).status.code(), Some(0));
    let id = succeeds(&["output", "vpc"]);
    assert!(id.starts_with("vpc-"), "{id}");
    assert_eq!(telltale(&project.path(""), id.trim()), Vec::<String>::new());
    assert!(succeeds(&["history"]).contains("apply"));

    let refused = run(&["plan"], false);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr).replace(&project.name, "NAME");
    insta::assert_snapshot!(told, @r"
    error: cannot open state/NAME/aws-123456789012-eu-west-2/key.json: it takes a key of age, and COFFERDAM_STATE_IDENTITY names no file with one
      help: set COFFERDAM_STATE_IDENTITY to the path of an identity file of age that one of the recipients has, or COFFERDAM_STATE_PASSPHRASE to the passphrase
    ");

    // And the way back, told where it is missed.
    project.write(&stack[stack.find("[vpc.main]").unwrap()..]);
    let refused = run(&["plan"], true);
    insta::assert_snapshot!(text(&refused.stderr).replace(&project.name, "NAME"), @r#"
    error: state/NAME/aws-123456789012-eu-west-2/snapshot.json is encrypted
      help: let the stack say for whom: `[state] encrypt = ["age1…"]`, or `encrypt = "passphrase"`; or, where it is to be plain from now on, `cofferdam state migrate stack.toml --cloud aws` makes it so
    "#);
    let copied =
        std::process::Command::new("cp").args(["-r", "state", "before"]).current_dir(project.path("")).status();
    assert!(copied.unwrap().success());
    let elsewhere = ["--state", "elsewhere", "--from", "before"];
    let moved = succeeds(&[&["state migrate"], &elsewhere[..]].concat());
    insta::assert_snapshot!(moved.replace(&project.name, "NAME"), @"✓ the state (1 resource) is in elsewhere/NAME/aws-123456789012-eu-west-2 now.");
    assert_eq!(run(&["plan", "--detailed-exitcode", "--state", "elsewhere"], false).status.code(), Some(0));
    insta::assert_snapshot!(succeeds(&["state migrate"]).replace(&project.name, "NAME"), @"✓ the state in state/NAME/aws-123456789012-eu-west-2 is plain now, and its history with it.");
    assert_eq!(run(&["plan", "--detailed-exitcode"], false).status.code(), Some(0), "it takes no key any more");
    assert!(!telltale(&project.path("state"), id.trim()).is_empty());
    assert!(succeeds(&["history"]).contains("state migrate"));
    succeeds(&["destroy", "--yes"]);
}
