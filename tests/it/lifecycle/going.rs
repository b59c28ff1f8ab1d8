//! What takes its time to go, or is held: a service that drains, and instances that are protected from scale-in.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Project;
use super::compute::GROUND;
use super::day_after::{STACK, applied};
use super::deployments::{teller, told};
use crate::support::Emulator;

/// ECS lets a deleted service drain: it is there until its tasks have stopped, and needs its cluster and roles so long.
#[tokio::test]
async fn a_service_that_drains() {
    let project = applied(STACK);
    let state = project.state();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, mut drains, mut last) = (asked.clone(), None, Value::Null);
    let endpoint = teller(move |action, request, answer| {
        match (action, &mut drains) {
            ("DescribeServices", None) if !answer["services"][0].is_null() => last = answer["services"][0].clone(),
            ("DeleteService", _) => {
                answer["service"]["status"] = json!("DRAINING");
                drains = Some(3);
            }
            ("DescribeServices", Some(left @ 1..)) => {
                *left -= 1;
                let mut service = last.clone();
                service["status"] = json!("DRAINING");
                service["desiredCount"] = json!(0);
                service["runningCount"] = json!(*left);
                *answer = json!({ "services": [service], "failures": [] });
            }
            _ => {}
        }
        let status = answer["services"][0]["status"].as_str().unwrap_or_default().to_owned();
        let named = request["cluster"].as_str().is_some();
        seen.lock().expect("nobody panics").push((action.to_owned(), status, named));
    });
    let shown = told(&project, &endpoint, &["destroy", "--yes"]);
    assert!(shown.ends_with("exit code 0\n"), "{shown}");
    assert!(shown.contains("ecs_service.web: waiting: draining: 2 tasks are still to stop"), "{shown}");
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text} is told:\n{shown}"));
    let gone = at("✓ ecs_service.web: deleted");
    for needed in ["task_definition.web", "role.execution", "cluster.main", "security_group.web", "subnet.a"] {
        let begins = at(&format!("{needed}: deleting"));
        assert!(begins > gone, "{needed} goes before the service is gone:\n{shown}");
    }
    let asked = asked.lock().expect("nobody panics").clone();
    let last_draining = asked.iter().rposition(|(_, status, _)| status == "DRAINING").expect("it drains");
    let cluster = asked.iter().position(|(action, ..)| action == "DeleteCluster").expect("the cluster goes");
    assert!(cluster > last_draining, "the cluster goes while the service drains: {asked:?}");
    project.nothing_is_left_of(&state).await;
}

/// Instances on which a capacity provider has tasks are protected from scale-in, and go with their group all the same.
#[tokio::test]
async fn a_group_with_protected_instances() {
    let stack = GROUND.to_owned()
        + r#"
[autoscaling_group.main]
launch_template       = "main"
subnets               = ["a", "b"]
min                   = 2
max                   = 3
desired               = 2
protect_from_scale_in = true

[cluster.main]

[capacity_provider.main]
autoscaling_group              = "main"
managed_scaling                = { target_percent = 100 }
managed_termination_protection = true

[cluster_capacity.main]
cluster   = "main"
providers = ["main"]
"#;
    let project = Project::new(Emulator::Together, &stack);
    project.succeeds(&["apply", "--yes"]);
    let (state, cloud) = (project.state(), Emulator::Together.cloud().await);
    let (client, group) = (&cloud.aws().autoscaling, project.ids()["autoscaling_group.main"].clone());
    let instances = async || {
        let found =
            client.describe_auto_scaling_groups().auto_scaling_group_names(&group).send().await.expect("it is there");
        let instances = found.auto_scaling_groups().iter().flat_map(|one| one.instances());
        instances
            .map(|one| (one.instance_id().unwrap_or_default().to_owned(), one.protected_from_scale_in()))
            .collect::<Vec<_>>()
    };
    let ids: Vec<String> = instances().await.into_iter().map(|(id, _)| id).collect();
    let protect = client.set_instance_protection().auto_scaling_group_name(&group).protected_from_scale_in(true);
    protect.set_instance_ids(Some(ids.clone())).send().await.expect("they are protected");
    let protected: Vec<_> = instances().await.into_iter().map(|(_, protected)| protected).collect();
    assert_eq!(protected, [Some(true), Some(true)]);
    project.succeeds(&["destroy", "--yes"]);
    project.nothing_is_left_of(&state).await;
    assert!(instances().await.is_empty(), "the group is gone");
    let found = cloud.aws().ec2.describe_instances().set_instance_ids(Some(ids)).send().await.expect("they are told");
    let states: Vec<_> = found
        .reservations()
        .iter()
        .flat_map(|one| one.instances())
        .map(|one| one.state().and_then(|s| s.name()))
        .collect();
    assert!(
        states.iter().all(|state| state.is_some_and(|name| name.as_str() == "terminated")),
        "none runs on: {states:?}"
    );
}
