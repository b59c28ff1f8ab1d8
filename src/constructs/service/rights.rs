//! What a service's roles allow: what it uses, and nothing else.

use serde_json::{Value, json};

use super::checks::Chosen;
use super::{Roles, Service};
use crate::constructs::Input;
use crate::constructs::below::{cluster_arn, condition_operator, managed_policy, named, reference};
use crate::graph::{Address, Attributes, Problem, Reference, Scope, template};

/// Who acts as the roles of tasks.
pub const ECS_TASKS: &str = "ecs-tasks.amazonaws.com";
/// Who acts as the role of a schedule.
pub const SCHEDULER: &str = "scheduler.amazonaws.com";
/// Who switches between target groups.
pub const ECS: &str = "ecs.amazonaws.com";
/// What it needs for that ("Amazon ECS infrastructure IAM role for load balancers").
pub const SWITCHES: &str = "AmazonECSInfrastructureRolePolicyForLoadBalancers";
/// The name of the policy that opens sessions.
pub const EXEC: &str = "ecs-exec";

/// A value that ECS fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Where from, as ECS takes it.
    pub source: String,
    /// The ARN that is read, as a template.
    arn: String,
    /// Which service has it, where that can be told.
    store: Option<Store>,
    /// The block that it is, where the stack has it.
    block: Option<Address>,
}

/// A service that keeps secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Parameters,
    Secrets,
}

impl Store {
    fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "parameter" => Some(Self::Parameters),
            "secret" => Some(Self::Secrets),
            _ => None,
        }
    }
}

impl Secret {
    /// What a text means; `None` where it means nothing.
    pub fn of(text: &str, input: &Input<'_>) -> Option<Self> {
        let (own, key) = text.split_once(':').map_or((text, None), |(own, key)| (own, Some(key)));
        if let Ok(address) = Address::parse(own)
            && let Some(store) = Store::of_kind(address.kind())
            && input.declared.contains(&address)
            && (key.is_none() || store == Store::Secrets)
        {
            let arn = reference(&address, "arn");
            // "Retrieve Secrets Manager secrets through Amazon ECS environment variables": ARN:key:stage:version.
            let source = key.map_or_else(|| arn.clone(), |key| format!("{arn}:{key}::"));
            return Some(Self { source, arn, store: Some(store), block: Some(address) });
        }
        if let Some(first) = template::references(text).first() {
            let block = first.address();
            let store = block.as_ref().and_then(|address| Store::of_kind(address.kind()));
            let whole = format!("${{{first}}}");
            let arn = if text.starts_with(&whole) { whole } else { text.to_owned() };
            return Some(Self { source: text.to_owned(), arn, store, block });
        }
        let store = match text.split(':').nth(2) {
            Some("ssm") if text.starts_with("arn:") => Some(Store::Parameters),
            Some("secretsmanager") if text.starts_with("arn:") => Some(Store::Secrets),
            _ => None,
        };
        if store.is_some() {
            // Behind the name of a secret: a key, a stage and a version.
            let arn = text.split(':').take(7).collect::<Vec<_>>().join(":");
            return Some(Self { source: text.to_owned(), arn, store, block: None });
        }
        let Scope { partition, region, .. } = input.scope;
        text.starts_with('/').then(|| Self {
            source: text.to_owned(),
            arn: format!("arn:{partition}:ssm:{region}:*:parameter{text}"),
            store: Some(Store::Parameters),
            block: None,
        })
    }
}

/// Everything that ECS fetches for the service's containers.
fn secrets(service: &Service, input: &Input<'_>) -> Vec<Secret> {
    let sidecars = service.sidecars.values().flat_map(|sidecar| sidecar.secrets.values());
    let credentials = service.sidecars.values().filter_map(|sidecar| sidecar.registry_credentials.as_ref());
    service.secrets.values().chain(sidecars).chain(credentials).filter_map(|text| Secret::of(text, input)).collect()
}

