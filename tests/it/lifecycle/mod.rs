//! Each kind through the whole tool, as a user meets it: `--cloud aws` against an emulator's endpoint.
//!
//! A case is a stack, changes to its text, and drift. The driver applies the stack and sees an empty second plan; makes
//! each change, sees it planned for the right address with the right action, applies it and sees an empty plan again;
//! makes each drift behind the tool's back, sees it found, and repaired; and destroys everything.

mod constructs;
mod dns;
mod identity;
mod network;
mod workflow;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use cofferdam::cloud::{Cloud, Known, UpdateRequest};
use cofferdam::graph::{Address, Attributes};
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

/// A project folder with one stack, applied through an emulator's endpoint.
pub struct Project {
    folder: tempfile::TempDir,
    emulator: Emulator,
    name: String,
}

impl Project {
    /// A project with this stack.
    pub fn new(emulator: Emulator, stack: &str) -> Self {
        let name = crate::support::unique("t");
        let project = Self { folder: tempfile::tempdir().expect("a folder"), emulator, name };
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

    /// Sees that nothing of this state is left in the cloud.
    pub async fn nothing_is_left_of(&self, state: &State) {
        let cloud = self.emulator.cloud().await;
        for (address, entry) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
            let known = Known {
                address: address.clone(),
                id: entry.id.clone(),
                attributes: entry.attributes.clone(),
                outputs: Attributes::clone(&entry.outputs),
            };
            cloud.forget();
            let left = cloud.read(address.kind(), &[known]).await.expect("it is read");
            assert_eq!(left, [None], "{address} is left after destroy");
        }
    }
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a case.
pub async fn run(emulator: Emulator, case: Case) {
    let project = Project::new(emulator, &case.stack);
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");

    let mut stack = case.stack.clone();
    for (from, to, action) in &case.changes {
        assert!(stack.contains(from), "the stack holds {from:?}:\n{stack}");
        stack = stack.replace(from, to);
        project.write(&stack);
        let plan = project.plan();
        let planned = plan["actions"].as_array().and_then(|all| all.iter().find(|one| one["address"] == case.address));
        let planned = planned.map_or("no change", |one| one["action"].as_str().unwrap_or_default());
        assert_eq!(planned, *action, "{from:?} → {to:?} is planned for {}:\n{plan:#}", case.address);
        project.succeeds(&["apply", "--yes"]);
        project.plan_is_empty(&format!("{from:?} → {to:?}"));
    }

    for (attribute, value) in &case.drifts {
        let value = project.unique(value);
        project.change_behind(case.address, attribute, value.clone()).await;
        let output = project.run(&["drift", "--json", "--detailed-exitcode"]);
        let told = text(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "drift of {attribute} to {value} is found: {told}");
        assert!(told.contains(case.address) && told.contains(attribute), "drift names {attribute}: {told}");
        project.succeeds(&["apply", "--yes"]);
        project.plan_is_empty(&format!("repairing {attribute} = {value}"));
        let output = project.run(&["drift", "--detailed-exitcode"]);
        assert_eq!(output.status.code(), Some(0), "no drift after repairing: {}", text(&output.stdout));
    }

    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty(), "the state is empty after destroy");
    project.nothing_is_left_of(&state).await;
}
