//! How many API calls a refresh takes.

use cofferdam::graph::Graph;
use cofferdam::plan::Seen;
use cofferdam::plan::refresh::refresh;

use crate::lifecycle::Project;
use crate::support::Emulator;

/// The most calls that the refresh may take.
const MOST: u64 = 40;

/// A stack of 200 subnets, 100 security groups, 100 roles and 200 DNS records is refreshed with at most 40 API calls.
#[tokio::test]
async fn refresh_calls() {
    let mut stack = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[hosted_zone.main]\nname = \"{u}.example.com\"\n".to_owned();
    for n in 0..200 {
        stack += &format!("[subnet.s{n}]\nvpc = \"main\"\ncidr = \"10.0.{n}.0/24\"\nzone = \"a\"\n");
        stack +=
            &format!("[dns_record.r{n}]\nzone = \"main\"\nname = \"r{n}\"\ntype = \"A\"\nvalues = [\"10.0.{n}.9\"]\n");
    }
    for n in 0..100 {
        stack +=
            &format!("[security_group.g{n}]\nvpc = \"main\"\ningress = [{{ ports = 443, from = [\"10.0.0.0/8\"] }}]\n");
        stack += &format!("[role.i{n}]\nservice = \"ecs-tasks.amazonaws.com\"\npolicies = [\"read.json\"]\n");
    }
    let project = Project::new(Emulator::Moto, &stack);
    let policy = r#"{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*" } ] }"#;
    std::fs::write(project.path("read.json"), policy).expect("the policy is written");
    project.succeeds(&["apply", "--yes"]);
    let state = project.state();
    assert_eq!(state.resources.len(), 602);

    let cloud = Emulator::Moto.cloud().await;
    let before = cloud.aws().calls.counts();
    let seen = refresh(&cloud, &Graph::default(), &state).await.expect("the cloud is read");
    let after = cloud.aws().calls.counts();
    let there = seen.resources.values().filter(|one| matches!(one, Seen::Present(_))).count();
    assert_eq!(there, 602, "everything is found");

    println!("{:<40} {:>5}", "API call", "sent");
    let mut total = 0;
    for (action, count) in &after {
        let sent = count - before.get(action).unwrap_or(&0);
        if sent > 0 {
            println!("{action:<40} {sent:>5}");
        }
        total += sent;
    }
    println!("{:<40} {total:>5}   for 602 resources", "all");
    assert!(total <= MOST, "a refresh takes {total} calls, and {MOST} are enough");
    project.plan_is_empty("the apply");
}