/// Secrets that are none.
pub fn check_secrets(service: &Service, input: &Input<'_>, problems: &mut Vec<Problem>) {
    let own = service.secrets.iter().map(|(name, text)| (format!("secrets.{name}"), text));
    let sidecars = service.sidecars.iter().flat_map(|(sidecar, container)| {
        let path = move |name: &String| format!("sidecars.{sidecar}.secrets.{name}");
        container.secrets.iter().map(move |(name, text)| (path(name), text))
    });
    for (path, text) in own.chain(sidecars).filter(|(_, text)| Secret::of(text, input).is_none()) {
        let kind = text.split('.').next().unwrap_or_default();
        let is_of_stack = Store::of_kind(kind).is_some();
        let (message, help) = match is_of_stack {
            true => {
                let name = text.split(':').next().unwrap_or_default();
                (format!("the stack has no `{name}`"), format!("declare [{name}]"))
            }
            false => (
                "this is neither a parameter nor a secret, and a value must not stand here".to_owned(),
                "name one of the stack (\"parameter.password\"), or give the path of a parameter or an ARN".to_owned(),
            ),
        };
        let problem = Problem::at(&path, message).help(help);
        problems.push(if is_of_stack { problem.maybe_follows() } else { problem });
    }
}

/// The ARN of the repository in ECR that an image is pulled from.
fn repository(image: &str, scope: &Scope) -> Option<String> {
    let of_stack = template::references(image).iter().find_map(|reference| {
        let address = reference.address()?;
        (address.kind() == "repository").then(|| super::reference(&address, "arn"))
    });
    of_stack.or_else(|| {
        let (host, rest) = image.split_once('/')?;
        let (account, host) = host.split_once(".dkr.ecr.")?;
        let (region, _) = host.split_once(".amazonaws.com")?;
        let path = rest.split(['@', ':']).next()?;
        Some(format!("arn:{}:ecr:{region}:{account}:repository/{path}", scope.partition))
    })
}

fn statement(sid: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn document(statements: Vec<Value>) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn sorted(resources: impl Iterator<Item = String>) -> Vec<String> {
    let all: std::collections::BTreeSet<String> = resources.collect();
    all.into_iter().collect()
}

/// What ECS needs to start the service's tasks, as a policy document; `None` where it needs nothing.
///
/// `ecr:GetAuthorizationToken` takes no resource
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>).
pub fn execution(service: &Service, logs: Option<&str>, input: &Input<'_>) -> Option<String> {
    let scope = input.scope;
    let mut statements = Vec::new();
    let images = std::iter::once(&service.image).chain(service.sidecars.values().map(|sidecar| &sidecar.image));
    let repositories = sorted(images.filter_map(|image| repository(image, scope)));
    if !repositories.is_empty() {
        statements.push(statement("LogInToTheRegistry", &["ecr:GetAuthorizationToken"], vec!["*".to_owned()]));
        let pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
        statements.push(statement("PullTheImages", &pull, repositories));
    }
    if let Some(group) = logs {
        let write = ["logs:CreateLogStream", "logs:PutLogEvents"];
        statements.push(statement("WriteLogs", &write, vec![format!("{}:*", log_group_arn(group, scope))]));
    }
    let secrets = secrets(service, input);
    let of = |store: Store| {
        // What cannot be told apart is looked for in both; an ARN of the one is none of the other.
        sorted(secrets.iter().filter(|one| one.store.is_none_or(|of| of == store)).map(|one| one.arn.clone()))
    };
    for (sid, action, store) in [
        ("ReadParameters", "ssm:GetParameters", Store::Parameters),
        ("ReadSecrets", "secretsmanager:GetSecretValue", Store::Secrets),
    ] {
        let arns = of(store);
        if !arns.is_empty() {
            statements.push(statement(sid, &[action], arns));
        }
    }
    statements.extend(decryption(&secrets, input));
    (!statements.is_empty()).then(|| document(statements))
}

/// The ARN of a log group that is given by its name.
fn log_group_arn(group: &str, scope: &Scope) -> String {
    match template::references(group).as_slice() {
        [Reference { target, attribute }] if attribute == "name" => format!("${{{target}.arn}}"),
        _ => format!("arn:{}:logs:{}:*:log-group:{group}", scope.partition, scope.region),
    }
}

