//! What was renamed keeps what it is: moves of whole services, with what becomes of their names afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Project, text};
use crate::support::Emulator;

/// A shipped stack as a project of its own.
fn shipped(stack: &str) -> (Project, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = std::fs::read_to_string(folder.join("stacks").join(stack)).expect("it is shipped");
    let is_head = |line: &&str| line.starts_with("name   =") || line.starts_with("region =");
    let body: Vec<&str> = whole.lines().filter(|line| !is_head(line)).collect();
    // What has one name in the whole account is another project's elsewhere.
    let body = body.join("\n").replace("\"eha", "\"{u}").replace("fargate-web.internal", "{u}.internal");
    let project = Project::new(Emulator::Together, &body);
    std::fs::create_dir(project.path("policies")).expect("a folder");
    for name in ["ecs-instance.json", "task.json"] {
        std::fs::copy(folder.join("policies").join(name), project.path("policies").join(name)).expect("it is copied");
    }
    (project, body)
}

/// The stack with the service `web` under another name.
fn renamed(stack: &str, name: &str) -> String {
    stack.replace("service.web", &format!("service.{name}")).replace("[\"web\"]", &format!("[\"{name}\"]"))
}

fn moved(from: &str, to: &str) -> String {
    format!("moved = [{{ from = \"{from}\", to = \"{to}\" }}]\n")
}

/// What the next apply would do but for tags: `action address`, and the attributes that change.
fn planned_beyond_tags(project: &Project) -> BTreeSet<String> {
    let plan = project.plan();
    let mut out = BTreeSet::new();
    for action in plan["actions"].as_array().expect("actions") {
        let word = |key: &str| action[key].as_str().unwrap_or_default().to_owned();
        let paths = action["changes"].as_array().into_iter().flatten();
        let paths: Vec<&str> = paths.filter_map(|change| change["path"].as_str()).collect();
        let is_tags = |path: &&str| path.starts_with("tags.");
        match word("action").as_str() {
            "update" if paths.iter().all(is_tags) => {}
            "no-change" | "read" => {}
            verb => drop(out.insert(format!("{verb} {} ({})", word("address"), paths.join(", ")))),
        }
    }
    out
}

fn nothing() -> BTreeSet<String> {
    BTreeSet::new()
}

fn with_new_addresses(ids: BTreeMap<String, String>, from: &str, to: &str) -> BTreeMap<String, String> {
    let renamed = |address: String| match address.strip_prefix(from) {
        Some(rest) => format!("{to}{rest}"),
        None => address,
    };
    ids.into_iter().map(|(address, id)| (renamed(address), id)).collect()
}

#[tokio::test]
async fn a_service_that_is_moved_stays_as_it_is() {
    let (project, stack) = shipped("ecs-poc.toml");
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let site = renamed(&stack, "site");
    project.write(&(moved("service.web", "service.site") + &site));
    assert_eq!(planned_beyond_tags(&project), nothing());
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the move");
    let after = with_new_addresses(before.clone(), "service.web/", "service.site/");
    assert_eq!(project.ids(), after);

    // Without the entry, too, and once more; what is added later has the names of the first address as well.
    project.write(&site);
    project.plan_is_empty("taking the move out");
    let page = renamed(&stack, "page").replace("cpu = 60", "cpu = 60, memory = 70");
    project.write(&(moved("service.site", "service.page") + &page));
    let planned = planned_beyond_tags(&project);
    assert!(planned.iter().all(|one| one.starts_with("create service.page/scaling_policy.memory ")), "{planned:#?}");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the second move");
    let added = &project.state().resources["service.page/scaling_policy.memory"];
    assert_eq!(added.attributes["name"], format!("{}-web-memory", project.name));

    project.loses_its_state_and_recovers();

    // The name is free in the stack, and taken in the cloud.
    let both = format!("{page}\n[service.web]\ncluster = \"main\"\nimage = \"httpd:2.4\"\nmemory = 128\n");
    project.write(&both);
    let planned = planned_beyond_tags(&project);
    assert!(planned.iter().all(|one| one.starts_with("create service.web/")), "{planned:#?}");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("another service of the first name");
    let state = project.state();
    let name = |address: &str| state.resources[address].attributes["name"].as_str().unwrap_or_default().to_owned();
    assert_eq!(name("service.page/ecs_service.main"), format!("{}-web", project.name));
    assert_eq!(name("service.web/ecs_service.main"), format!("{}-web-2", project.name));
    // It stays so when the other one goes.
    let alone = both.split("[service.page]").next().unwrap_or_default().to_owned()
        + "[service.web]\ncluster = \"main\"\nimage = \"httpd:2.4\"\nmemory = 128\n";
    project.write(&alone);
    let planned = planned_beyond_tags(&project);
    let is_of_page = |one: &String| one.starts_with("delete service.page/") || one.contains("security_group.instances");
    assert!(planned.iter().all(is_of_page), "{planned:#?}");
    project.succeeds(&["apply", "--yes", "--allow-deletes"]);
    project.plan_is_empty("the end of the moved one");
    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    project.nothing_is_left_of(&state).await;
}

