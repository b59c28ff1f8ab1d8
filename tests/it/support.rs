//! What the tests share: emulated clouds and the life of one resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use cofferdam::aws::{Aws, Connect};
use cofferdam::cloud::{ADDRESS_TAG, Cloud, CreateRequest, Known, Lost, Phase, Progress, STACK_TAG, UpdateRequest};
use cofferdam::graph::{Address, Attributes};
use cofferdam::kinds::{AwsCloud, During, Registry, Taking};
use cofferdam::local::{Attached, Endpoints, Local};
use proptest::test_runner::{Config, RngSeed};
use serde_json::{Value, json};

/// The emulators that kinds are tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulator {
    Moto,
    Ministack,
    /// Both as `--cloud local` arranges them: ECS from ministack, everything else from moto.
    Together,
}

impl Emulator {
    /// How to reach it. `COFFERDAM_TEST_MOTO` and `COFFERDAM_TEST_MINISTACK` may name the endpoints of emulators that
    /// run already; otherwise a pair is started, once, for all tests of this process.
    pub fn connect(self) -> Connect {
        let named = |name| std::env::var(name).ok();
        let moto = || named("COFFERDAM_TEST_MOTO").unwrap_or_else(|| emulators().main.clone());
        let ministack = || named("COFFERDAM_TEST_MINISTACK").unwrap_or_else(|| emulators().ecs.clone());
        let (endpoint, endpoints) = match self {
            // moto does not speak the protocol in which the SDK asks CloudWatch.
            Emulator::Moto => (moto(), [("cloudwatch".to_owned(), ministack())].into()),
            Emulator::Ministack => (ministack(), BTreeMap::new()),
            Emulator::Together => {
                (moto(), ["ecs", "cloudwatch"].map(|service| (service.to_owned(), ministack())).into())
            }
        };
        Connect { region: "eu-west-2".into(), endpoint: Some(endpoint), endpoints, emulated: true }
    }

    /// A cloud on it.
    pub async fn cloud(self) -> AwsCloud {
        AwsCloud::new(Aws::connect(&self.connect(), "test", None).await.expect("the emulator answers"))
    }
}

/// How generated cases are tried: the same ones at each run, so that a run that passed passes again. With
/// `PROPTEST_CASES` it is that many others, drawn anew.
pub fn generated(cases: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases, rng_seed: RngSeed::Fixed(1), ..config },
    }
}

/// The user's own local cloud, whose installation the tests share.
pub fn local() -> Local {
    Local::of_user(|name| std::env::var_os(name)).expect("HOME is set")
}

/// The emulators of this test process, which end with it.
pub fn emulators() -> &'static Endpoints {
    static STARTED: OnceLock<Attached> = OnceLock::new();
    let start = || {
        // In a thread of its own, for who asks may be inside a runtime already.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(local().attached(&|line| eprintln!("{line}")))
        });
        let started = thread.join().expect("the emulators are started");
        started.unwrap_or_else(|error| panic!("no emulators to test against: {error}\nhelp: {}", error.help()))
    };
    &STARTED.get_or_init(start).endpoints
}

/// Text that differs on every call, for names.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// A table of attributes.
pub fn map(value: Value) -> Attributes {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no table of attributes"),
    }
}

/// Attributes with their defaults, as the engine hands them to a kind.
pub fn canonical(cloud: &AwsCloud, kind: &str, attributes: Attributes) -> Attributes {
    let spec = cloud.spec(kind).expect("the kind is registered");
    (spec.canonical)(attributes).unwrap_or_else(|problem| panic!("{kind}: {}", problem.message))
}

/// The request that creates a resource of these attributes, with the tags of its owner.
pub fn request(cloud: &AwsCloud, kind: &str, attributes: Value) -> CreateRequest {
    let spec = cloud.spec(kind).expect("the kind is registered");
    let address = Address::new(kind, "test");
    let mut attributes = map(attributes);
    if spec.taggable {
        let tags = attributes.entry("tags").or_insert_with(|| json!({}));
        tags[STACK_TAG] = json!("test");
        tags[ADDRESS_TAG] = json!(address.as_str());
    }
    let token = uuid::Uuid::new_v4().simple().to_string();
    CreateRequest { address, token, attributes: canonical(cloud, kind, attributes) }
}

/// Takes a step of a kind, and sees that each call it makes is declared for it, and needed by these attributes.
async fn declared<T>(cloud: &AwsCloud, kind: &str, taking: &Taking<'_>, step: impl Future<Output = T>) -> T {
    let before = cloud.aws().calls.counts();
    let taken = step.await;
    let registry = Registry::new();
    let own = registry.kind(kind).expect("the kind is registered");
    let actions = own.actions();
    let declared = match taking.during {
        During::Read => actions.read,
        During::Create => actions.create,
        During::Update => actions.update,
        During::Delete => actions.delete,
    };
    let is_declared = |call: &str| declared.contains(&call) && own.takes(call, taking);
    let sent = cloud.aws().calls.counts().into_iter();
    let new = sent.filter(|(call, count)| before.get(call).is_none_or(|had| had < count));
    let missing: Vec<_> = new.map(|(call, _)| call).filter(|call| !is_declared(call)).collect();
    let during = taking.during;
    assert!(missing.is_empty(), "{kind} sends {missing:?} to {during:?}, and declares {declared:?}\n{taking:?}");
    taken
}

