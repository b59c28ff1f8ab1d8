//! `hosted_zone`: a DNS zone, of the internet or of VPCs.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_route53::operation::get_hosted_zone::GetHostedZoneOutput;
use aws_sdk_route53::types::{
    DelegationSet, HostedZone as Zone, HostedZoneConfig, ResourceTagSet, Tag, TagResourceType, Vpc, VpcRegion,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::route53::{Changes, bare_id, canonical_name, own_records, remove_records, zone};
use super::{Actions, During, Kind, Tags, Taking, owned, spec, tag_changes, tags_of, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, Scope, template};

/// A DNS zone: of the internet, or of VPCs and then answered only inside them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostedZone {
    /// Its domain name: `"myorg.local"`.
    pub name: String,
    /// The VPCs that a private zone answers in. One in another region is written `"eu-west-1/vpc-0123456789abcdef0"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpcs: BTreeSet<String>,
    /// Whether it is private. Follows from `vpcs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// A comment, up to 256 characters.
    #[serde(default)]
    pub comment: String,
    /// Whether deleting it deletes the records in it too, those of other tools among them.
    #[serde(default)]
    pub force_destroy: bool,
    /// Tags, ten at most.
    #[serde(default)]
    pub tags: Tags,
}

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut zone: HostedZone =
        serde_json::from_value(Value::Object(attributes)).map_err(|e| Problem::at("", e.to_string()))?;
    if template::references(&zone.name).is_empty() {
        zone.name = canonical_name(&zone.name);
    }
    zone.private = Some(zone.private.unwrap_or(!zone.vpcs.is_empty()));
    Ok(untyped(&zone))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(value) = attributes.get("name").filter(|value| !template::is_unknown(value))
        && let Some(name) = value.as_str()
    {
        let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
        let bad = |label: &&str| {
            label.is_empty() || label.len() > 63 || label.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        if name.len() > 255 || labels.iter().any(bad) {
            problems.push(
                Problem::at("name", format!("`{name}` is no domain name"))
                    .help("it has parts of 1 to 63 characters, parted by dots: \"myorg.local\""),
            );
        } else if labels.len() == 1 && attributes.get("vpcs").is_none() {
            problems.push(
                Problem::at("name", format!("`{name}` is a top-level domain"))
                    .help("a zone of the internet is below one: \"example.com\""),
            );
        }
    }
    let vpcs = attributes.get("vpcs").and_then(Value::as_array).is_some_and(|vpcs| !vpcs.is_empty());
    match attributes.get("private").and_then(Value::as_bool) {
        Some(true) if !vpcs => problems.push(
            Problem::at("private", "a private zone needs a VPC").help("add `vpcs = [\"main\"]`, or remove `private`"),
        ),
        Some(false) if vpcs => {
            problems.push(Problem::at("private", "a zone with `vpcs` is private").help("remove `private`, or `vpcs`"))
        }
        _ => {}
    }
    if attributes.get("comment").and_then(Value::as_str).is_some_and(|text| text.chars().count() > 256) {
        problems.push(Problem::at("comment", "it has more than 256 characters").help("shorten it"));
    }
    problems
}

/// The kind `hosted_zone`.
#[derive(Default)]
pub struct HostedZoneKind {
    changes: Changes,
}

