//! `cluster_capacity`: which capacity providers a cluster uses.
//!
//! AWS keeps one list of them and one default strategy for a cluster, and takes both only whole. A cluster may be
//! shared, with another stack or with somebody's own hand: what names a provider that the block does not list, and did
//! not list before, is somebody else's. It is put back with every change, left there by a delete, and never drift.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ecs::types::{CapacityProviderStrategyItem, Cluster, ClusterField};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, ecs, gone_is_fine, in_order, is_of_scope, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, template};

/// AWS's own providers; everything else is a group's.
const FARGATE: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// How many providers a cluster takes ("PutClusterCapacityProviders").
const MOST_PROVIDERS: usize = 20;

/// Which capacity providers a cluster uses, and which it uses where a service says nothing. Providers of the cluster
/// that are not listed are left as they are, with their share of the default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterCapacity {
    /// The cluster, by name.
    #[schemars(extend("x-reference" = "cluster.name"))]
    pub cluster: String,
    /// Its providers: capacity providers of the stack, `"FARGATE"` and `"FARGATE_SPOT"`.
    #[schemars(extend("x-reference" = "capacity_provider.name"))]
    pub providers: BTreeSet<String>,
    /// How tasks are spread over them where a service says nothing.
    #[serde(default)]
    pub default: BTreeSet<Share>,
}

/// The share of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The provider.
    #[schemars(extend("x-reference" = "capacity_provider.name"))]
    pub provider: String,
    /// Its share of the tasks, relative to the others', 0 to 1000.
    #[serde(default = "one")]
    pub weight: i32,
    /// How many tasks it gets before the weights count, 0 to 100000. One provider alone can have a base.
    #[serde(default)]
    pub base: i32,
}

fn one() -> i32 {
    1
}

/// The kind `cluster_capacity`.
pub struct ClusterCapacityKind;

#[async_trait]
impl Kind for ClusterCapacityKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["cluster"],
            unique_by: &["cluster"],
            // "DeleteCapacityProvider": one that is associated with a cluster is not deleted.
            rebuilt_around: &["capacity_provider"],
            identity: Identity::Natural,
            taggable: false,
            check,
            predict: |attributes, _| {
                let cluster = attributes.get("cluster").filter(|cluster| !template::is_unknown(cluster));
                Attributes::from_iter(cluster.map(|cluster| ("id".to_owned(), cluster.clone())))
            },
            typical_seconds: 10,
            ..spec::<ClusterCapacity>("cluster_capacity", "capacity of a cluster")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ecs:DescribeClusters"],
            create: &["ecs:PutClusterCapacityProviders", "iam:CreateServiceLinkedRole", "ecs:DescribeClusters"],
            update: &["ecs:PutClusterCapacityProviders", "ecs:DescribeClusters"],
            delete: &["ecs:PutClusterCapacityProviders", "ecs:DescribeClusters"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let mut found = Vec::new();
        for cluster in &clusters(aws, &names).await? {
            let Some(known) = wanted.iter().find(|known| cluster.cluster_name() == Some(known.id.as_str())) else {
                continue;
            };
            let observed = observe(cluster, &known.attributes);
            // A cluster without providers has no capacity declared, unless that is what was declared.
            if is_some(&observed.attributes) || !is_some(&known.attributes) {
                found.push(observed);
            }
        }
        Ok(in_order(wanted, found))
    }

    fn own_id<'a>(&self, given: &'a str) -> &'a str {
        ecs::name_in(given)
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let found = clusters(aws, &[text(wanted, "cluster").to_owned()]).await?;
        let observed = found.first().map(|cluster| observe(cluster, wanted));
        Ok(observed.filter(|observed| is_some(&observed.attributes) && observed.attributes == *wanted))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let capacity: ClusterCapacity = typed(&request.attributes)?;
        change(aws, &capacity.cluster, &capacity, &capacity).await?;
        let outputs = Attributes::from_iter([("id".into(), json!(capacity.cluster))]);
        Ok(Created { id: capacity.cluster, outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let (before, after): (ClusterCapacity, ClusterCapacity) = (typed(&request.before)?, typed(&request.after)?);
        change(aws, &request.id, &before, &after).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let capacity: ClusterCapacity = typed(&known.attributes)?;
        let fields = [ClusterField::Attachments, ClusterField::Tags];
        let found = ecs::clusters(aws, std::slice::from_ref(&known.id), &fields).await?;
        let Some(cluster) = found.first() else { return Ok(()) };
        let mut ours = capacity.providers;
        if !is_of_scope(&aws.scope, &ecs::tags(cluster.tags())) {
            // Whether somebody else's cluster had AWS's own providers before cannot be told; having them costs nothing.
            ours.retain(|name| !FARGATE.contains(&name.as_str()));
        }
        if !cluster.capacity_providers().iter().any(|name| ours.contains(name)) {
            return Ok(());
        }
        let nothing =
            ClusterCapacity { cluster: known.id.clone(), providers: BTreeSet::new(), default: BTreeSet::new() };
        gone_is_fine(put(aws, cluster, |name| ours.contains(name), |name| ours.contains(name), &nothing).await)
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = clusters(aws, std::slice::from_ref(&known.id)).await?;
        let Some(cluster) = found.first() else {
            return Ok(match phase {
                Phase::Deleted => Progress::Done(Attributes::new()),
                _ => Progress::Pending("the cluster to be visible".into()),
            });
        };
        match cluster.attachments_status() {
            None | Some("" | "UPDATE_COMPLETE") => Ok(Progress::Done(Attributes::new())),
            Some("UPDATE_FAILED") => {
                let message =
                    format!("the capacity providers of `{}` could not be changed{}", known.id, reason(cluster));
                Err(CloudError::new(ErrorClass::Refused, "ecs:PutClusterCapacityProviders", "UPDATE_FAILED", message)
                    .help("look at the autoscaling groups of the providers, then apply again"))
            }
            Some(status) => Ok(Progress::Pending(status.to_ascii_lowercase().replace('_', " "))),
        }
    }
}

