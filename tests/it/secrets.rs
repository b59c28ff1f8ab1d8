//! Secrets pass through to the cloud, and are left nowhere else: in no file and in no output.

use std::path::Path;
use std::process::Output;

use aws_sdk_ssm::types::ParameterType;

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

/// Values that nothing else can hold by chance.
const FIRST: &str = "correct-horse-battery-staple-4711";
const SECOND: &str = "another-horse-another-staple-1147";

const STACK: &str = r#"
[vars]
password = { secret = true, description = "Of the database" }

[parameter.password]
name        = "/{u}/password"
secret      = "${vars.password}"
description = "Of the database"

[secret.login]
name          = "{u}/login"
value         = "${vars.password}"
recovery_days = 0

[parameter.host]
name  = "/{u}/host"
value = "db.internal"
"#;

/// Runs a verb with this secret, sees that it is not printed, and keeps what was.
fn run(project: &Project, secret: Option<&str>, arguments: &[&str]) -> Output {
    let (verb, rest) = arguments.split_first().expect("a verb");
    let mut command = project.command();
    command.args(verb.split(' ')).args(["stack.toml", "--cloud", "aws"]).args(rest);
    // What people turn on when they want to see everything.
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    if let Some(secret) = secret {
        command.env("COFFERDAM_VAR_password", secret);
    }
    let output = command.output().expect("the binary runs");
    for printed in [&output.stdout, &output.stderr] {
        nothing_of(&text(printed), &format!("the output of {arguments:?}"));
    }
    output
}

