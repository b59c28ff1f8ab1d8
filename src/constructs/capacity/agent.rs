//! What the ECS agent of an instance needs: its settings and its permissions.

use serde_json::{Value, json};

use super::Capacity;
use crate::constructs::Input;
use crate::constructs::below::{cluster_arn, condition_operator, named, reference};

/// The first-boot script: the agent's settings, then the user's own script.
///
/// Settings: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html>. Tasks with a network
/// interface of their own are kept from the instance's credentials.
pub fn user_data(capacity: &Capacity, cluster: &str, spot: bool) -> String {
    let mut settings = std::collections::BTreeMap::from([
        ("ECS_CLUSTER", cluster),
        ("ECS_ENABLE_CONTAINER_METADATA", "true"),
        ("ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM", "ec2_instance"),
        ("ECS_AWSVPC_BLOCK_IMDS", "true"),
    ]);
    if spot {
        settings.insert("ECS_ENABLE_SPOT_INSTANCE_DRAINING", "true");
    }
    settings.extend(capacity.agent.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let lines: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let mut script = format!("#!/bin/bash\ncat >> /etc/ecs/ecs.config <<'SETTINGS'\n{lines}SETTINGS\n");
    if let Some(more) = &capacity.user_data {
        script.push('\n');
        script.push_str(more);
        if !more.ends_with('\n') {
            script.push('\n');
        }
    }
    script
}

/// What an instance may do, as a policy document.
///
/// The actions are those of AmazonEC2ContainerServiceforEC2Role without CreateCluster, each on the least that the
/// service authorization reference lets it be held to: DiscoverPollEndpoint, DescribeTags and GetAuthorizationToken
/// take no resource; Poll, StartTelemetrySession and UpdateContainerInstancesState take container instances and the
/// condition `ecs:cluster`; registering and submitting take the cluster.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>
pub fn policy(capacity: &Capacity, cluster: &str, input: &Input<'_>) -> String {
    let scope = input.scope;
    let (partition, region) = (&scope.partition, &scope.region);
    let arn = cluster_arn(cluster, scope);
    // The account stands as a wildcard, being unknown offline; the cluster's ARN in the condition holds it.
    let instances = format!("arn:{partition}:ecs:{region}:*:container-instance/{cluster}/*");
    let this_cluster = json!({ condition_operator(&arn): { "ecs:cluster": arn } });
    let repositories: Vec<String> = match &capacity.repositories {
        None => vec![format!("arn:{partition}:ecr:{region}:*:repository/*")],
        Some(names) => names.iter().map(|name| named(input, "repository", "arn", name)).collect(),
    };
    let log_groups: Vec<String> = match &capacity.log_groups {
        None => {
            let declared = input.declared.iter().filter(|one| one.kind() == "log_group" && one.construct().is_none());
            declared.map(|group| format!("{}:*", reference(group, "arn"))).collect()
        }
        Some(names) => names.iter().map(|name| format!("{}:*", named(input, "log_group", "arn", name))).collect(),
    };
    let mut statements = vec![
        json!({
            "Sid": "FindEndpointsAndOwnTags",
            "Effect": "Allow",
            "Action": ["ec2:DescribeTags", "ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"],
            "Resource": "*",
        }),
        json!({
            "Sid": "JoinTheCluster",
            "Effect": "Allow",
            "Action": [
                "ecs:DeregisterContainerInstance",
                "ecs:RegisterContainerInstance",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
            ],
            "Resource": arn,
        }),
        json!({
            "Sid": "WorkForTheCluster",
            "Effect": "Allow",
            "Action": ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
            "Resource": instances,
            "Condition": this_cluster,
        }),
        json!({
            "Sid": "TagOnJoining",
            "Effect": "Allow",
            "Action": "ecs:TagResource",
            "Resource": instances,
            "Condition": { "StringEquals": { "ecs:CreateAction": "RegisterContainerInstance" } },
        }),
    ];
    if !repositories.is_empty() {
        statements.push(json!({
            "Sid": "PullImages",
            "Effect": "Allow",
            "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": repositories,
        }));
    }
    if !log_groups.is_empty() {
        statements.push(json!({
            "Sid": "WriteLogs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": log_groups,
        }));
    }
    let document: Value = json!({ "Version": "2012-10-17", "Statement": statements });
    document.to_string()
}
