//! The command line as a user meets it: what is printed where, and with which exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::lifecycle::{Project, text};
use crate::support::{Emulator, make, remove};

/// A run as it is kept: the command line, what it printed where, and its exit code.
fn transcript(arguments: &[&str], output: &Output) -> String {
    let mut shown = format!("$ cofferdam {}\n", arguments.join(" "));
    for (name, bytes) in [("", &output.stdout), ("stderr:\n", &output.stderr)] {
        if !bytes.is_empty() {
            shown.push_str(name);
            shown.push_str(&text(bytes));
        }
    }
    shown + &format!("exit code {}\n", output.status.code().expect("it ends by itself"))
}

/// Runs the binary in a folder, with nothing of this process's environment.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.current_dir(folder).env_clear().env("HOME", folder).stdin(std::process::Stdio::null());
    transcript(arguments, &command.args(arguments).output().expect("the binary runs"))
}

/// Keeps a text in a snapshot; a difference fails the test.
fn keep(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "snapshots/cli", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Takes out what differs from run to run: ids, durations, request ids.
fn settled(text: &str, name: &str) -> String {
    let text = text.replace(name, "demo");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(word) {
        let (before, from) = rest.split_at(at);
        let (token, after) = from.split_at(from.find(|c| !word(c)).unwrap_or(from.len()));
        out.push_str(before);
        rest = after;
        let hex = |part: &str| part.len() >= 8 && part.chars().all(|c| c.is_ascii_hexdigit());
        match token.rsplit_once('-') {
            // A UUID before an id: both end in hexadecimal.
            _ if token.len() == 36 && token.matches('-').count() == 4 => out.push('…'),
            Some((prefix, id)) if hex(id) && prefix.chars().all(|c| c.is_ascii_lowercase()) => {
                out.push_str(&format!("{prefix}-…"));
            }
            None if token.len() > 20 && token.chars().any(|c| c.is_ascii_digit()) => out.push('…'),
            // `0.4s`: its first half is out already.
            _ if out.ends_with('.') && is_tenths(token) => {
                out.truncate(out.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit()).len());
                out.push('…');
            }
            _ => out.push_str(token),
        }
    }
    out + rest
}

fn is_tenths(token: &str) -> bool {
    token.strip_suffix('s').is_some_and(|digit| digit.len() == 1 && digit.chars().all(|c| c.is_ascii_digit()))
}

/// What runs at the same time ends in any order: progress is kept sorted.
fn sorted_progress(output: &Output) -> Output {
    let err = text(&output.stderr);
    let mut lines: Vec<&str> = err.lines().collect();
    lines.sort_unstable();
    let stderr = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    Output { status: output.status, stdout: output.stdout.clone(), stderr }
}

#[test]
fn help_of_each_verb() {
    let folder = tempfile::tempdir().expect("a folder");
    let verbs = [
        "",
        "validate",
        "plan",
        "rehearse",
        "apply",
        "destroy",
        "deploy",
        "rollback",
        "releases",
        "scale",
        "restart",
        "status",
        "ps",
        "events",
        "logs",
        "run",
        "exec",
        "drift",
        "show",
        "output",
        "graph",
        "state",
        "state list",
        "state show",
        "state mv",
        "state rm",
        "state migrate",
        "history",
        "history show",
        "history restore",
        "lock",
        "lock show",
        "lock break",
        "import",
        "schema",
        "cloud",
        "cloud up",
        "completions",
    ];
    for verb in verbs {
        let arguments: Vec<&str> = verb.split(' ').filter(|word| !word.is_empty()).chain(["--help"]).collect();
        let name = if verb.is_empty() { "help".to_owned() } else { format!("help_{}", verb.replace(' ', "_")) };
        keep(&name, &run(folder.path(), &arguments));
    }
}