fn succeeds(project: &Project, secret: Option<&str>, arguments: &[&str]) -> String {
    let output = run(project, secret, arguments);
    assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn nothing_of(printed: &str, what: &str) {
    for secret in [FIRST, SECOND] {
        for form in [secret.to_owned(), base64(secret), hexadecimal(secret), secret.chars().rev().collect()] {
            assert!(!printed.contains(&form), "a secret is in {what}");
        }
        let bare = cofferdam::state::sha256(secret.as_bytes());
        assert!(!printed.contains(&bare), "a bare digest, which can be guessed at, is in {what}");
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn hexadecimal(text: &str) -> String {
    cofferdam::state::hexadecimal(text.as_bytes())
}

/// Every file of the project, but for those that the test itself put a secret into.
fn no_file_holds_one(folder: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files += no_file_holds_one(&path);
        } else if path.file_name().is_some_and(|name| name != "given.txt") {
            nothing_of(&String::from_utf8_lossy(&std::fs::read(&path).expect("readable")), &path.display().to_string());
            files += 1;
        }
    }
    files
}

async fn in_the_cloud(project: &Project, name: &str) -> (String, Option<ParameterType>) {
    let cloud = Emulator::Moto.cloud().await;
    let call = cloud.aws().ssm.get_parameter().name(format!("/{}/{name}", project.name)).with_decryption(true);
    let found = call.send().await.expect("it is there").parameter.expect("a parameter");
    (found.value.expect("a value"), found.r#type)
}

/// What Secrets Manager keeps.
async fn in_secrets_manager(project: &Project) -> String {
    let cloud = Emulator::Moto.cloud().await;
    let call = cloud.aws().secrets.get_secret_value().secret_id(format!("{}/login", project.name));
    call.send().await.expect("it is there").secret_string.expect("a value")
}

#[tokio::test]
async fn a_secret_reaches_the_cloud_and_is_left_nowhere() {
    let project = Project::new(Emulator::Moto, STACK);
    let plan = succeeds(&project, Some(FIRST), &["plan"]);
    assert!(plan.contains("(secret)"), "{plan}");
    succeeds(&project, Some(FIRST), &["plan", "--json"]);
    succeeds(&project, Some(FIRST), &["plan", "--out", "saved.plan"]);
    succeeds(&project, Some(FIRST), &["show", "--plan", "saved.plan", "--json"]);
    succeeds(&project, Some(FIRST), &["apply", "--yes", "--plan", "saved.plan"]);
    assert_eq!(in_the_cloud(&project, "password").await, (FIRST.to_owned(), Some(ParameterType::SecureString)));
    assert_eq!(in_secrets_manager(&project).await, FIRST);
    let same = run(&project, Some(FIRST), &["plan", "--detailed-exitcode"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
    // Who does not send it need not have it.
    let without = run(&project, None, &["plan", "--detailed-exitcode"]);
    assert_eq!(without.status.code(), Some(0), "{}", text(&without.stdout));

    let other = run(&project, Some(SECOND), &["plan", "--detailed-exitcode"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stdout).contains("(secret) → (secret)  another value"), "{}", text(&other.stdout));
    succeeds(&project, Some(SECOND), &["apply", "--yes", "--json"]);
    assert_eq!(in_the_cloud(&project, "password").await.0, SECOND);
    assert_eq!(in_secrets_manager(&project).await, SECOND);

    for verb in ["show", "drift", "state list", "output", "graph", "validate"] {
        succeeds(&project, Some(SECOND), &[verb]);
    }
    succeeds(&project, Some(SECOND), &["show", "--json"]);
    succeeds(&project, Some(SECOND), &["state show", "parameter.password"]);
    assert!(no_file_holds_one(&project.path(".")) > 3, "state, journal, history and plan were looked at");

    // The state is lost: the value is sent again only if it is another.
    std::fs::remove_dir_all(project.path("state")).expect("the state is lost");
    let refused = run(&project, None, &["recover", "--yes"]);
    assert!(text(&refused.stderr).contains("no value is given for the secret `password`"), "{}", text(&refused.stderr));
    succeeds(&project, Some(SECOND), &["recover", "--yes"]);
    let same = run(&project, Some(SECOND), &["plan", "--detailed-exitcode"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
    no_file_holds_one(&project.path("."));
    succeeds(&project, None, &["destroy", "--yes"]);
    no_file_holds_one(&project.path("."));
}

#[test]
fn failing_runs_keep_it_too() {
    let project = Project::new(Emulator::Moto, STACK);
    // The name is taken by somebody else's.
    let taken = Project::new(Emulator::Moto, &STACK.replace("{u}", &project.name));
    succeeds(&taken, Some(SECOND), &["apply", "--yes"]);
    let failed = run(&project, Some(FIRST), &["apply", "--yes"]);
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stdout));
    let failed = run(&project, Some(FIRST), &["apply", "--yes", "--json"]);
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stdout));
    let missing = run(&project, None, &["plan"]);
    insta::assert_snapshot!(text(&missing.stderr), @r"
    error: no value is given for the secret `password`
      help: give it in the environment, as COFFERDAM_VAR_password, or in its file
    ");
    no_file_holds_one(&project.path("."));
    succeeds(&taken, None, &["destroy", "--yes"]);
}

#[test]
fn a_saved_plan_is_refused_for_another_value() {
    let project = Project::new(Emulator::Moto, STACK);
    succeeds(&project, Some(FIRST), &["plan", "--out", "saved.plan"]);
    let refused = run(&project, Some(SECOND), &["apply", "--yes", "--plan", "saved.plan"]);
    assert_eq!(refused.status.code(), Some(1));
    insta::assert_snapshot!(text(&refused.stderr), @r"
    error: the plan does not fit: the secret `password` has another value now
      help: plan again, look at it, and apply the new plan
    ");
    no_file_holds_one(&project.path("."));
}

#[tokio::test]
async fn a_secret_may_stand_in_a_file() {
    let stack = STACK.replace("secret = true", "secret = true, file = \"given.txt\"");
    let project = Project::new(Emulator::Moto, &stack);
    std::fs::write(project.path("given.txt"), format!("{FIRST}\n")).expect("written");
    succeeds(&project, None, &["apply", "--yes"]);
    assert_eq!(in_the_cloud(&project, "password").await.0, FIRST, "without the end of the line");
    no_file_holds_one(&project.path("."));
    succeeds(&project, None, &["destroy", "--yes"]);
}

/// Where a secret would be written down, the stack is refused: at the place, with the way out.
#[test]
fn a_secret_flows_nowhere_else() {
    let head = "[vars]\npassword = { secret = true }\n";
    let leaks = [
        (
            "[parameter.a]\nvalue = \"${vars.password}\"",
            "the secret `password` would be written down in `parameter.a.value`",
        ),
        ("[parameter.a]\nsecret = \"plain\"", "`parameter.a.secret` takes a secret"),
        ("[parameter.a]\nsecret = \"x-${vars.password}\"", "`parameter.a.secret` takes a secret"),
        (
            "[parameter.a]\nsecret = \"${vars.password}\"\ndescription = \"is ${vars.password}\"",
            "the secret `password` would be written down in `parameter.a.description`",
        ),
        (
            "[vpc.a]\ncidr = \"10.0.0.0/16\"\ntags = { P = \"${vars.password}\" }",
            "would be written down in `vpc.a.tags`",
        ),
        ("[outputs]\nit = \"${vars.password}\"", "the secret `password` would be written down in `outputs.it`"),
        ("[tags]\nP = \"${vars.password}\"", "the secret `password` would be written down in `tags.P`"),
    ];
    for (stack, message) in leaks {
        let project = Project::new(Emulator::Moto, &format!("{head}{stack}\n"));
        let output = run(&project, Some(FIRST), &["validate"]);
        let told = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && told.contains(message), "{stack}: {told}");
    }
    let project = Project::new(Emulator::Moto, "[vars]\npassword = { secret = true, default = \"abc\" }\n");
    let told = text(&run(&project, None, &["validate"]).stderr);
    assert!(told.contains("the value of the secret `password` would stand in the stack"), "{told}");
    let project = Project::new(Emulator::Moto, head);
    let told = text(&project.run(&["plan", "--var", "password=abc"]).stderr);
    assert!(told.contains("shows a secret to everybody"), "{told}");
}
