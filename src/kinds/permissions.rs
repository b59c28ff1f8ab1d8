//! What an apply of a plan must be allowed to do: the IAM policy that covers its calls, scoped to resources as far as
//! their ARNs are known.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::taking::ONLY_TO_RECOVER;
use super::{During, Kind, Registry, Taking, text};
use crate::graph::{Attributes, Scope, template};
use crate::plan::{Action, Plan, Verb};
use crate::state::State;

/// What tells a state that was lost from one that never was.
const TELLTALES: &[&str] = &["ec2:DescribeTags", "ecs:DescribeClusters", "ecs:ListClusters"];

/// Actions of services that tell resources apart and that know none of their own ("Actions, resources, and condition
/// keys", service by service), or that name what does not exist yet.
const WITHOUT_RESOURCE: &[&str] = &[
    "ecs:CreateCapacityProvider",
    "ecs:CreateCluster",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:ListTaskDefinitions",
    "ecs:ListTasks",
    "ecs:RegisterTaskDefinition",
    "iam:GetAccountAuthorizationDetails",
    "logs:DescribeLogGroups",
    "route53:CreateHostedZone",
    "route53:GetChange",
];

/// Actions of EC2 that concern one resource alone, by the type of that. The others take several, or none.
const OF_ONE: &[(&str, &[&str])] = &[
    ("vpc", &["ec2:DeleteVpc", "ec2:ModifyVpcAttribute"]),
    ("subnet", &["ec2:DeleteSubnet", "ec2:ModifySubnetAttribute"]),
    ("security-group", &["ec2:DeleteSecurityGroup"]),
    ("internet-gateway", &["ec2:DeleteInternetGateway"]),
    ("natgateway", &["ec2:DeleteNatGateway"]),
    ("route-table", &["ec2:DeleteRouteTable", "ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute"]),
    ("vpc-endpoint", &["ec2:DeleteVpcEndpoints"]),
    (
        "launch-template",
        &[
            "ec2:DeleteLaunchTemplate",
            "ec2:ModifyLaunchTemplate",
            "ec2:CreateLaunchTemplateVersion",
            "ec2:DeleteLaunchTemplateVersions",
        ],
    ),
];

/// The types of EC2 in ARNs, by kind.
const EC2_TYPES: &[(&str, &str)] = &[
    ("vpc", "vpc"),
    ("subnet", "subnet"),
    ("security_group", "security-group"),
    ("internet_gateway", "internet-gateway"),
    ("nat_gateway", "natgateway"),
    ("route_table", "route-table"),
    ("vpc_endpoint", "vpc-endpoint"),
    ("launch_template", "launch-template"),
];

/// Which runs a policy covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// For one that comes to its end.
    OneRun,
    /// Also for those that go on where it was interrupted, that read what it made, or find again what a lost answer made.
    Resumable,
}

