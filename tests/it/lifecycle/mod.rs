//! Each kind through the whole tool, as a user meets it: `--cloud aws` against an emulator's endpoint.
//!
//! A case is a stack, changes to its text, and drift. The driver applies the stack and sees an empty second plan; makes
//! each change, sees it planned for the right address with the right action, applies it and sees an empty plan again;
//! makes each drift behind the tool's back, sees it found, and repaired; deletes resources behind the tool's back and
//! sees them made again; and destroys everything.

mod around;
mod attributes;
mod balancing;
mod compute;
mod constructs;
mod day_after;
mod deployments;
mod dns;
mod ec2;
mod identity;
mod moves;
mod network;
mod services;
mod workflow;
mod workloads;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use cofferdam::aws::Aws;
use cofferdam::cloud::{Cloud, Known, Phase, Progress, UpdateRequest};
use cofferdam::graph::Address;
use cofferdam::kinds::AwsCloud;
use cofferdam::state::{State, Store};
use serde_json::Value;

use crate::support::Emulator;

/// A change of a stack's text: what is replaced, by what, and the action that is planned.
pub type Change = (&'static str, &'static str, &'static str);

/// A stack and what is done to it.
pub struct Case {
    /// Its text; `{u}` stands for something unique.
    pub stack: String,
    /// The resource that the case is about.
    pub address: &'static str,
    /// Changes to the text, each on top of those before.
    pub changes: Vec<Change>,
    /// Attributes that somebody changes behind the tool's back, by the kind's own update; `{u}` as in the stack.
    pub drifts: Vec<(&'static str, Value)>,
}

/// What is done to a stack that was applied. `address.attribute` names what a plan must hold.
pub enum Step {
    /// Texts of the stack are replaced by others; then these attributes change, in these ways.
    Change(Vec<(&'static str, &'static str)>, Vec<(&'static str, &'static str)>),
    /// Somebody changes an attribute behind the tool's back, by the kind's own update. Text that begins with `@` is an
    /// address and stands for the id there.
    Drift(&'static str, &'static str, Value),
    /// Somebody deletes these resources behind the tool's back, one after the other.
    Gone(&'static [&'static str]),
}

/// A change of the text that changes one attribute in this way: `one("a = 1", "a = 2", "update", "kind.name.a")`.
pub fn one(from: &'static str, to: &'static str, action: &'static str, attribute: &'static str) -> Step {
    Step::Change(vec![(from, to)], vec![(action, attribute)])
}

/// Several changes of the text, applied together, of attributes that change in this way.
pub fn many(edits: &[(&'static str, &'static str)], action: &'static str, attributes: &[&'static str]) -> Step {
    Step::Change(edits.to_vec(), attributes.iter().map(|attribute| (action, *attribute)).collect())
}

/// A project folder with one stack, applied through an emulator's endpoint.
pub struct Project {
    folder: tempfile::TempDir,
    emulator: Emulator,
    pub name: String,
    /// Whether applies leave deployments of services to themselves: moto's services never run a task.
    pub no_wait: bool,
}

impl Project {
    /// A project with this stack.
    pub fn new(emulator: Emulator, stack: &str) -> Self {
        let name = crate::support::unique("t");
        let project = Self { folder: tempfile::tempdir().expect("a folder"), emulator, name, no_wait: false };
        project.write(stack);
        project
    }

    /// Writes the stack file.
    pub fn write(&self, stack: &str) {
        let head = format!("name = \"{}\"\nregion = \"eu-west-2\"\n", self.name);
        let text = head + &stack.replace("{u}", &self.name);
        std::fs::write(self.path("stack.toml"), text).expect("the stack is written");
    }

    /// A value with something unique for `{u}`.
    fn unique(&self, value: &Value) -> Value {
        serde_json::from_str(&value.to_string().replace("{u}", &self.name)).expect("JSON")
    }