#[tokio::test]
async fn a_service_on_fargate_that_is_moved_stays_as_it_is() {
    let (project, stack) = shipped("fargate-web.toml");
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let site = renamed(&stack, "site").replace("service.api", "service.backend");
    let moves = "moved = [{ from = \"service.web\", to = \"service.site\" }, { from = \"service.api\", to = \
                 \"service.backend\" }]\n";
    project.write(&(moves.to_owned() + &site));
    assert_eq!(planned_beyond_tags(&project), nothing());
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the moves");
    let after = with_new_addresses(before.clone(), "service.web/", "service.site/");
    assert_eq!(project.ids(), with_new_addresses(after, "service.api/", "service.backend/"));
    project.loses_its_state_and_recovers();
    // And back again, by hand.
    project.write(&stack);
    project.succeeds(&["state mv", "service.site", "service.web"]);
    project.succeeds(&["state mv", "service.backend", "service.api"]);
    assert_eq!(planned_beyond_tags(&project), nothing());
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(project.ids(), before);
    assert!(project.state().names.is_empty());
    project.plan_is_empty("moving them back");
    project.succeeds(&["destroy", "--yes"]);
}

/// Every block of a stack under another name at once.
#[tokio::test]
async fn a_whole_stack_is_renamed() {
    let (project, stack) = shipped("ecs-poc.toml");
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let names = [
        ("network.main", "network.core"),
        ("cluster.main", "cluster.core"),
        ("capacity.main", "capacity.core"),
        ("load_balancer.main", "load_balancer.core"),
        ("role.instance", "role.node"),
        ("security_group.balancer", "security_group.entry"),
        ("listener.http", "listener.plain"),
        ("repository.app", "repository.images"),
        ("service.web", "service.site"),
    ];
    let mut text = stack.replace("\"main\"", "\"core\"").replace("= \"instance\"", "= \"node\"");
    text = text.replace("[\"balancer\"]", "[\"entry\"]");
    let mut moves = Vec::new();
    for (from, to) in names {
        text = text.replace(from, to);
        moves.push(format!("{{ from = \"{from}\", to = \"{to}\" }}"));
    }
    for name in ["ecs-instance.json", "task.json"] {
        let file = project.path("policies").join(name);
        let policy = std::fs::read_to_string(&file).expect("it is there").replace("cluster.main", "cluster.core");
        std::fs::write(file, policy).expect("it is written");
    }
    project.write(&format!("moved = [{}]\n{text}", moves.join(", ")));
    assert_eq!(planned_beyond_tags(&project), nothing());
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the moves");
    let after = names.iter().fold(before, |ids, (from, to)| with_new_addresses(ids, from, to));
    assert_eq!(project.ids(), after);
    project.loses_its_state_and_recovers();
    project.succeeds(&["destroy", "--yes"]);
}