#[async_trait]
impl Kind for HostedZoneKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "private"],
            outputs: &["arn", "zone_id", "name_servers"],
            write_only: &["force_destroy"],
            identity: Identity::ClientToken,
            // "ChangeTagsForResource": a hosted zone takes 10.
            most_tags: 10,
            canonical,
            check,
            typical_seconds: 40,
            account_wide: true,
            ..spec::<HostedZone>("hosted_zone", "hosted zone")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "route53:GetHostedZone",
                "route53:ListTagsForResource",
                "route53:ListTagsForResources",
                "route53:ListHostedZones",
                "route53:ListHostedZonesByName",
                "route53:GetChange",
            ],
            create: &[
                "route53:CreateHostedZone",
                "route53:GetHostedZone",
                "route53:AssociateVPCWithHostedZone",
                "route53:ChangeTagsForResource",
                "ec2:DescribeVpcs",
                "route53:GetChange",
            ],
            update: &[
                "route53:GetHostedZone",
                "route53:UpdateHostedZoneComment",
                "route53:AssociateVPCWithHostedZone",
                "route53:DisassociateVPCFromHostedZone",
                "route53:ChangeTagsForResource",
                "ec2:DescribeVpcs",
                "route53:GetChange",
            ],
            delete: &[
                "route53:GetHostedZone",
                "route53:ListResourceRecordSets",
                "route53:ChangeResourceRecordSets",
                "route53:DeleteHostedZone",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            // One zone has another call than several.
            "route53:ListTagsForResource" => taking.together == 1,
            "route53:ListTagsForResources" => taking.together > 1,
            "route53:ListHostedZones" | "route53:ListHostedZonesByName" => false,
            "route53:GetHostedZone" | "route53:AssociateVPCWithHostedZone" if taking.creates() => {
                taking.after.get("vpcs").and_then(Value::as_array).is_none_or(|vpcs| vpcs.len() > 1)
            }
            "route53:GetHostedZone" if taking.during == During::Update => taking.changes(&["vpcs"]),
            "route53:AssociateVPCWithHostedZone" => taking.adds("vpcs"),
            "route53:DisassociateVPCFromHostedZone" => taking.removes("vpcs"),
            "ec2:DescribeVpcs" => taking.gains("vpcs"),
            "route53:UpdateHostedZoneComment" => taking.changes(&["comment"]),
            "route53:GetChange" => taking.creates() || taking.changes(&["vpcs"]),
            "route53:ListResourceRecordSets" | "route53:ChangeResourceRecordSets" => {
                taking.before.get("force_destroy") == Some(&json!(true))
            }
            _ => taking.takes(call),
        }
    }

    /// A zone's VPCs have no batch form: one read each. Tags come for ten zones a call.
    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let zones = futures_util::future::try_join_all(wanted.iter().map(|known| zone(aws, &known.id))).await?;
        let there: Vec<&str> =
            wanted.iter().zip(&zones).filter(|(_, zone)| zone.is_some()).map(|(known, _)| known.id.as_str()).collect();
        let tags = tags(aws, &there).await?;
        Ok(zones
            .into_iter()
            .map(|found| {
                let found = found?;
                let mut observed = observe(aws, &found)?;
                let own = tags.iter().find(|(id, _)| *id == observed.id).map(|(_, tags)| tags);
                observed.attributes.insert("tags".into(), json!(own));
                Some(observed)
            })
            .collect())
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let mut ids = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let call = || aws.route53.list_hosted_zones().set_marker(marker.clone()).send();
            let page = aws.calls.read("route53:ListHostedZones", call).await?;
            ids.extend(page.hosted_zones.iter().map(|zone| bare_id(&zone.id).to_owned()));
            marker = page.next_marker.filter(|_| page.is_truncated);
            if marker.is_none() {
                break;
            }
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let tags = tags(aws, &ids).await?;
        Ok(tags.iter().filter_map(|(id, tags)| owned::claimed(&aws.scope, id, tags)).collect())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted: HostedZone = typed(&lost.request.attributes)?;
        let (mut name, mut after) = (wanted.name.clone(), None);
        loop {
            let page = aws
                .calls
                .read("route53:ListHostedZonesByName", || {
                    aws.route53.list_hosted_zones_by_name().dns_name(&name).set_hosted_zone_id(after.clone()).send()
                })
                .await?;
            if let Some(found) = page.hosted_zones.iter().find(|one| one.caller_reference == lost.request.token) {
                return Ok(match zone(aws, bare_id(&found.id)).await? {
                    Some(found) => observe(aws, &found),
                    None => None,
                });
            }
            match (page.is_truncated, page.next_dns_name, page.next_hosted_zone_id) {
                (true, Some(next), id) if canonical_name(&next) == canonical_name(&wanted.name) => {
                    (name, after) = (next, id);
                }
                _ => return Ok(None),
            }
        }
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let wanted: HostedZone = typed(&request.attributes)?;
        let config = HostedZoneConfig::builder().comment(&wanted.comment).private_zone(!wanted.vpcs.is_empty()).build();
        let made = aws
            .calls
            .write("route53:CreateHostedZone", || {
                aws.route53
                    .create_hosted_zone()
                    .name(&wanted.name)
                    .caller_reference(&request.token)
                    .hosted_zone_config(config.clone())
                    .set_vpc(wanted.vpcs.first().map(|vpc| vpc_of(&aws.scope, vpc)))
                    .send()
            })
            .await;
        match made {
            Ok(answer) => {
                let id = answer.hosted_zone().map(|zone| bare_id(&zone.id).to_owned()).unwrap_or_default();
                if let Some(change) = answer.change_info() {
                    self.changes.remember(&id, bare_id(&change.id).to_owned());
                }
                Ok(Created { outputs: outputs(aws, &id, answer.delegation_set()), id })
            }
            // The caller reference was used: an earlier try made the zone and its answer was lost.
            Err(error) if error.is(ErrorClass::Exists) => {
                let found = self.find(aws, &Lost { request: request.clone() }).await?;
                found.map(|found| Created { id: found.id, outputs: found.outputs }).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let wanted: HostedZone = typed(&request.attributes)?;
        if wanted.vpcs.len() > 1 {
            self.set_vpcs(aws, id, &wanted.vpcs).await?;
        }
        set_tags(aws, id, &tags_of(&request.attributes), &[]).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let id = request.id.as_str();
        let wanted: HostedZone = typed(&request.after)?;
        if request.changed.contains("comment") {
            aws.calls
                .write("route53:UpdateHostedZoneComment", || {
                    aws.route53.update_hosted_zone_comment().id(id).comment(&wanted.comment).send()
                })
                .await?;
        }
        if request.changed.contains("vpcs") {
            self.set_vpcs(aws, id, &wanted.vpcs).await?;
        }
        if request.changed.contains("tags") {
            let (set, removed) = tag_changes(request);
            set_tags(aws, id, &set, &removed).await?;
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let id = known.id.as_str();
        let Some(name) = zone(aws, id).await?.and_then(|answer| answer.hosted_zone).map(|zone| zone.name) else {
            return Ok(());
        };
        if known.attributes.get("force_destroy").and_then(Value::as_bool) == Some(true) {
            let left = own_records(aws, id, &name).await?;
            remove_records(aws, id, left).await?;
        }
        let deleted =
            aws.calls.write("route53:DeleteHostedZone", || aws.route53.delete_hosted_zone().id(id).send()).await;
        match deleted {
            Err(error) if error.is(ErrorClass::NotFound) => Ok(()),
            Err(error) if error.code == "HostedZoneNotEmpty" => Err(explain_records(aws, known, &name, error).await),
            other => other.map(|_| ()),
        }
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        match phase {
            Phase::Deleted => Ok(Progress::Done(Attributes::new())),
            Phase::Created | Phase::Updated => self.changes.poll(aws, &known.id).await,
        }
    }
}

impl HostedZoneKind {
    /// Makes these the zone's VPCs, from what they are: safe to repeat. New ones come first, since a private zone keeps
    /// one at all times.
    async fn set_vpcs(&self, aws: &Aws, id: &str, wanted: &BTreeSet<String>) -> Result<(), CloudError> {
        let current: BTreeSet<String> = match zone(aws, id).await? {
            Some(found) => found.vpcs().iter().filter_map(|vpc| vpc_name(&aws.scope, vpc)).collect(),
            None => {
                let message = format!("there is no hosted zone `{id}`");
                return Err(CloudError::new(
                    ErrorClass::NotFound,
                    "route53:GetHostedZone",
                    "NoSuchHostedZone",
                    message,
                ));
            }
        };
        for vpc in wanted.difference(&current).map(|vpc| vpc_of(&aws.scope, vpc)) {
            let call = || aws.route53.associate_vpc_with_hosted_zone().hosted_zone_id(id).vpc(vpc.clone()).send();
            let answer = aws.calls.write("route53:AssociateVPCWithHostedZone", call).await?;
            if let Some(change) = answer.change_info() {
                self.changes.remember(id, bare_id(&change.id).to_owned());
            }
        }
        for vpc in current.difference(wanted).map(|vpc| vpc_of(&aws.scope, vpc)) {
            let call = || aws.route53.disassociate_vpc_from_hosted_zone().hosted_zone_id(id).vpc(vpc.clone()).send();
            match aws.calls.write("route53:DisassociateVPCFromHostedZone", call).await {
                Ok(answer) => {
                    if let Some(change) = answer.change_info() {
                        self.changes.remember(id, bare_id(&change.id).to_owned());
                    }
                }
                Err(error) if error.code == "VPCAssociationNotFound" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A VPC as Route 53 wants it, from `vpc-…` or `region/vpc-…`.
fn vpc_of(scope: &Scope, vpc: &str) -> Vpc {
    let (region, id) = vpc.split_once('/').unwrap_or((&scope.region, vpc));
    Vpc::builder().vpc_id(id).vpc_region(VpcRegion::from(region)).build()
}

fn vpc_name(scope: &Scope, vpc: &Vpc) -> Option<String> {
    let id = vpc.vpc_id()?;
    match vpc.vpc_region().map(VpcRegion::as_str) {
        Some(region) if region != scope.region => Some(format!("{region}/{id}")),
        _ => Some(id.to_owned()),
    }
}

fn outputs(aws: &Aws, id: &str, servers: Option<&DelegationSet>) -> Attributes {
    let servers: Vec<&str> =
        servers.map(|set| set.name_servers().iter().map(|one| one.trim_end_matches('.')).collect()).unwrap_or_default();
    Attributes::from_iter([
        ("id".to_owned(), json!(id)),
        ("zone_id".to_owned(), json!(id)),
        ("arn".to_owned(), json!(format!("arn:{}:route53:::hostedzone/{id}", aws.scope.partition))),
        ("name_servers".to_owned(), json!(servers)),
    ])
}

fn observe(aws: &Aws, found: &GetHostedZoneOutput) -> Option<Observed> {
    let zone: &Zone = found.hosted_zone()?;
    let id = bare_id(&zone.id).to_owned();
    let config = zone.config();
    let private = config.is_some_and(|config| config.private_zone);
    let mut attributes = Attributes::from_iter([
        ("name".to_owned(), json!(canonical_name(&zone.name))),
        ("private".to_owned(), json!(private)),
        ("comment".to_owned(), json!(config.and_then(|config| config.comment()).unwrap_or_default())),
    ]);
    if private {
        let vpcs: BTreeSet<String> = found.vpcs().iter().filter_map(|vpc| vpc_name(&aws.scope, vpc)).collect();
        attributes.insert("vpcs".into(), json!(vpcs));
    }
    let outputs = outputs(aws, &id, found.delegation_set());
    Some(Observed { id, attributes, outputs })
}

/// The tags of zones, for ten a call ("ListTagsForResources"); one alone, and where that call is not to be had (some
/// emulators) or one of the zones is gone, one by one. A zone that is gone has none.
async fn tags(aws: &Aws, ids: &[&str]) -> Result<Vec<(String, Tags)>, CloudError> {
    let mut out = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(10) {
        let sets = match chunk {
            [one] => vec![tags_of_one(aws, one).await?],
            several => match tags_of_several(aws, several).await {
                Err(error) if matches!(error.class, ErrorClass::Refused | ErrorClass::NotFound) => {
                    let each = several.iter().map(|id| tags_of_one(aws, id));
                    futures_util::future::try_join_all(each).await?
                }
                sets => sets?,
            },
        };
        out.extend(sets.into_iter().filter_map(|set| {
            let tags = set.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())));
            Some((set.resource_id()?.to_owned(), tags.collect()))
        }));
    }
    Ok(out)
}

async fn tags_of_one(aws: &Aws, id: &str) -> Result<ResourceTagSet, CloudError> {
    let call =
        || aws.route53.list_tags_for_resource().resource_type(TagResourceType::Hostedzone).resource_id(id).send();
    let tags = match aws.calls.read("route53:ListTagsForResource", call).await {
        Ok(answer) => answer.resource_tag_set.and_then(|set| set.tags),
        Err(error) if error.is(ErrorClass::NotFound) => None,
        Err(error) => return Err(error),
    };
    Ok(ResourceTagSet::builder().resource_id(id).set_tags(tags).build())
}

async fn tags_of_several(aws: &Aws, ids: &[&str]) -> Result<Vec<ResourceTagSet>, CloudError> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let call = || {
        let ids = Some(ids.clone());
        aws.route53.list_tags_for_resources().resource_type(TagResourceType::Hostedzone).set_resource_ids(ids).send()
    };
    Ok(aws.calls.read("route53:ListTagsForResources", call).await?.resource_tag_sets)
}

async fn set_tags(aws: &Aws, id: &str, set: &Tags, removed: &[String]) -> Result<(), CloudError> {
    let some = |empty: bool| (!empty).then_some(());
    let tags: Vec<Tag> = set.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    if tags.is_empty() && removed.is_empty() {
        return Ok(());
    }
    aws.calls
        .write("route53:ChangeTagsForResource", || {
            aws.route53
                .change_tags_for_resource()
                .resource_type(TagResourceType::Hostedzone)
                .resource_id(id)
                .set_add_tags(some(tags.is_empty()).map(|()| tags.clone()))
                .set_remove_tag_keys(some(removed.is_empty()).map(|()| removed.to_vec()))
                .send()
        })
        .await?;
    Ok(())
}

/// Names the records that keep a zone from being deleted; waiting does not remove them.
async fn explain_records(aws: &Aws, known: &Known, name: &str, error: CloudError) -> CloudError {
    let error = CloudError { class: ErrorClass::Refused, ..error };
    let Ok(left) = own_records(aws, &known.id, name).await else { return error };
    let mut names: Vec<String> =
        left.iter().map(|record| format!("{} {}", canonical_name(&record.name), record.r#type.as_str())).collect();
    let more = names.len().saturating_sub(5);
    names.truncate(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = names.join(", ");
    error.help(match known.address.construct() {
        None => format!(
            "this stack did not make {names}{more}: remove them, or set `force_destroy = true`, apply, and delete then"
        ),
        // A construct's zone takes no settings.
        Some(_) => format!("this stack did not make {names}{more}: remove them, and run the same command again"),
    })
}