/// A step between these attributes.
fn taking<'a>(
    during: During,
    before: &'a Attributes,
    after: &'a Attributes,
    changed: &'a BTreeSet<String>,
) -> Taking<'a> {
    Taking { during, before, after, changed, together: 1 }
}

async fn settle(cloud: &AwsCloud, kind: &str, known: &Known, phase: Phase, taking: &Taking<'_>) -> Attributes {
    declared(cloud, kind, taking, settled(cloud, kind, known, phase)).await
}

async fn settled(cloud: &AwsCloud, kind: &str, known: &Known, phase: Phase) -> Attributes {
    for _ in 0..50 {
        match cloud.poll(kind, known, phase).await.unwrap_or_else(|e| panic!("{kind} {phase:?}: {e}")) {
            Progress::Done(outputs) => return outputs,
            Progress::Pending(_) | Progress::Telling(..) => tokio::task::yield_now().await,
        }
    }
    panic!("{kind} never settles after {phase:?}");
}

/// Creates a resource whole, for others to stand on; gives what is known of it.
pub async fn make(cloud: &AwsCloud, kind: &str, attributes: Value) -> Known {
    let request = request(cloud, kind, attributes);
    let (nothing, none) = (Attributes::new(), BTreeSet::new());
    let creating = taking(During::Create, &nothing, &request.attributes, &none);
    let created = declared(cloud, kind, &creating, cloud.create(kind, &request))
        .await
        .unwrap_or_else(|e| panic!("{kind} create: {e}"));
    let mut known = Known {
        address: request.address.clone(),
        id: created.id,
        attributes: request.attributes.clone(),
        outputs: created.outputs,
    };
    declared(cloud, kind, &creating, cloud.finish(kind, &known.id, &request))
        .await
        .unwrap_or_else(|e| panic!("{kind} finish: {e}"));
    known.outputs.extend(settle(cloud, kind, &known, Phase::Created, &creating).await);
    known
}

async fn observed(cloud: &AwsCloud, kind: &str, known: &Known) -> Option<Attributes> {
    cloud.forget();
    let (nothing, none) = (Attributes::new(), BTreeSet::new());
    let reading = taking(During::Read, &known.attributes, &nothing, &none);
    let read = declared(cloud, kind, &reading, cloud.read(kind, std::slice::from_ref(known))).await;
    let mut answers = read.unwrap_or_else(|e| panic!("{kind} read: {e}"));
    assert_eq!(answers.len(), 1, "one answer for one question");
    answers.pop().flatten().map(|observed| {
        assert_eq!(observed.id, known.id, "{kind}: the id reads back");
        for output in cloud.spec(kind).expect("registered").outputs {
            assert!(observed.outputs.contains_key(*output), "{kind}: read gives the output `{output}`");
        }
        observed.attributes
    })
}

/// Sees that what was made is there and reads back as it was asked for.
pub async fn reads_back(cloud: &AwsCloud, kind: &str, known: &Known) {
    let seen = observed(cloud, kind, known).await.unwrap_or_else(|| panic!("{kind} is there"));
    assert_reads_back(kind, "create", &known.attributes, &seen);
}

/// Every attribute that the cloud returns must be what was asked for; unset attributes may be anything.
fn assert_reads_back(kind: &str, step: &str, wanted: &Attributes, observed: &Attributes) {
    for (name, want) in wanted {
        let Some(got) = observed.get(name) else { continue };
        let got = if name == "tags" { own_tags(want, got) } else { got.clone() };
        assert_eq!(&got, want, "{kind}.{name} after {step}");
    }
}

fn own_tags(wanted: &Value, got: &Value) -> Value {
    let (Value::Object(wanted), Value::Object(got)) = (wanted, got) else { return got.clone() };
    got.iter()
        .filter(|(key, _)| wanted.contains_key(*key))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect::<Attributes>()
        .into()
}