/// The policy that covers what an apply of this plan does, and nothing else: reading what the state knows, and each step.
/// `bucket` is where the state is kept, if in one: its name and the prefix in it.
pub fn policy(plan: &Plan, state: Option<&State>, bucket: Option<(&str, &str)>, coverage: Coverage) -> Value {
    let registry = Registry::new();
    let mut needed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let roles = roles(plan, state);
    let mut together: BTreeMap<&str, usize> = BTreeMap::new();
    for action in plan.actions.iter().filter(|action| action.id.is_some()) {
        *together.entry(action.kind.as_str()).or_default() += 1;
    }
    for action in &plan.actions {
        let Some(kind) = registry.kind(&action.kind) else { continue };
        let together = together.get(action.kind.as_str()).copied().unwrap_or_default();
        let calls = calls(kind, action, state, together, coverage);
        let own = arns(action, state, &plan.scope);
        for call in calls {
            needed.entry(call).or_default().extend(resources(call, &own, &roles, &plan.scope));
        }
    }
    if state.is_none() {
        TELLTALES.iter().for_each(|call| needed.entry(call).or_default().extend(["*".to_owned()]));
    }
    let mut statements: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    for (call, resources) in needed {
        // What is allowed on everything needs no more.
        let all = resources.contains("*");
        let resources = if all { vec!["*".to_owned()] } else { resources.into_iter().collect() };
        statements.entry(resources).or_default().push(call);
    }
    let mut document: Vec<Value> = statements
        .into_iter()
        .map(|(resources, actions)| json!({ "Effect": "Allow", "Action": actions, "Resource": resources }))
        .collect();
    if let Some((name, prefix)) = bucket {
        let bucket = format!("arn:{}:s3:::{name}", plan.scope.partition);
        let below = [bucket.as_str(), prefix, "*"].into_iter().filter(|part| !part.is_empty());
        let objects = below.collect::<Vec<_>>().join("/");
        let actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"];
        document.push(json!({ "Effect": "Allow", "Action": actions, "Resource": [objects] }));
        document.push(json!({ "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket] }));
    }
    json!({ "Version": "2012-10-17", "Statement": document })
}

/// The calls that an action takes.
fn calls(
    kind: &dyn Kind,
    action: &Action,
    state: Option<&State>,
    together: usize,
    coverage: Coverage,
) -> BTreeSet<&'static str> {
    let declared = kind.actions();
    // What is as it should be stands in the state alone.
    let entry = state.and_then(|state| state.resources.get(&action.address));
    let known = entry.map(|entry| &entry.attributes).filter(|_| action.current.is_empty());
    let (nothing, current) = (Attributes::new(), known.unwrap_or(&action.current));
    let changed: BTreeSet<String> = action.changes.iter().map(|change| change.attribute().to_owned()).collect();
    let created = || (During::Create, declared.create, &nothing, &action.attributes);
    let updated = || (During::Update, declared.update, current, &action.attributes);
    let deleted = || (During::Delete, declared.delete, current, &nothing);
    let read = (During::Read, declared.read, if current.is_empty() { &action.attributes } else { current }, &nothing);
    let mut steps = match action.action {
        Verb::NoChange | Verb::Read | Verb::Forget => Vec::new(),
        Verb::Create => vec![created()],
        Verb::Update if action.unfinished => vec![created(), updated()],
        Verb::Update => vec![updated()],
        Verb::Replace if action.keeps_old => vec![created()],
        Verb::Replace => vec![created(), deleted()],
        Verb::Delete => vec![deleted()],
    };
    // What an earlier run left half made may take all that there is.
    let all = coverage == Coverage::Resumable || action.unfinished;
    if all || action.id.is_some() || matches!(action.action, Verb::Read | Verb::Forget) {
        steps.push(read);
    }
    let of_step = |(during, declared, before, after): (During, &'static [&'static str], _, _)| {
        let taking = Taking { during, before, after, changed: &changed, together };
        let is_needed = move |call: &&str| kind.takes(call, &taking) || all && !ONLY_TO_RECOVER.contains(call);
        declared.iter().copied().filter(is_needed).collect::<Vec<_>>()
    };
    steps.into_iter().flat_map(of_step).collect()
}

/// What a call of a resource must be allowed on.
fn resources(call: &str, own: &[String], roles: &BTreeSet<String>, scope: &Scope) -> Vec<String> {
    let all = || vec!["*".to_owned()];
    let (service, name) = call.split_once(':').unwrap_or_default();
    let account = scope.account.as_deref().unwrap_or("*");
    match call {
        "iam:PassRole" if roles.is_empty() => return all(),
        "iam:PassRole" => return roles.iter().cloned().collect(),
        "iam:CreateServiceLinkedRole" => {
            return vec![format!("arn:{}:iam::{account}:role/aws-service-role/*", scope.partition)];
        }
        "ssm:GetParameters" if own.is_empty() => {
            return vec![format!("arn:{}:ssm:{}::parameter/aws/service/*", scope.partition, scope.region)];
        }
        _ => {}
    }
    let has_type = |arn: &&String| arn.split(':').nth(2) == Some(service);
    let of_service: Vec<String> = own.iter().filter(has_type).cloned().collect();
    let is_listing = match service {
        "iam" | "route53" | "ecs" | "ecr" | "logs" | "sns" | "ssm" => {
            name.starts_with("List") && !name.starts_with("ListTags") && !of_one_role(name)
        }
        "ec2" => !of_service.iter().any(|arn| {
            let of_type = arn.split(':').nth(5).and_then(|rest| rest.split('/').next());
            OF_ONE.iter().any(|(kind, calls)| Some(*kind) == of_type && calls.contains(&call))
        }),
        "autoscaling" => name.starts_with("Describe"),
        // Of these, which take ids made by AWS or several resources, nothing is scoped.
        _ => true,
    };
    if is_listing || of_service.is_empty() || WITHOUT_RESOURCE.contains(&call) { all() } else { of_service }
}

/// Whether a listing of IAM's lists what one role or profile has.
fn of_one_role(name: &str) -> bool {
    matches!(name, "ListRolePolicies" | "ListAttachedRolePolicies" | "ListInstanceProfilesForRole")
}

/// The ARNs of a resource, as far as they are known or follow from its name.
fn arns(action: &Action, state: Option<&State>, scope: &Scope) -> Vec<String> {
    let (Some(account), partition, region) = (scope.account.as_deref(), &scope.partition, &scope.region) else {
        return Vec::new();
    };
    // What is as it should be stands in the state alone.
    let entry = state.and_then(|state| state.resources.get(&action.address));
    let current = |name: &str| {
        let value = action.current.get(name).or_else(|| entry?.attributes.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let named = |attribute: &str| {
        // Both where a replacement gives it another one.
        let desired = action.attributes.get(attribute).filter(|value| !template::is_unknown(value));
        let names = [desired.and_then(Value::as_str).unwrap_or_default().to_owned(), current(attribute)];
        names.into_iter().filter(|name| !name.is_empty()).collect::<BTreeSet<String>>()
    };
    let each = |attribute: &str, arn: &dyn Fn(&str) -> String| named(attribute).iter().map(|name| arn(name)).collect();
    let id = action.id.as_deref().filter(|_| action.action != Verb::Create);
    let of_iam = |ty: &str| {
        let mut paths = named("path");
        if paths.is_empty() {
            paths.insert("/".to_owned());
        }
        let names = named("name");
        let all = paths.iter().flat_map(|path| names.iter().map(move |name| (path, name)));
        all.map(|(path, name)| format!("arn:{partition}:iam::{account}:{ty}{path}{name}")).collect()
    };
    match action.kind.as_str() {
        "role" => of_iam("role"),
        "instance_profile" => of_iam("instance-profile"),
        "policy" => of_iam("policy"),
        "cluster" => each("name", &|name| format!("arn:{partition}:ecs:{region}:{account}:cluster/{name}")),
        "cluster_capacity" => each("cluster", &|name| format!("arn:{partition}:ecs:{region}:{account}:cluster/{name}")),
        "capacity_provider" => {
            each("name", &|name| format!("arn:{partition}:ecs:{region}:{account}:capacity-provider/{name}"))
        }
        "task_definition" => {
            each("family", &|name| format!("arn:{partition}:ecs:{region}:{account}:task-definition/{name}:*"))
        }
        "ecs_service" => {
            let foreseen = Some(text(&action.outputs, "arn")).filter(|arn| !arn.is_empty());
            let arns: BTreeSet<&str> = foreseen.into_iter().chain(id).collect();
            arns.into_iter().map(str::to_owned).collect()
        }
        "repository" => each("name", &|name| format!("arn:{partition}:ecr:{region}:{account}:repository/{name}")),
        "log_group" => named("name")
            .iter()
            .map(|name| format!("arn:{partition}:logs:{region}:{account}:log-group:{name}"))
            .flat_map(|arn| [format!("{arn}:*"), arn])
            .collect(),
        "autoscaling_group" => each("name", &|name| {
            format!("arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{name}")
        }),
        "hosted_zone" => id.map(|id| format!("arn:{partition}:route53:::hostedzone/{id}")).into_iter().collect(),
        "dns_record" => each("zone", &|zone| format!("arn:{partition}:route53:::hostedzone/{zone}")),
        "parameter" => each("name", &|name| {
            format!("arn:{partition}:ssm:{region}:{account}:parameter/{}", name.trim_start_matches('/'))
        }),
        "topic" => each("name", &|name| format!("arn:{partition}:sns:{region}:{account}:{name}")),
        kind => {
            let of_ec2 = EC2_TYPES.iter().find(|(name, _)| *name == kind);
            let arn = of_ec2.zip(id).map(|((_, ty), id)| format!("arn:{partition}:ec2:{region}:{account}:{ty}/{id}"));
            arn.into_iter().collect()
        }
    }
}

/// The roles that a plan hands to services: its own, and those that its attributes name.
fn roles(plan: &Plan, state: Option<&State>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for action in &plan.actions {
        if action.kind == "role" {
            found.extend(arns(action, state, &plan.scope));
            found.extend(Some(text(&action.outputs, "arn").to_owned()).filter(|arn| !arn.is_empty()));
        }
        roles_in(&action.attributes, &mut found);
    }
    found
}

fn roles_in(attributes: &Attributes, found: &mut BTreeSet<String>) {
    let mut open: Vec<&Value> = attributes.values().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) if text.starts_with("arn:") && text.contains(":role/") && !text.contains("${") => {
                found.insert(text.clone());
            }
            Value::Array(items) => open.extend(items),
            Value::Object(map) => open.extend(map.values()),
            _ => {}
        }
    }
}