    /// A file of the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a verb on the stack.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let (verb, rest) = arguments.split_first().expect("a verb");
        let mut command = self.command();
        command.args(verb.split(' ')).args(["stack.toml", "--cloud", "aws"]).args(rest);
        command.output().expect("the binary runs")
    }

    /// The binary in the project's folder, with the emulator as AWS.
    pub fn command(&self) -> Command {
        let how = self.emulator.connect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", how.endpoint.as_deref().expect("an endpoint"));
        for (service, endpoint) in &how.endpoints {
            command.env(format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()), endpoint);
        }
        command
    }

    /// Runs a verb that must succeed; gives its stdout.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?} failed:\n{out}\n{err}");
        out
    }

    /// Applies the stack.
    pub fn applies(&self) {
        let arguments: &[&str] = if self.no_wait { &["apply", "--yes", "--no-wait"] } else { &["apply", "--yes"] };
        self.succeeds(arguments);
    }

    /// Sees that a plan has nothing to do.
    pub fn plan_is_empty(&self, after: &str) {
        let output = self.run(&["plan", "--detailed-exitcode"]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "the plan after {after} is not empty:\n{out}\n{err}");
    }

    /// The plan as JSON.
    pub fn plan(&self) -> Value {
        serde_json::from_str(&self.succeeds(&["plan", "--json"])).expect("the plan is JSON")
    }

    /// What the next apply would do, as `action address`.
    pub fn planned(&self, arguments: &[&str]) -> BTreeSet<String> {
        let plan: Value =
            serde_json::from_str(&self.succeeds(&[&["plan", "--json"], arguments].concat())).expect("JSON");
        let actions = plan["actions"].as_array().expect("actions").iter();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        actions.map(|one| format!("{} {}", text(one, "action"), text(one, "address"))).collect()
    }

    /// The ids of everything in the state, by address.
    pub fn ids(&self) -> std::collections::BTreeMap<String, String> {
        self.state().resources.into_iter().map(|(address, entry)| (address.to_string(), entry.id)).collect()
    }

    /// The state on disk.
    pub fn state(&self) -> State {
        let folder = self.path("state").join(&self.name);
        let inside = std::fs::read_dir(folder).expect("a state").next().expect("one state").expect("readable").path();
        Store::at(&inside).read().expect("whole").expect("there")
    }

    /// Changes attributes of a resource behind the tool's back, by its kind's own update.
    pub async fn change_behind(&self, address: &str, attribute: &str, value: Value) {
        let cloud = self.emulator.cloud().await;
        let state = self.state();
        let entry = &state.resources[address];
        let address = Address::parse(address).expect("an address");
        let mut after = entry.attributes.clone();
        if value.is_null() {
            after.remove(attribute);
        } else {
            after.insert(attribute.to_owned(), value);
        }
        let request = UpdateRequest {
            address: address.clone(),
            id: entry.id.clone(),
            before: entry.attributes.clone(),
            after,
            changed: BTreeSet::from([attribute.to_owned()]),
            outputs: entry.outputs.clone(),
            token: uuid::Uuid::new_v4().simple().to_string(),
        };
        cloud.update(address.kind(), &request).await.expect("the change behind the tool's back is made");
    }

    /// Deletes a resource behind the tool's back, by its kind's own delete.
    pub async fn delete_behind(&self, address: &str) {
        // Somebody of this stack, for whom the cluster is the stack's own.
        let aws = Aws::connect(&self.emulator.connect(), &self.name, None).await.expect("the emulator answers");
        let cloud = AwsCloud::new(aws);
        let known = known(&self.state(), address);
        let kind = known.address.kind();
        cloud.delete(kind, &known).await.expect("it is deleted behind the tool's back");
        for _ in 0..50 {
            if let Progress::Done(_) = cloud.poll(kind, &known, Phase::Deleted).await.expect("it is polled") {
                return;
            }
        }
        panic!("{address} does not go");
    }

    /// Sees that nothing of this state is left in the cloud.
    pub async fn nothing_is_left_of(&self, state: &State) {
        let cloud = self.emulator.cloud().await;
        for (address, _) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
            cloud.forget();
            let left = cloud.read(address.kind(), &[known(state, address.as_str())]).await.expect("it is read");
            assert_eq!(left, [None], "{address} is left after destroy");
        }
    }
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn known(state: &State, address: &str) -> Known {
    let entry = &state.resources[address];
    Known {
        address: Address::parse(address).expect("an address"),
        id: entry.id.clone(),
        attributes: entry.attributes.clone(),
        outputs: entry.outputs.clone(),
    }
}

/// The value with the ids for the addresses in it.
fn with_ids(value: Value, state: &State) -> Value {
    match value {
        Value::String(text) if text.starts_with('@') => state.resources[&text[1..]].id.clone().into(),
        Value::Array(items) => items.into_iter().map(|item| with_ids(item, state)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, item)| (key, with_ids(item, state))).collect(),
        other => other,
    }
}

/// Runs a case.
pub async fn run(emulator: Emulator, case: Case) {
    let changes = case.changes.into_iter().map(|(from, to, action)| one(from, to, action, case.address));
    let drifts = case.drifts.into_iter().map(|(attribute, value)| Step::Drift(case.address, attribute, value));
    tell(emulator, &case.stack, changes.chain(drifts).collect()).await;
}

/// Applies a stack, takes each step, and destroys it, seeing to it that nothing is left.
pub async fn tell(emulator: Emulator, stack: &str, steps: Vec<Step>) {
    let project = Project::new(emulator, stack);
    project.applies();
    project.plan_is_empty("the first apply");
    go_on(project, stack, steps).await;
}