/// Kinds without tags, too: a policy by itself, and what is started by the clock.
#[tokio::test]
async fn what_carries_no_tags_is_moved_with_its_name() {
    let stack = super::day_after::STACK.to_owned()
        + r#"
[scaling_target.web]
service = "${ecs_service.web.arn}"
min = 2
max = 4

[scaling_policy.web]
target = "${scaling_target.web.id}"
track = { metric = "cpu", value = 60 }

[role.clock]
service = "scheduler.amazonaws.com"

[schedule.night]
at = "rate(1 day)"
cluster = "main"
task_definition = "web"
role = "clock"
network = { subnets = ["a"], security_groups = ["web"] }
"#;
    let project = Project::new(Emulator::Together, &stack);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let site =
        stack.replace("[scaling_policy.web]", "[scaling_policy.load]").replace("schedule.night", "schedule.daily");
    let moves = "moved = [{ from = \"scaling_policy.web\", to = \"scaling_policy.load\" }, { from = \"schedule.night\", \
                 to = \"schedule.daily\" }]\n";
    project.write(&(moves.to_owned() + &site));
    assert_eq!(planned_beyond_tags(&project), nothing());
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the moves");
    let after = with_new_addresses(before, "scaling_policy.web", "scaling_policy.load");
    assert_eq!(project.ids(), with_new_addresses(after, "schedule.night", "schedule.daily"));
    // Nothing in the cloud tells; the stack does, as long as it says what was moved.
    project.loses_its_state_and_recovers();
    project.succeeds(&["destroy", "--yes"]);
}

const SERVICES: &str = r#"
[cluster.main]

[network.main]
cidr = "10.0.0.0/16"
endpoints = []
subnets = { private = ["a"] }

[service.web]
cluster = "main"
image = "nginx:1.29"
"#;

const API: &str = "\n[service.api]\ncluster = \"main\"\nimage = \"httpd:2.4\"\n";