/// What the helps give as examples and needs no cloud works as it is printed.
#[test]
fn examples_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["stacks", "policies"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        for entry in fs::read_dir(root.join(name)).expect("it is there") {
            let path = entry.expect("readable").path();
            fs::copy(&path, folder.path().join(name).join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    for verb in ["validate", "rehearse", "graph", "schema"] {
        let help = run(folder.path(), &[verb, "--help"]);
        for example in help.lines().filter_map(|line| line.strip_prefix(&format!("  cofferdam {verb} "))) {
            let example = example.split("  ").next().and_then(|own| own.split(" | ").next()).unwrap_or_default();
            if example.contains("--plan") {
                continue;
            }
            let words: Vec<&str> = std::iter::once(verb).chain(example.split_whitespace()).collect();
            let told = run(folder.path(), &words);
            assert!(told.ends_with("exit code 0\n"), "{told}");
        }
    }
}

#[test]
fn a_rehearsal() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = r#"
        name = "demo"
        region = "eu-west-2"

        [network.main]
        cidr = "10.0.0.0/16"
        nat = "single"

        [network.main.subnets]
        private = { a = "10.0.0.0/24" }
        public = { a = "10.0.1.0/24" }

        [role.app]
        service = "ecs-tasks.amazonaws.com"

        [log_group.app]
    "#;
    fs::write(folder.path().join("demo.toml"), stack).expect("the stack is written");
    let told = [
        run(folder.path(), &["rehearse", "demo.toml", "--times", "5"]),
        run(folder.path(), &["rehearse", "demo.toml", "--destroy", "--times", "1"]),
        run(folder.path(), &["rehearse", "demo.toml", "--json", "--times", "1"]),
        run(folder.path(), &["rehearse", "demo.toml", "--times", "0"]),
    ];
    keep("rehearse", &told.join("\n"));
    assert!(!folder.path().join("state").exists(), "nothing is written");
}

#[test]
fn wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong: [&[&str]; 15] = [
        &[],
        &["aply", "ecs-poc"],
        &["plan"],
        &["plan", "ecs-poc", "--clod", "aws"],
        &["plan", "ecs-poc", "--cloud", "azure"],
        &["plan", "ecs-poc", "--var", "size"],
        &["plan", "ecs-poc", "--refresh", "perhaps"],
        &["apply", "ecs-poc", "--plan", "a.plan", "--target", "vpc.main"],
        &["apply", "ecs-poc", "--slots", "0"],
        &["apply", "ecs-poc", "--lock-wait", "10"],
        &["history"],
        &["history", "show", "ecs-poc"],
        &["state", "rm", "ecs-poc"],
        &["import", "ecs-poc", "vpc.main"],
        &["graph", "ecs-poc", "--format", "svg"],
    ];
    let told: Vec<String> = wrong.iter().map(|arguments| run(folder.path(), arguments)).collect();
    assert!(told.iter().all(|one| one.ends_with("exit code 2\n")), "{}", told.join("\n"));
    keep("wrong_usage", &told.join("\n"));
}

const MINIMAL: &str = include_str!("../../stacks/minimal.toml");

#[test]
fn a_stack_that_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut told = vec![run(folder.path(), &["validate", "minimal"])];
    fs::create_dir(folder.path().join("stacks")).expect("a folder");
    for name in ["minimal", "network"] {
        fs::write(folder.path().join(format!("stacks/{name}.toml")), MINIMAL).expect("it is written");
    }
    for arguments in [
        &["validate", "minmal"][..],
        &["validate", "elsewhere"],
        &["validate", "minimal"],
        &["validate", "minimal", "--env", "staging"],
    ] {
        told.push(run(folder.path(), arguments));
    }
    keep("a_stack_that_is_not_there", &told.join("\n"));
}