/// Takes each step of a stack that was applied, and destroys it.
pub async fn go_on(project: Project, stack: &str, steps: Vec<Step>) {
    let mut stack = stack.to_owned();
    for step in steps {
        match step {
            Step::Change(edits, planned) => project.change(&mut stack, &edits, &planned),
            Step::Drift(address, attribute, value) => project.drift(address, attribute, value).await,
            Step::Gone(addresses) => project.gone(addresses).await,
        }
    }
    let state = project.state();
    // ministack keeps no tags of key pairs, by which they would be found.
    let is_lost = |address: &Address| project.emulator == Emulator::Ministack && address.kind() == "key_pair";
    if !state.resources.keys().any(is_lost) {
        project.loses_its_state_and_recovers();
    }
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty(), "the state is empty after destroy");
    project.nothing_is_left_of(&state).await;
}

impl Project {
    fn change(&self, stack: &mut String, edits: &[(&str, &str)], planned: &[(&str, &str)]) {
        for (from, to) in edits {
            assert!(stack.contains(from), "the stack holds {from:?}:\n{stack}");
            *stack = stack.replace(from, to);
        }
        self.write(stack);
        let plan = self.plan();
        record(&plan);
        for (action, attribute) in planned {
            let (address, name) = split(attribute);
            if *action == "no change" {
                assert!(action_of(&plan, address).is_none(), "{edits:?} changes nothing of {address}:\n{plan:#}");
                continue;
            }
            let found = action_of(&plan, address).unwrap_or_else(|| panic!("{address} is in the plan: {plan:#}"));
            assert_eq!(found["action"], *action, "{edits:?} is planned for {address}:\n{plan:#}");
            let of_name =
                |path: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            let changes = found["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
            let changed = changes.iter().any(|change| change["path"].as_str().is_some_and(of_name));
            assert!(name.is_empty() || changed, "{edits:?} changes {attribute}:\n{plan:#}");
        }
        self.applies();
        self.plan_is_empty(&format!("{edits:?}"));
    }

    async fn drift(&self, address: &str, attribute: &str, value: Value) {
        let value = self.unique(&value);
        let what = format!("{address}.{attribute} = {value}");
        self.change_behind(address, attribute, with_ids(value, &self.state())).await;
        let told = self.has_drift(&what);
        assert!(told.contains(address) && told.contains(attribute), "drift names {what}: {told}");
        self.repairs(&what);
    }

    async fn gone(&self, addresses: &[&str]) {
        let what = format!("the loss of {addresses:?}");
        for address in addresses {
            self.delete_behind(address).await;
        }
        let told = self.has_drift(&what);
        assert!(addresses.iter().all(|address| told.contains(address)), "drift names {what}: {told}");
        let plan = self.plan();
        for address in addresses {
            let action = action_of(&plan, address).map(|found| &found["action"]);
            assert_eq!(action, Some(&Value::from("create")), "{address} is made again after {what}:\n{plan:#}");
        }
        self.repairs(&what);
    }

    fn has_drift(&self, what: &str) -> String {
        let output = self.run(&["drift", "--json", "--detailed-exitcode"]);
        let (told, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{what} is found: {told}\n{err}");
        told
    }

    fn repairs(&self, what: &str) {
        self.applies();
        self.plan_is_empty(&format!("repairing {what}"));
        let output = self.run(&["drift", "--detailed-exitcode"]);
        assert_eq!(output.status.code(), Some(0), "no drift after repairing {what}: {}", text(&output.stdout));
    }
}

/// Appends `kind.attribute action` of each change of a plan to the file that `COFFERDAM_CHANGED` names, to see which attributes no
/// case changes.
fn record(plan: &Value) {
    let Some(file) = std::env::var_os("COFFERDAM_CHANGED") else { return };
    let mut lines = String::new();
    for action in plan["actions"].as_array().into_iter().flatten() {
        for change in action["changes"].as_array().into_iter().flatten() {
            let path = change["path"].as_str().unwrap_or_default().split('.').next().unwrap_or_default();
            let (kind, done) =
                (action["kind"].as_str().unwrap_or_default(), action["action"].as_str().unwrap_or_default());
            lines += &format!("{kind}.{path} {done}\n");
        }
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).expect("the record opens");
    std::io::Write::write_all(&mut file, lines.as_bytes()).expect("the record is written");
}

fn action_of<'a>(plan: &'a Value, address: &str) -> Option<&'a Value> {
    plan["actions"].as_array()?.iter().find(|one| one["address"] == address)
}

/// `kind.name.attribute` as `kind.name` and `attribute`, which may be missing; what comes before a slash is of the address.
fn split(attribute: &str) -> (&str, &str) {
    let own = attribute.find('/').map_or(0, |slash| slash + 1);
    match attribute[own..].match_indices('.').nth(1) {
        Some((at, _)) => (&attribute[..own + at], &attribute[own + at + 1..]),
        None => (attribute, ""),
    }
}