/// What opens the keys that the stack's own parameters and secrets are encrypted with, where they are not AWS's.
fn decryption(secrets: &[Secret], input: &Input<'_>) -> Vec<Value> {
    let Scope { partition, region, .. } = input.scope;
    let blocks = secrets.iter().filter_map(|secret| input.blocks.get(secret.block.as_ref()?));
    let keys: Vec<&str> = blocks.filter_map(|block| block.get("kms_key")?.as_str()).collect();
    let (aliases, keys): (Vec<&str>, Vec<&str>) = keys.into_iter().partition(|key| key.starts_with("alias/"));
    let keys = sorted(keys.into_iter().map(|key| match key.starts_with("arn:") || key.contains("${") {
        true => key.to_owned(),
        false => format!("arn:{partition}:kms:{region}:*:key/{key}"),
    }));
    let aliases = sorted(aliases.into_iter().map(str::to_owned));
    let mut out = Vec::new();
    if !keys.is_empty() {
        out.push(statement("Decrypt", &["kms:Decrypt"], keys));
    }
    if !aliases.is_empty() {
        let all = vec![format!("arn:{partition}:kms:{region}:*:key/*")];
        let mut by_alias = statement("DecryptByAlias", &["kms:Decrypt"], all);
        by_alias["Condition"] = json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": aliases } });
        out.push(by_alias);
    }
    out
}

/// The role of the service's own code; `None` where it needs none.
///
/// The actions of sessions take no resource
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsessionmanagermessagegatewayservice.html>).
pub fn task(service: &Service, input: &Input<'_>) -> Option<Value> {
    let mut policies: Attributes = service.policies.clone().into_iter().collect();
    if service.exec {
        let actions = [
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ];
        let open = document(vec![statement("OpenSessions", &actions, vec!["*".to_owned()])]);
        policies.insert(EXEC.to_owned(), open.into());
    }
    if policies.is_empty() && service.managed_policies.is_empty() {
        return None;
    }
    let managed: Vec<String> = service.managed_policies.iter().map(|name| managed_policy(input, name)).collect();
    let name = input.own_name();
    Some(json!({
        "service": ECS_TASKS,
        "description": format!("What {}-{name} may do", input.scope.prefix()),
        "policies": policies,
        "managed_policies": (!managed.is_empty()).then_some(managed),
    }))
}

/// What the scheduler needs to start the service's tasks, in any revision.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>
pub fn scheduler(chosen: &Chosen, roles: &Roles, dead_letters: Option<&str>, scope: &Scope) -> String {
    let Scope { partition, region, .. } = scope;
    let cluster = cluster_arn(&chosen.cluster, scope);
    let tasks = |what: &str| vec![format!("arn:{partition}:ecs:{region}:*:{what}")];
    let mut run = statement("RunTheTask", &["ecs:RunTask"], tasks(&format!("task-definition/{}:*", chosen.name)));
    run["Condition"] = json!({ condition_operator(&cluster): { "ecs:cluster": cluster } });
    let mut tag = statement("TagTheTask", &["ecs:TagResource"], tasks(&format!("task/{}/*", chosen.cluster)));
    tag["Condition"] = json!({ "StringEquals": { "ecs:CreateAction": "RunTask" } });
    let mut statements = vec![run, tag];
    let passed = sorted(roles.execution.iter().chain(&roles.task).cloned());
    if !passed.is_empty() {
        let mut pass = statement("PassItsRoles", &["iam:PassRole"], passed);
        pass["Condition"] = json!({ "StringEquals": { "iam:PassedToService": ECS_TASKS } });
        statements.push(pass);
    }
    if let Some(queue) = dead_letters {
        statements.push(statement("KeepWhatFailed", &["sqs:SendMessage"], vec![queue.to_owned()]));
    }
    document(statements)
}

/// The security groups that are named by the attributes of a block.
pub fn groups_of(block: &Attributes, input: &Input<'_>) -> Vec<String> {
    let named_group = |text: &str| named(input, "security_group", "id", text);
    match block.get("security_groups") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(named_group).collect(),
        Some(Value::String(one)) => vec![named_group(one)],
        _ => Vec::new(),
    }
}