/// Everything that is wrong is told in one run, and no cloud is asked: there is none here.
#[test]
fn broken_stacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let stacks = [
        ("typo", "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[subnet.a]\nvpc = \"mian\"\ncidir = \"10.0.0.0/24\"\n"),
        ("kind", "[vcp.main]\ncidr = \"10.0.0.0/16\"\n"),
        ("types", "[vpc.main]\ncidr = 10\n\n[log_group.web]\nretention_days = 8\n"),
        ("cycle", "[role.a]\nservice = \"${role.b.name}\"\n\n[role.b]\nservice = \"${role.a.name}\"\n"),
        (
            "overlap",
            "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = { private = { a = \"10.0.0.0/24\", b = \
             \"10.0.0.128/25\" } }\n",
        ),
        ("missing", "[role.a]\nservice = \"ec2.amazonaws.com\"\npolicies = [\"policies/nowhere.json\"]\n"),
        ("json", "[role.a]\nservice = \"ec2.amazonaws.com\"\npolicies = [\"broken.json\"]\n"),
        ("zone", "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = { private = [\"a\", \"x\"] }\n"),
        ("syntax", "[vpc.main\ncidr = \"10.0.0.0/16\"\n"),
        ("twice", "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[vpc.main]\ncidr = \"10.1.0.0/16\"\n"),
        ("host_bits", "[vpc.main]\ncidr = \"10.0.0.1/16\"\n"),
        ("too_large", "[vpc.main]\ncidr = \"10.0.0.0/8\"\n"),
        ("other_tool", "[vpc.main]\ncidr_block = \"10.0.0.0/16\"\nenable_dns_hostnames = true\n"),
        ("attribute", "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[outputs]\nid = \"${vpc.main.cird}\"\n"),
        ("variable", "[vars]\nrange = \"10.0.0.0/16\"\n\n[vpc.main]\ncidr = \"${vars.rnage}\"\n"),
        ("no_value", "[vars]\nrange = { description = \"the range\" }\n\n[vpc.main]\ncidr = \"${vars.range}\"\n"),
        ("other_stack", "[outputs]\nvpc = \"${stack.network.vpc_id}\"\n"),
        ("upper_case", "[repository.app]\nname = \"eHa\"\n"),
        (
            "sizes",
            "[autoscaling_group.a]\nlaunch_template = \"lt-0123456789abcdef0\"\nsubnets = [\"subnet-0123456789abcdef0\"]\nmin = 3\nmax = 1\n",
        ),
        (
            "ports",
            "[security_group.a]\nvpc = \"vpc-0123456789abcdef0\"\ningress = [{ ports = \"80-70000\", from = [\"10.0.0.0/8\"] }]\n",
        ),
        ("record", "[hosted_zone.a]\nname = \"example..local\"\n"),
        ("overlay", "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[env.prod.vpc.main]\ncidr = \"10.0.0.0/33\"\n"),
        ("tags", "[tags]\n\"aws:team\" = \"a\"\n\n[vpc.main]\ncidr = \"10.0.0.0/16\"\ntags = { Name = 7 }\n"),
        ("state_url", "[state]\nurl = \"https://our-states/web\"\n\n[vpc.main]\ncidr = \"10.0.0.0/16\"\n"),
        ("capacity", "[capacity.main]\ncluster = \"mani\"\ninstance_type = \"t3.smal\"\nsize = { min = 2, max = 1 }\n"),
    ];
    fs::write(folder.path().join("broken.json"), "{\n  \"Statement\": [,]\n}\n").expect("it is written");
    for (name, stack) in stacks {
        let file = format!("{name}.toml");
        let text = format!("name = \"broken\"\nregion = \"eu-west-2\"\n{stack}");
        fs::write(folder.path().join(&file), text).expect("it is written");
        // What another stack puts out is needed by who plans.
        let verb = if name == "other_stack" { "plan" } else { "validate" };
        let told = run(folder.path(), &[verb, &file, "--cloud", "aws"]);
        assert!(told.ends_with("exit code 1\n"), "{told}");
        keep(&format!("broken_{name}"), &told);
        // Every other verb that works on more than the state tells the same before it asks any cloud.
        let verbs: &[&str] = if name == "overlay" { &[] } else { &["plan", "apply", "drift", "graph"] };
        for verb in verbs {
            let again = run(folder.path(), &[*verb, &file, "--cloud", "aws"]);
            assert_eq!(again.split_once('\n').map(|(_, rest)| rest), told.split_once('\n').map(|(_, rest)| rest));
        }
        // Two of one name in one folder are told of.
        fs::remove_file(folder.path().join(&file)).expect("it was written");
    }
}