/// The text of a plan, with what is told beside it.
fn plan_as_read(project: &Project) -> String {
    let output = project.run(&["plan"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    super::day_after::settled(&format!("{err}{out}"), project)
}

/// Who renames a service and says nothing of it is told before it is made anew.
#[tokio::test]
async fn what_looks_renamed_is_told() {
    let project = Project::new(Emulator::Together, SERVICES);
    project.succeeds(&["apply", "--yes"]);
    let site = renamed(SERVICES, "site");
    project.write(&site);
    let told = plan_as_read(&project);
    let (_, end) = told.split_once("Plan:").expect("a summary");
    insta::assert_snapshot!(end, @r#"
     5 to create, 5 to delete; 4 as they should be.
    + create   - delete
    note: service.site looks like service.web renamed, and would be made anew
      moved = [{ from = "service.web", to = "service.site" }] at the top of the stack keeps what stands there
    "#);
    assert_eq!(project.plan()["renames"], serde_json::json!([{ "from": "service.web", "to": "service.site" }]));
    project.write(&(moved("service.web", "service.site") + &site));
    assert_eq!(planned_beyond_tags(&project), nothing());
    assert_eq!(project.plan()["renames"], serde_json::json!([]));
    // Another service is none that was renamed.
    project.write(&(SERVICES.split("[service.web]").next().unwrap_or_default().to_owned()
        + "[service.site]\ncluster = \"main\"\nimage = \"httpd:2.4\"\ncpu = 512\nmemory = 2048\nport = 8080\nfrom = \
           [\"10.0.0.0/16\"]\nexec = true\nlogs = { retention_days = 7 }\nscale = { min = 2, max = 4, cpu = 60 }\n"));
    assert_eq!(project.plan()["renames"], serde_json::json!([]));
    project.succeeds(&["destroy", "--yes"]);
}

/// Runs after the one that is gone back to moved, added and replaced what the state then no longer tells rightly.
#[tokio::test]
async fn the_state_goes_back_behind_moves_and_what_was_made_since() {
    let project = Project::new(Emulator::Together, SERVICES);
    project.succeeds(&["apply", "--yes"]);
    let first = project.ids();
    let with_api = SERVICES.to_owned() + API;
    project.write(&with_api);
    project.succeeds(&["apply", "--yes"]);
    let second = project.ids();
    let told = project.succeeds(&["history restore", "1", "--yes"]);
    assert!(told.contains("service.api/ecs_service.main was made since, and stays known"), "{told}");
    project.plan_is_empty("going back behind what was made");

    let site = renamed(&with_api, "site");
    project.write(&(moved("service.web", "service.site") + &site));
    project.succeeds(&["apply", "--yes"]);
    let third = project.ids();
    project.succeeds(&["history restore", "1", "--yes"]);
    assert_eq!(project.ids(), second, "at the addresses of then, with what was made since");
    assert_eq!(planned_beyond_tags(&project), nothing(), "going back behind a move that the stack tells of");
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(project.ids(), third);

    // The stack no longer tells of the move; the cloud does.
    project.succeeds(&["history restore", "1", "--yes"]);
    project.write(&site);
    assert_eq!(project.plan()["renames"], serde_json::json!([{ "from": "service.web", "to": "service.site" }]));
    project.write(&(moved("service.web", "service.site") + &site));
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(project.ids(), third);
    project.plan_is_empty("going back behind the move");

    // Something else stands at the address by now.
    project.succeeds(&["apply", "--yes", "--replace", "service.site/security_group.tasks", "--allow-deletes"]);
    let fourth = project.ids();
    assert_ne!(third["service.site/security_group.tasks"], fourth["service.site/security_group.tasks"]);
    let number = project.state().serial - 1;
    project.succeeds(&["history restore", &number.to_string(), "--yes"]);
    project.plan_is_empty("going back behind a replacement");
    assert_eq!(project.ids(), fourth);
    assert!(first.len() < fourth.len());
    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    project.nothing_is_left_of(&state).await;
}

/// A state that is lost takes with it what verbs put in place of what the stack says; what they put is there still.
#[tokio::test]
async fn what_was_deployed_outlives_the_state() {
    let project = Project::new(Emulator::Together, SERVICES);
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["deploy", "web", "--image", "nginx:1.30", "--yes"]);
    project.succeeds(&["scale", "web", "2", "--yes"]);
    std::fs::remove_dir_all(project.path("state")).expect("the state is lost");
    let told = project.succeeds(&["recover", "--yes"]);
    let held: Vec<&str> = told.lines().filter(|line| line.starts_with('=') || line.starts_with("What a")).collect();
    insta::assert_snapshot!(held.join("\n"), @r#"
    = service.web/ecs_service.main  count 2; the stack says 1
    = service.web/task_definition.main  containers.web.image "nginx:1.30"; the stack says "nginx:1.29"
    What a deploy, rollback or scale may have set is held as it is; `cofferdam apply stack.toml --cloud aws --reset` makes it what the stack says.
    "#);
    project.plan_is_empty("recovering");
    let plan = plan_as_read(&project);
    let held: Vec<&str> = plan.lines().filter(|line| line.starts_with('=')).collect();
    insta::assert_snapshot!(held.join("\n"), @r#"
    = service.web/ecs_service.main  count 2, held by recover since MOMENT (WHO); the stack says 1; --reset takes it back
    = service.web/task_definition.main  containers.web.image "nginx:1.30", held by recover since MOMENT (WHO); the stack says "nginx:1.29"; --reset takes it back
    "#);
    // Going back to an earlier revision is held, too.
    project.succeeds(&["rollback", "web", "--yes"]);
    std::fs::remove_dir_all(project.path("state")).expect("the state is lost");
    project.succeeds(&["recover", "--yes"]);
    project.plan_is_empty("recovering after a rollback");
    project.succeeds(&["apply", "--yes", "--reset"]);
    let images =
        &project.state().resources["service.web/task_definition.main"].attributes["containers"]["web"]["image"];
    assert_eq!(images, "nginx:1.29");
    project.plan_is_empty("taking it all back");
    project.succeeds(&["destroy", "--yes"]);
}