/// The whole life of one resource: created (and found again by its token), read back, each change applied twice and read
/// back, deleted twice and gone. `changes` are attributes laid over the first ones; null removes one.
pub async fn life(cloud: &AwsCloud, kind: &str, attributes: Value, changes: &[Value]) {
    let request = request(cloud, kind, attributes);
    let (nothing, none) = (Attributes::new(), BTreeSet::new());
    let creating = taking(During::Create, &nothing, &request.attributes, &none);
    let created = declared(cloud, kind, &creating, cloud.create(kind, &request))
        .await
        .unwrap_or_else(|e| panic!("{kind} create: {e}"));
    assert!(!created.id.is_empty(), "{kind}: create gives an id");
    let found = cloud
        .find(kind, &Lost { request: request.clone() })
        .await
        .unwrap_or_else(|e| panic!("{kind} find: {e}"))
        .unwrap_or_else(|| panic!("{kind}: what was created is found again"));
    assert_eq!(found.id, created.id, "{kind}: found again under the same id");
    for _ in 0..2 {
        declared(cloud, kind, &creating, cloud.finish(kind, &created.id, &request))
            .await
            .unwrap_or_else(|e| panic!("{kind} finish: {e}"));
    }
    let mut known = Known {
        address: request.address.clone(),
        id: created.id,
        attributes: request.attributes.clone(),
        outputs: created.outputs,
    };
    known.outputs.extend(settle(cloud, kind, &known, Phase::Created, &creating).await);
    let seen = observed(cloud, kind, &known).await.unwrap_or_else(|| panic!("{kind} is there after create"));
    assert_reads_back(kind, "create", &known.attributes, &seen);

    for change in changes {
        let mut after = known.attributes.clone();
        for (name, value) in map(change.clone()) {
            match (name.as_str(), value) {
                (_, Value::Null) => drop(after.remove(&name)),
                ("tags", Value::Object(tags)) => {
                    let own = after.entry("tags").or_insert_with(|| json!({}));
                    tags.into_iter().for_each(|(key, value)| own[key] = value);
                }
                (_, value) => drop(after.insert(name, value)),
            }
        }
        let update = update_request(cloud, kind, &known, after);
        let updating = taking(During::Update, &update.before, &update.after, &update.changed);
        for _ in 0..2 {
            declared(cloud, kind, &updating, cloud.update(kind, &update))
                .await
                .unwrap_or_else(|e| panic!("{kind} update {change}: {e}"));
        }
        known.attributes.clone_from(&update.after);
        known.outputs.extend(settle(cloud, kind, &known, Phase::Updated, &updating).await);
        let seen = observed(cloud, kind, &known).await.unwrap_or_else(|| panic!("{kind} is there after {change}"));
        assert_reads_back(kind, &change.to_string(), &known.attributes, &seen);
        for name in map(change.clone()).keys() {
            if !known.attributes.contains_key(name) {
                let empty =
                    seen.get(name).is_none_or(|v| v.is_null() || v == &json!([]) || v == &json!({}) || v == &json!(""));
                assert!(empty, "{kind}.{name} is gone after its removal, and reads {:?}", seen.get(name));
            }
        }
    }

    remove(cloud, kind, &known).await;
}

fn update_request(cloud: &AwsCloud, kind: &str, known: &Known, after: Attributes) -> UpdateRequest {
    let after = canonical(cloud, kind, after);
    let names: BTreeSet<_> = known.attributes.keys().chain(after.keys()).cloned().collect();
    let changed = names.into_iter().filter(|n| known.attributes.get(n) != after.get(n)).collect();
    UpdateRequest {
        address: known.address.clone(),
        id: known.id.clone(),
        before: known.attributes.clone(),
        after,
        changed,
        outputs: known.outputs.clone(),
        token: uuid::Uuid::new_v4().simple().to_string(),
    }
}

/// Lays attributes over those of a resource, once, and waits until the change took hold.
pub async fn change(cloud: &AwsCloud, kind: &str, known: &mut Known, attributes: Value) {
    let mut after = known.attributes.clone();
    after.extend(map(attributes));
    let update = update_request(cloud, kind, known, after);
    let updating = taking(During::Update, &update.before, &update.after, &update.changed);
    declared(cloud, kind, &updating, cloud.update(kind, &update))
        .await
        .unwrap_or_else(|e| panic!("{kind} update: {e}"));
    known.attributes.clone_from(&update.after);
    known.outputs.extend(settle(cloud, kind, known, Phase::Updated, &updating).await);
}

/// Deletes a resource, twice, and sees it gone.
pub async fn remove(cloud: &AwsCloud, kind: &str, known: &Known) {
    let (nothing, none) = (Attributes::new(), BTreeSet::new());
    let deleting = taking(During::Delete, &known.attributes, &nothing, &none);
    for _ in 0..2 {
        declared(cloud, kind, &deleting, cloud.delete(kind, known))
            .await
            .unwrap_or_else(|e| panic!("{kind} delete: {e}"));
        settle(cloud, kind, known, Phase::Deleted, &deleting).await;
    }
    cloud.forget();
    let read = cloud.read(kind, std::slice::from_ref(known)).await;
    assert_eq!(read.unwrap_or_else(|e| panic!("{kind} read: {e}")), [None], "{kind} is gone after delete");
}

/// A test on each emulator for each of these functions, which take the emulator: `vpc::moto`, `vpc::ministack`.
#[macro_export]
macro_rules! on_each_emulator {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn moto() {
                super::$name($crate::support::Emulator::Moto).await;
            }

            #[tokio::test]
            async fn ministack() {
                super::$name($crate::support::Emulator::Ministack).await;
            }
        }
    )+};
}