async fn clusters(aws: &Aws, names: &[String]) -> Result<Vec<Cluster>, CloudError> {
    ecs::clusters(aws, names, &[ClusterField::Attachments]).await
}

/// What the attachments that failed say about it.
fn reason(cluster: &Cluster) -> String {
    let failed = cluster.attachments().iter().filter(|one| one.status().is_some_and(|status| status.contains("FAIL")));
    let details = failed.flat_map(|one| one.details()).filter_map(|detail| Some((detail.name()?, detail.value()?)));
    let told: Vec<String> = details.map(|(name, value)| format!("{name} {value}")).collect();
    if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) }
}

/// Gives a cluster these providers and shares in place of those of `before`.
async fn change(aws: &Aws, cluster: &str, before: &ClusterCapacity, after: &ClusterCapacity) -> Result<(), CloudError> {
    let found = clusters(aws, &[cluster.to_owned()]).await?;
    let Some(found) = found.first() else {
        let message = format!("there is no cluster `{cluster}`");
        let (call, code) = ("ecs:PutClusterCapacityProviders", "ClusterNotFoundException");
        return Err(CloudError::new(ErrorClass::NotFound, call, code, message));
    };
    let both = [before, after];
    let listed = |name: &str| both.iter().any(|capacity| capacity.providers.contains(name));
    let shared = |name: &str| {
        let given = both.iter().flat_map(|capacity| &capacity.default).any(|share| share.provider == name);
        given || (listed(name) && !FARGATE.contains(&name))
    };
    put(aws, found, listed, shared, after).await
}