/// A stack without its own name and region, which the test's project gives.
fn body(stack: &str) -> String {
    let own = |line: &&str| !line.starts_with("name") && !line.starts_with("region");
    stack.lines().filter(own).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_minimal_stack_from_plan_to_destroy() {
    let project = Project::new(Emulator::Together, &body(MINIMAL));
    let kept = |name: &str, arguments: &[&str]| {
        let output = project.run(arguments);
        keep(name, &settled(&transcript(arguments, &sorted_progress(&output)), &project.name));
    };
    kept("minimal_plan", &["plan"]);
    kept("minimal_apply", &["apply", "--yes"]);
    kept("minimal_plan_again", &["plan"]);
    kept("minimal_output", &["output"]);
    kept("minimal_drift", &["drift"]);
    project.write(&body(MINIMAL).replace("max = 2", "max = 4").replace("\"single\"", "\"per-az\""));
    kept("minimal_plan_of_a_change", &["plan"]);
    kept("minimal_destroy", &["destroy", "--yes"]);
    kept("minimal_destroy_again", &["destroy", "--yes"]);
}

const TWO: &str = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[log_group.web]\nretention_days = 7\n";

#[test]
fn nobody_is_asked_without_a_terminal() {
    let project = Project::new(Emulator::Moto, TWO);
    let told = |arguments: &[&str]| {
        let output = project.run(arguments);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = told(&["apply"]);
    assert_eq!(code, Some(1), "{out}\n{err}");
    assert!(out.contains("2 to create"), "the plan is shown: {out}");
    assert!(err.contains("no terminal to ask on") && err.contains("--yes"), "{err}");
    assert_eq!(project.planned(&[]).len(), 2, "nothing was changed");
    project.succeeds(&["apply", "--yes"]);
    // Where nothing changes, nobody needs to approve.
    let (code, out, err) = told(&["apply"]);
    assert_eq!(code, Some(0), "{out}\n{err}");
    let (code, out, err) = told(&["destroy"]);
    assert_eq!(code, Some(1), "{out}\n{err}");
    assert!(err.contains("--yes"), "{err}");
    project.plan_is_empty("a destroy that nobody approved");
    project.succeeds(&["destroy", "--yes"]);
}

#[test]
fn every_environment_is_checked_and_each_thing_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = "name = \"demo\"\nregion = \"eu-west-2\"\n\n[vpc.main]\ncidr = \"10.0.0.0/33\"\n\n[env.staging.vpc.main]\n\
                 tenancy = \"shared\"\n\n[env.test.vars]\nx = 1\n\n[env.test.subnet.a]\nvpc = \"mian\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\n";
    fs::write(folder.path().join("demo.toml"), stack).expect("it is written");
    keep("validate_environments", &run(folder.path(), &["validate", "demo.toml"]));
}

#[test]
fn colours_where_they_are_asked_for() {
    let project = Project::new(Emulator::Moto, TWO);
    let coloured = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = project.command();
        command.args(["plan", "stack.toml", "--cloud", "aws"]).args(arguments).envs(environment.iter().copied());
        text(&command.output().expect("it runs").stdout).contains('\u{1b}')
    };
    assert!(!coloured(&[], &[]), "a pipe is no terminal");
    assert!(coloured(&["--color", "always"], &[]));
    assert!(coloured(&["--color", "always"], &[("NO_COLOR", "1")]), "the command line wins");
    assert!(!coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn plans_as_json() {
    let project = Project::new(
        Emulator::Moto,
        "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\nzone = \
         \"a\"\n\n[outputs]\nsubnet = \"${subnet.a.id}\"\n",
    );
    let plan = project.plan();
    assert_eq!((&plan["format_version"], &plan["mode"]), (&json!(1), &json!("apply")));
    assert_eq!((&plan["stack"], &plan["cloud"]), (&json!(project.name), &json!("aws")));
    assert_eq!((&plan["account"], &plan["region"]), (&json!("123456789012"), &json!("eu-west-2")));
    assert_eq!(
        plan["summary"],
        json!({ "create": 2, "update": 0, "replace": 0, "delete": 0, "forget": 0, "no_change": 0, "read": 0, "drift": 0 })
    );
    let actions = plan["actions"].as_array().expect("a list");
    let addresses: Vec<&Value> = actions.iter().map(|one| &one["address"]).collect();
    assert_eq!(addresses, ["vpc.main", "subnet.a"], "dependencies first");
    for action in actions {
        for key in ["kind", "reason", "id", "create_first", "changes"] {
            assert!(action.get(key).is_some(), "{key} of {action}");
        }
        assert_eq!(action["action"], "create");
    }
    let changes = actions[1]["changes"].as_array().expect("a list");
    let change = |path: &str| changes.iter().find(|one| one["path"] == path).expect("it changes");
    assert_eq!(change("cidr"), &json!({ "path": "cidr", "before": null, "after": { "value": "10.0.0.0/24" } }));
    assert_eq!(
        change("vpc")["after"],
        json!({ "unknown_until": "vpc.main.id", "template": "${vpc.main.id}" }),
        "what is not known yet says what it waits for"
    );
    assert_eq!(plan["outputs"]["subnet"]["after"]["unknown_until"], "subnet.a.id");

    let lines = |arguments: &[&str]| -> Vec<Value> {
        let out = project.succeeds(arguments);
        out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    };
    let told = lines(&["apply", "--yes", "--json"]);
    assert_eq!(told[0]["summary"]["create"], 2, "the plan comes first");
    let last = told.last().expect("an end");
    assert_eq!((&last["event"], &last["complete"], &last["created"]), (&json!("finished"), &json!(true), &json!(2)));
    assert_eq!(last["outputs"]["subnet"], json!(project.ids()["subnet.a"]));
    let plan = project.plan();
    assert_eq!((&plan["has_changes"], &plan["summary"]["no_change"]), (&json!(false), &json!(2)));
    let told = lines(&["destroy", "--yes", "--json"]);
    assert_eq!((&told[0]["mode"], &told[0]["summary"]["delete"]), (&json!("destroy"), &json!(2)));
}

/// Somebody put a subnet where the stack wants one: it fails, what depends on it is left, and the rest is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_action_stops_only_what_depends_on_it() {
    let vpc = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n";
    let subnet = |name: &str, third: u8| {
        format!(
            "\n[subnet.{name}]\nvpc = \"main\"\ncidr = \"10.0.{third}.0/24\"\nzone = \"{name}\"\n\n\
             [route_table.{name}]\nvpc = \"main\"\nsubnets = [\"{name}\"]\n"
        )
    };
    let stack = format!("{vpc}{}{}\n[log_group.web]\nretention_days = 7\n", subnet("a", 0), subnet("b", 1));
    let project = Project::new(Emulator::Moto, vpc);
    project.succeeds(&["apply", "--yes"]);
    let cloud = Emulator::Moto.cloud().await;
    let strange = json!({ "vpc": project.ids()["vpc.main"], "cidr": "10.0.1.128/25", "zone": "eu-west-2b" });
    let strange = make(&cloud, "subnet", strange).await;

    project.write(&stack);
    let output = project.run(&["apply", "--yes"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    let end = out.find("\nerror").map_or("", |at| &out[at..]);
    keep("a_failed_action", &settled(end, &project.name));
    let ids = project.ids();
    let made: Vec<&str> = ids.keys().map(String::as_str).collect();
    assert_eq!(made, ["log_group.web", "route_table.a", "subnet.a", "vpc.main"], "the rest is made, and known");
    assert!(project.state().unresolved.is_empty(), "nothing is left to look up");
    let planned: Vec<String> = project.planned(&[]).into_iter().collect();
    assert_eq!(planned, ["create route_table.b", "create subnet.b"]);

    let told = project.run(&["apply", "--yes", "--json"]);
    assert_eq!(told.status.code(), Some(1));
    let told = text(&told.stdout);
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let event = |name: &str| told.iter().find(|one| one["event"] == name).expect("it is told");
    let failed = event("failed");
    assert_eq!((&failed["address"], &failed["call"]), (&json!("subnet.b"), &json!("ec2:CreateSubnet")));
    assert_eq!(failed["code"], "InvalidSubnet.Conflict");
    assert!(failed["message"].as_str().is_some_and(|text| text.contains("10.0.1.0/24")), "{failed}");
    assert!(failed["help"].as_str().is_some_and(|text| !text.is_empty()), "{failed}");
    let skipped = event("skipped");
    assert_eq!((&skipped["address"], &skipped["because"]), (&json!("route_table.b"), &json!("subnet.b")));
    assert_eq!(event("finished")["complete"], false);

    // Once the cause is gone, the same command goes on.
    remove(&cloud, "subnet", &strange).await;
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("going on");
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty());
}

/// Who cannot be asked, and where nobody answers, is told at once and once.
#[test]
fn credentials_and_endpoints_that_are_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("demo.toml"),
        "name = \"demo\"\nregion = \"eu-west-2\"\n[vpc.main]\ncidr = \"10.0.0.0/16\"\n",
    )
    .expect("the stack is written");
    let arguments = ["plan", "demo.toml", "--cloud", "aws"];
    let told = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.current_dir(folder.path()).env_clear().env("HOME", folder.path());
        command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
        transcript(&arguments, &command.args(arguments).output().expect("the binary runs"))
    };
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
    let endpoint = format!("http://{free}");
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_ENDPOINT_URL", &*endpoint)];
    let shown =
        [told(&[]), told(&[("AWS_PROFILE", "nobody")]), told(&keys).replace(&endpoint, "http://127.0.0.1:PORT")];
    keep("credentials", &shown.join("\n"));
}

/// What AWS refuses for its number or its name is told before anything is sent.
#[test]
fn what_a_kind_does_not_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let tags: String = (0..8).map(|n| format!("T{n} = \"{n}\"\n")).collect();
    let stack = format!(
        "name = \"demo\"\nregion = \"eu-west-2\"\n\n[hosted_zone.main]\nname = \"demo.example.com\"\n\n[vpc.main]\n\
         cidr = \"10.0.0.0/16\"\n\n[vpc_endpoint.s3]\nvpc = \"main\"\nservice = \"s3\"\n\n[route_table.main]\n\
         vpc = \"main\"\nroutes = [\n  {{ to = \"0.0.0.0/0\", vpc_endpoint = \"s3\" }},\n  \
         {{ to = \"10.9.0.0/16\", vpc_endpoint = \"${{vpc_endpoint.s3.id}}\" }},\n]\n\n[tags]\n{tags}"
    );
    fs::write(folder.path().join("demo.toml"), stack).expect("the stack is written");
    keep("not_taken", &run(folder.path(), &["validate", "demo.toml"]));
}
