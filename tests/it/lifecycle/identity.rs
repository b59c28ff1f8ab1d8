use serde_json::json;

use super::{Case, Project, run, text};
use crate::support::{Emulator, make, remove, unique};

async fn role(emulator: Emulator) {
    let stack = r#"
[policy.pull]
document = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "ecr:BatchGetImage", Resource = "*" }] }

[policy.bound]
document = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }] }

[role.web]
# name
service = "ec2.amazonaws.com"
# managed
# boundary
description = "Of the instances"
max_session_seconds = 3600
tags = { Team = "a" }

[role.web.policies]
logs = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "logs:PutLogEvents", Resource = "*" }] }
"#;
    let trust = r#"trust = '''
{ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": { "Service": "ecs-tasks.amazonaws.com" },
  "Action": "sts:AssumeRole", "Condition": { "StringEquals": { "aws:SourceAccount": "123456789012" } } }] }
'''"#;
    let inline = r#"more = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] }"#;
    let mut changes = vec![
        ("\"ec2.amazonaws.com\"", "[\"ec2.amazonaws.com\", \"ecs-tasks.amazonaws.com\"]", "update"),
        ("service = [\"ec2.amazonaws.com\", \"ecs-tasks.amazonaws.com\"]", trust, "update"),
        (trust, "service = \"ecs-tasks.amazonaws.com\"", "update"),
        ("logs:PutLogEvents", "logs:CreateLogStream", "update"),
        (
            "[role.web.policies]\n",
            "[role.web.policies]\nmore = { Version = \"2012-10-17\", Statement = [{ Effect = \"Allow\", Action = \"s3:GetObject\", Resource = \"*\" }] }\n",
            "update",
        ),
        (inline, "", "update"),
        ("# managed", "managed_policies = [\"pull\", \"AmazonSSMManagedInstanceCore\"]", "update"),
        ("[\"pull\", \"AmazonSSMManagedInstanceCore\"]", "[\"AmazonSSMManagedInstanceCore\"]", "update"),
        ("Of the instances", "Of the tasks", "update"),
        ("max_session_seconds = 3600", "max_session_seconds = 7200", "update"),
        ("Team = \"a\"", "Owner = \"b\"", "update"),
    ];
    // ministack's GetAccountAuthorizationDetails leaves the boundary of a role out, so removing it is all that it shows.
    if emulator == Emulator::Moto {
        changes.push(("# boundary", "boundary = \"bound\"", "update"));
        changes.push(("boundary = \"bound\"", "boundary = \"PowerUserAccess\"", "update"));
        changes.push(("boundary = \"PowerUserAccess\"", "# boundary", "update"));
        changes.push(("# boundary", "boundary = \"PowerUserAccess\"", "update"));
    }
    changes.extend([
        ("# name", "path = \"/ecs/\"\nname = \"{u}-one\"", "replace"),
        ("{u}-one", "{u}-two", "replace"),
        ("/ecs/", "/web/", "replace"),
    ]);
    let mut drifts = vec![
        ("service", json!(["lambda.amazonaws.com"])),
        ("policies", json!({})),
        (
            "policies",
            json!({
                "logs": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"iam:*\",\"Resource\":\"*\"}]}",
                "more": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}",
            }),
        ),
        ("managed_policies", json!(["AdministratorAccess"])),
        ("managed_policies", json!([])),
        ("description", json!("Of somebody")),
        ("max_session_seconds", json!(43_200)),
        ("tags", json!({ "Owner": "somebody" })),
    ];
    if emulator == Emulator::Moto {
        drifts.push(("boundary", json!("ReadOnlyAccess")));
        drifts.push(("boundary", json!(null)));
    }
    run(emulator, Case { stack: stack.into(), address: "role.web", changes, drifts }).await;
}

async fn policy(emulator: Emulator) {
    let stack = r#"
[policy.read]
# name
description = "Reads"
document = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] }
tags = { Team = "a" }

[role.web]
service = "ec2.amazonaws.com"
managed_policies = ["read"]
"#;
    // More changes of the document than a policy may have versions.
    let changes = vec![
        ("s3:GetObject", "s3:ListBucket", "update"),
        ("s3:ListBucket", "s3:PutObject", "update"),
        ("s3:PutObject", "s3:DeleteObject", "update"),
        ("s3:DeleteObject", "s3:GetObjectTagging", "update"),
        ("s3:GetObjectTagging", "s3:GetObjectAcl", "update"),
        ("s3:GetObjectAcl", "s3:GetObjectVersion", "update"),
        ("Team = \"a\"", "Owner = \"b\"", "update"),
        ("# name", "name = \"{u}-one\"", "replace"),
        ("{u}-one", "{u}-two", "replace"),
        ("name = \"{u}-two\"", "name = \"{u}-two\"\npath = \"/ecs/\"", "replace"),
    ];
    // Tags are not read back: IAM returns them for one policy a call only.
    let drifts = vec![(
        "document",
        json!(
            "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"
        ),
    )];
    run(emulator, Case { stack: stack.into(), address: "policy.read", changes, drifts }).await;
}

/// IAM cannot change the description of a policy, and two cannot share a name: the old one goes first, and its role gets
/// the new one. The same holds for a role of another path, and its instance profile.
async fn policy_description(emulator: Emulator) {
    let stack = r#"
[policy.read]
description = "Reads"
document = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] }

[role.web]
service = "ec2.amazonaws.com"
managed_policies = ["read", "AmazonSSMManagedInstanceCore"]

[instance_profile.web]
role = "web"
"#;
    let changes =
        vec![("\"Reads\"", "\"Reads objects\"", "replace"), ("service =", "path = \"/ecs/\"\nservice =", "no change")];
    run(emulator, Case { stack: stack.into(), address: "policy.read", changes, drifts: vec![] }).await;
}

async fn instance_profile(emulator: Emulator) {
    let stack = r#"
[role.one]
service = "ec2.amazonaws.com"

[role.two]
service = "ec2.amazonaws.com"

[instance_profile.web]
role = "one"
# name
tags = { Team = "a" }
"#;
    let changes = vec![
        ("role = \"one\"", "role = \"two\"", "update"),
        ("Team = \"a\"", "Team = \"b\"", "update"),
        ("# name", "name = \"{u}-one\"", "replace"),
        ("{u}-one", "{u}-two", "replace"),
        ("name = \"{u}-two\"", "name = \"{u}-two\"\npath = \"/ecs/\"", "replace"),
    ];
    let drifts = vec![("role", json!("{u}-one"))];
    run(emulator, Case { stack: stack.into(), address: "instance_profile.web", changes, drifts }).await;
}

async fn log_group(emulator: Emulator) {
    let stack = r#"
[log_group.web]
# name
retention_days = 14
tags = { Team = "a" }
"#;
    // Neither emulator knows AssociateKmsKey and DisassociateKmsKey, so the key is not changed here.
    let changes = vec![
        ("retention_days = 14", "retention_days = 30", "update"),
        ("retention_days = 30", "# retention", "update"),
        ("# retention", "retention_days = 7", "update"),
        ("Team = \"a\"", "Owner = \"b\"", "update"),
        ("# name", "name = \"/ecs/{u}\"", "replace"),
        ("/ecs/{u}", "/web/{u}", "replace"),
        ("retention_days = 7", "retention_days = 7\nclass = \"infrequent-access\"", "replace"),
    ];
    let drifts = vec![("retention_days", json!(90)), ("retention_days", json!(null))];
    run(emulator, Case { stack: stack.into(), address: "log_group.web", changes, drifts }).await;
}

async fn repository(emulator: Emulator) {
    let stack = r#"
[repository.web]
# name
scan_on_push = false
immutable_tags = false
keep_images = 20
tags = { Team = "a" }
"#;
    let mut changes = vec![
        ("scan_on_push = false", "scan_on_push = true", "update"),
        ("immutable_tags = false", "immutable_tags = true", "update"),
        ("keep_images = 20", "keep_images = 50", "update"),
        ("keep_images = 50", "# keep", "update"),
        (
            "# keep",
            "lifecycle = { rules = [{ rulePriority = 1, selection = { tagStatus = \"untagged\", countType = \
             \"sinceImagePushed\", countUnit = \"days\", countNumber = 14 }, action = { type = \"expire\" } }] }",
            "update",
        ),
        ("immutable_tags = true", "immutable_tags = true\nforce_delete = true", "update"),
        ("Team = \"a\"", "Owner = \"b\"", "update"),
        ("# name", "name = \"{u}/one\"", "replace"),
        ("{u}/one", "{u}/two", "replace"),
    ];
    let mut drifts = vec![("immutable_tags", json!(false)), ("lifecycle", json!(null))];
    // PutImageScanningConfiguration says "off" by leaving the setting out, and moto then changes nothing.
    if emulator == Emulator::Ministack {
        changes.push(("scan_on_push = true", "scan_on_push = false", "update"));
        drifts.push(("scan_on_push", json!(true)));
    }
    run(emulator, Case { stack: stack.into(), address: "repository.web", changes, drifts }).await;
}

crate::on_each_emulator!(role, policy, policy_description, instance_profile, log_group, repository);

/// Somebody else's role that holds a policy is named at once, and keeps it.
#[tokio::test]
async fn a_policy_that_somebody_else_holds() {
    let emulator = Emulator::Ministack;
    let cloud = emulator.cloud().await;
    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}"#;
    let stack = format!("[policy.main]\nname = \"{{u}}-main\"\ndocument = '''{document}'''\n");
    let project = Project::new(emulator, &stack);
    project.succeeds(&["apply", "--yes"]);
    let arn = project.ids()["policy.main"].clone();
    let role = json!({ "name": unique("theirs"), "service": "ec2.amazonaws.com", "managed_policies": [arn] });
    let role = make(&cloud, "role", role).await;
    let output = project.run(&["destroy", "--yes"]);
    let told = text(&output.stderr) + &text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("detach it from role {} first", role.id)), "{told}");
    remove(&cloud, "role", &role).await;
    project.succeeds(&["destroy", "--yes"]);
}