/// Puts `capacity` in place of what a cluster has of these providers and shares, and everything else back as it is.
/// Refused with `UpdateInProgressException` while an earlier change is under way, which passes.
async fn put(
    aws: &Aws,
    cluster: &Cluster,
    is_our_provider: impl Fn(&str) -> bool,
    is_our_share: impl Fn(&str) -> bool,
    capacity: &ClusterCapacity,
) -> Result<(), CloudError> {
    let call = "ecs:PutClusterCapacityProviders";
    let theirs: BTreeSet<Share> = shares(cluster).filter(|share| !is_our_share(&share.provider)).collect();
    let strategy = theirs
        .iter()
        .chain(&capacity.default)
        .map(|share| {
            CapacityProviderStrategyItem::builder()
                .capacity_provider(&share.provider)
                .weight(share.weight)
                .base(share.base)
                .build()
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CloudError::unexpected(call, error.to_string()))?;
    let others = cluster.capacity_providers().iter().filter(|name| !is_our_provider(name));
    let providers: BTreeSet<String> = others.chain(&capacity.providers).cloned().collect();
    let providers: Vec<String> = providers.into_iter().collect();
    let name = cluster.cluster_name().unwrap_or_default();
    let done = aws
        .calls
        .write(call, || {
            aws.ecs
                .put_cluster_capacity_providers()
                .cluster(name)
                .set_capacity_providers(Some(providers.clone()))
                .set_default_capacity_provider_strategy(Some(strategy.clone()))
                .send()
        })
        .await;
    match done {
        Err(error) if error.is(ErrorClass::Refused) && !theirs.is_empty() && !capacity.default.is_empty() => {
            let names: Vec<&str> = theirs.iter().map(|share| share.provider.as_str()).collect();
            Err(error.help(format!(
                "the default strategy of `{name}` names {} besides, which this block does not list: leave `default` out, \
                 or list them in `providers` and `default` to decide over them",
                names.join(", ")
            )))
        }
        other => other.map(|_| ()),
    }
}

/// The cluster's default strategy.
fn shares(cluster: &Cluster) -> impl Iterator<Item = Share> {
    cluster.default_capacity_provider_strategy().iter().map(|item| Share {
        provider: item.capacity_provider().to_owned(),
        weight: item.weight(),
        base: item.base(),
    })
}

/// What a cluster has of the providers that these attributes list; all of them where they list none. The shares of AWS's
/// own providers, which many may list, are only seen where the attributes give them some.
fn observe(cluster: &Cluster, wanted: &Attributes) -> Observed {
    let name = cluster.cluster_name().unwrap_or_default().to_owned();
    let listed = wanted.get("providers").and_then(Value::as_array).filter(|list| !list.is_empty());
    let is_ours = |name: &str| listed.is_none_or(|list| list.iter().any(|one| one == name));
    let providers: BTreeSet<&String> = cluster.capacity_providers().iter().filter(|name| is_ours(name)).collect();
    let given = wanted.get("default").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_given = |name: &str| given.iter().any(|share| share.get("provider").is_some_and(|one| one == name));
    let seen = |name: &str| is_ours(name) && (listed.is_none() || !FARGATE.contains(&name) || is_given(name));
    let shares: BTreeSet<Share> = shares(cluster).filter(|share| seen(&share.provider)).collect();
    let attributes = Attributes::from_iter([
        ("cluster".into(), json!(name)),
        ("providers".into(), json!(providers)),
        ("default".into(), json!(shares)),
    ]);
    let outputs = Attributes::from_iter([("id".into(), json!(name))]);
    Observed { id: name, attributes, outputs }
}

/// Whether these attributes name any provider.
fn is_some(attributes: &Attributes) -> bool {
    let some = |name: &str| attributes.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    some("providers") || some("default")
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let list = |name: &str| attributes.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (providers, shares) = (list("providers"), list("default"));
    if providers.len() > MOST_PROVIDERS {
        let message = format!("{} providers, and a cluster takes {MOST_PROVIDERS}", providers.len());
        problems.push(Problem::at("providers", message));
    }
    let mut based = 0;
    let mut families = BTreeSet::new();
    for (index, share) in shares.iter().enumerate() {
        let path = |name: &str| format!("default.{index}.{name}");
        let Some(provider) = share.get("provider") else { continue };
        if !template::is_unknown(provider) {
            families.insert(FARGATE.iter().any(|name| provider == name));
        }
        // One provider may be referred to in several ways: nothing is told of what is not literal.
        let literal = !template::is_unknown(provider) && !providers.iter().any(template::is_unknown);
        if literal && !providers.contains(provider) {
            let message = format!("{provider} is not among the cluster's `providers`");
            problems.push(Problem::at(&path("provider"), message).help("add it there"));
        }
        let number = |name: &str| share.get(name).and_then(Value::as_i64).unwrap_or(0);
        for (name, most) in [("weight", 1000), ("base", 100_000)] {
            if !(0..=most).contains(&number(name)) {
                problems.push(Problem::at(&path(name), format!("{}: ECS takes 0 to {most}", number(name))));
            }
        }
        based += i32::from(number("base") > 0);
    }
    if based > 1 {
        problems.push(Problem::at("default", "more than one provider has a base").help("leave it to one of them"));
    }
    if families.len() > 1 {
        let message = "a strategy mixes Fargate with the capacity of groups, which ECS does not take";
        problems.push(Problem::at("default", message).help("name one sort here; services can name the other"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_that_ecs_refuses_is_found_offline() {
        let problems = |providers: Value, default: Value| {
            let attributes = [("providers".to_owned(), providers), ("default".to_owned(), default)];
            check(&Attributes::from_iter(attributes)).into_iter().map(|p| p.path.join(".")).collect::<Vec<_>>()
        };
        let web = "${capacity_provider.web.name}";
        assert!(problems(json!([web, "FARGATE"]), json!([{ "provider": web, "base": 1 }])).is_empty());
        assert_eq!(problems(json!(["FARGATE"]), json!([{ "provider": "FARGATE_SPOT" }])), ["default.0.provider"]);
        let mixed = json!([{ "provider": "FARGATE", "base": 1 }, { "provider": "web", "base": 1 }]);
        assert_eq!(problems(json!(["FARGATE", "web"]), mixed), ["default", "default"]);
        assert_eq!(problems(json!(["web"]), json!([{ "provider": "web", "weight": 1001 }])), ["default.0.weight"]);
    }
}
