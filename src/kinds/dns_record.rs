//! `dns_record`: a record of a hosted zone.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_route53::types::{
    AliasTarget, ChangeAction, GeoLocation, ResourceRecord, ResourceRecordSet, ResourceRecordSetFailover,
    ResourceRecordSetRegion, RrType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dns_values::{RecordType, canonical_value, check, quoted};
use super::route53::{Changes, bare_id, canonical_name, change_of, full_name, records_from, zone_name};
use super::{Actions, Kind, spec, text, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, template};

/// A record of a hosted zone: values, or an alias of a load balancer or another record.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsRecord {
    /// The zone: its name in the stack, a reference or an id.
    #[schemars(extend("x-reference" = "hosted_zone.id"))]
    pub zone: String,
    /// The name within the zone, `"www"`, or in full, `"www.myorg.local"`. `"@"` is the zone's own name.
    pub name: String,
    /// The type.
    pub r#type: RecordType,
    /// How long resolvers keep an answer, in seconds. Not for an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// The values: addresses, names, texts (without quotes).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
    /// What answers instead of values of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// Tells records apart that share name and type: needed with `weight`, `region`, `failover`, `geo` and `multivalue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<String>,
    /// Its share of the answers, 0 to 255, among the records of this name and type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// The region that it answers for: who is nearest to it by latency gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether it answers first, or when the first is unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Where it answers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<Geo>,
    /// Whether it is one of up to eight healthy answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multivalue: bool,
    /// The id of the health check that it depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<String>,
}

/// What an alias stands for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// Its DNS name: of a load balancer, or of a record of the same zone.
    pub name: String,
    /// The id of the hosted zone that its name is in: the load balancer's own, or this record's.
    pub zone: String,
    /// Whether it answers only while its target is healthy.
    #[serde(default)]
    pub evaluate_health: bool,
}

/// Whether a record answers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// As long as it is healthy.
    Primary,
    /// While the primary one is not.
    Secondary,
}

/// A part of the world; one of them is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Geo {
    /// A continent: `"EU"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continent: Option<String>,
    /// A country: `"GB"`; `"*"` for wherever no other record answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// A state of the country: `"CA"` of `"US"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdivision: Option<String>,
}

/// How long resolvers keep an answer where nothing is said, in seconds.
const TTL: i64 = 300;

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut record: DnsRecord =
        serde_json::from_value(Value::Object(attributes)).map_err(|e| Problem::at("", e.to_string()))?;
    let plain = |text: &str| template::references(text).is_empty();
    if plain(&record.name) {
        // The last dot stays: it says that the name is full.
        let dot = if record.name.ends_with('.') { "." } else { "" };
        record.name = format!("{}{dot}", canonical_name(&record.name));
    }
    if plain(&record.zone) {
        record.zone = bare_id(&record.zone).to_owned();
    }
    record.values = record
        .values
        .into_iter()
        .map(|value| if plain(&value) { canonical_value(record.r#type, &value) } else { value })
        .collect();
    match &mut record.alias {
        Some(alias) => {
            if plain(&alias.name) {
                alias.name = canonical_name(&alias.name);
            }
            if plain(&alias.zone) {
                alias.zone = bare_id(&alias.zone).to_owned();
            }
        }
        None => record.ttl = Some(record.ttl.unwrap_or(TTL)),
    }
    Ok(untyped(&record))
}

/// What makes a record the one it is, in its zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    /// The labels of the name from the last to the first: the order of listings ("ListResourceRecordSets").
    labels: Vec<String>,
    kind: String,
    set: Option<String>,
}

impl Key {
    fn new(name: &str, kind: &str, set: Option<&str>) -> Self {
        let labels = canonical_name(name).rsplit('.').map(str::to_owned).collect();
        Self { labels, kind: kind.to_owned(), set: set.map(str::to_owned) }
    }

    fn of(record: &ResourceRecordSet) -> Self {
        Self::new(&record.name, record.r#type.as_str(), record.set_identifier())
    }

    /// The zone and the key of an id, `ZONE/NAME/TYPE[/SETID]`. A name holds no slash: see [`canonical_name`].
    fn parse(id: &str) -> Option<(&str, Self)> {
        let mut parts = id.splitn(4, '/');
        let (zone, name, kind) = (parts.next()?, parts.next()?, parts.next()?);
        Some((zone, Self::new(name, kind, parts.next())))
    }

    fn name(&self) -> String {
        self.labels.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }

    fn id(&self, zone: &str) -> String {
        let set = self.set.as_ref().map(|set| format!("/{set}")).unwrap_or_default();
        format!("{zone}/{}/{}{set}", self.name(), self.kind)
    }
}

fn parse_id(id: &str) -> Result<(&str, Key), CloudError> {
    Key::parse(id).ok_or_else(|| {
        CloudError::unexpected("dns_record", format!("`{id}` is no id of a record"))
            .help("it is ZONE/NAME/TYPE or ZONE/NAME/TYPE/SETID: Z0123/www.example.com/A")
    })
}

/// The kind `dns_record`.
#[derive(Default)]
pub struct DnsRecordKind {
    changes: Changes,
}

#[async_trait]
impl Kind for DnsRecordKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["zone", "name", "type", "set_id"],
            unique_by: &["zone", "name", "type", "set_id"],
            outputs: &["fqdn"],
            identity: Identity::Natural,
            taggable: false,
            canonical,
            check,
            typical_seconds: 40,
            ..spec::<DnsRecord>("dns_record", "DNS record")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["route53:ListResourceRecordSets", "route53:GetHostedZone", "route53:GetChange"],
            create: &["route53:GetHostedZone", "route53:ChangeResourceRecordSets", "route53:GetChange"],
            update: &["route53:ChangeResourceRecordSets", "route53:GetChange"],
            delete: &["route53:ListResourceRecordSets", "route53:ChangeResourceRecordSets"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut by_zone: BTreeMap<&str, BTreeMap<Key, usize>> = BTreeMap::new();
        for (position, known) in wanted.iter().enumerate() {
            let (zone, key) = parse_id(&known.id)?;
            by_zone.entry(zone).or_default().insert(key, position);
        }
        let mut out = vec![None; wanted.len()];
        let zones = by_zone.into_iter().map(|(zone, keys)| async move { read_zone(aws, zone, keys).await });
        for (position, record) in futures_util::future::try_join_all(zones).await?.into_iter().flatten() {
            if let Some(known) = wanted.get(position) {
                out[position] = Some(observe(&record, known));
            }
        }
        Ok(out)
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let request = &lost.request;
        let record: DnsRecord = typed(&request.attributes)?;
        let key = key_of(aws, &record).await?;
        let known = Known {
            address: request.address.clone(),
            id: key.id(&record.zone),
            attributes: request.attributes.clone(),
            outputs: Attributes::new(),
        };
        let found = get(aws, &record.zone, &key).await?.map(|record| observe(&record, &known));
        // A record has nothing that tells whose it is: one that says the same is as good as made.
        Ok(found.filter(|found| found.attributes == request.attributes))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let record: DnsRecord = typed(&request.attributes)?;
        let key = key_of(aws, &record).await?;
        let id = key.id(&record.zone);
        let change = change_of(ChangeAction::Create, record_set(&key, &record)?)?;
        match self.changes.submit(aws, &record.zone, change).await {
            Ok(change) => self.changes.remember(&id, change),
            Err(error) if error.code == "InvalidChangeBatch" => {
                let (address, attributes) = (request.address.clone(), request.attributes.clone());
                let known = Known { address, id: id.clone(), attributes, outputs: Attributes::new() };
                match get(aws, &record.zone, &key).await?.map(|found| observe(&found, &known)) {
                    None => return Err(error),
                    // Made by a call whose answer was lost, or by somebody who wants the same.
                    Some(found) if found.attributes == request.attributes => {}
                    Some(_) => return Err(taken(&error, &known)),
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Created { outputs: outputs(&key), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let record: DnsRecord = typed(&request.after)?;
        let (_, key) = parse_id(&request.id)?;
        self.upsert(aws, &request.id, &key, &record).await
    }

    /// A record is deleted by saying exactly what it is: it is read first.
    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let (zone, key) = parse_id(&known.id)?;
        let Some(record) = get(aws, zone, &key).await? else { return Ok(()) };
        let deleted = self.changes.submit(aws, zone, change_of(ChangeAction::Delete, record)?).await;
        match deleted {
            Err(error) if error.is(ErrorClass::NotFound) => Ok(()),
            Err(error) if error.code == "InvalidChangeBatch" && get(aws, zone, &key).await?.is_none() => Ok(()),
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

impl DnsRecordKind {
    async fn upsert(&self, aws: &Aws, id: &str, key: &Key, record: &DnsRecord) -> Result<(), CloudError> {
        let change = change_of(ChangeAction::Upsert, record_set(key, record)?)?;
        let change = self.changes.submit(aws, &record.zone, change).await?;
        self.changes.remember(id, change);
        Ok(())
    }
}

/// The error of a record that stands there already and says something else.
fn taken(error: &CloudError, known: &Known) -> CloudError {
    let message = format!("there is a record `{}` already, and it is not what the stack says", known.id);
    CloudError::new(ErrorClass::Exists, &error.call, &error.code, message).help(format!(
        "adopt it (`cofferdam import STACK {} {}`), after which a plan shows what would change; or remove it by hand, or \
         give this one another name",
        known.address, known.id
    ))
}

/// The key of a record that the stack describes; asks for the zone's name, once a zone.
async fn key_of(aws: &Aws, record: &DnsRecord) -> Result<Key, CloudError> {
    let zone = zone_name(aws, &record.zone).await?;
    let name = full_name(&record.name, &zone);
    if name != zone && !name.ends_with(&format!(".{zone}")) {
        let message = format!("`{name}` is not in the zone {zone}");
        return Err(CloudError::unexpected("route53:ChangeResourceRecordSets", message).help(format!(
            "a record of this zone ends in .{zone}; leave the last dot out for a name within the zone"
        )));
    }
    Ok(Key::new(&name, &record.r#type.name(), record.set_id.as_deref()))
}

/// Finds these records of one zone, each with its place among the wanted. Listing begins at the first one that is
/// missing; in a zone that holds little else, one page of 300 answers for all, and a large zone is not read whole for a
/// few. Only a record at which a listing began and which it does not hold counts as gone.
async fn read_zone(
    aws: &Aws,
    zone: &str,
    mut keys: BTreeMap<Key, usize>,
) -> Result<Vec<(usize, ResourceRecordSet)>, CloudError> {
    let mut found = Vec::with_capacity(keys.len());
    while let Some((first, _)) = keys.first_key_value() {
        let first = first.clone();
        let page = match list_from(aws, zone, &first).await {
            Ok(page) => page,
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        for record in page {
            if let Some(position) = keys.remove(&Key::of(&record)) {
                found.push((position, record));
            }
        }
        keys.remove(&first);
    }
    Ok(found)
}

async fn list_from(aws: &Aws, zone: &str, key: &Key) -> Result<Vec<ResourceRecordSet>, CloudError> {
    let kind = RrType::from(key.kind.as_str());
    let page = records_from(aws, zone, Some((&key.name(), &kind, key.set.as_deref()))).await?;
    Ok(page.resource_record_sets)
}

async fn get(aws: &Aws, zone: &str, key: &Key) -> Result<Option<ResourceRecordSet>, CloudError> {
    match list_from(aws, zone, key).await {
        Ok(page) => Ok(page.into_iter().find(|record| Key::of(record) == *key)),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn outputs(key: &Key) -> Attributes {
    Attributes::from_iter([("fqdn".to_owned(), json!(key.name()))])
}

fn observe(record: &ResourceRecordSet, known: &Known) -> Observed {
    let last = &known.attributes;
    let key = Key::of(record);
    let mut out = Attributes::new();
    // Zone, name, type and set make up the id, so they are what they were; the name is shown as the stack writes it.
    let name = if text(last, "name").is_empty() { key.name() } else { text(last, "name").to_owned() };
    out.insert("name".into(), json!(name));
    out.insert("zone".into(), json!(known.id.split('/').next()));
    out.insert("type".into(), json!(key.kind));
    // What the record does not have is drift only where the stack gave it.
    let mut put = |name: &str, value: Option<Value>, absent: Value| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        } else if last.contains_key(name) {
            out.insert(name.to_owned(), absent);
        }
    };
    let text_kind = matches!(record.r#type, RrType::Txt | RrType::Spf);
    let kind =
        RecordType::deserialize(json!(key.kind)).unwrap_or(if text_kind { RecordType::Txt } else { RecordType::A });
    let values: BTreeSet<String> =
        record.resource_records().iter().map(|value| canonical_value(kind, &value.value)).collect();
    put("values", (!values.is_empty()).then(|| json!(values)), json!([]));
    let alias = record.alias_target().map(|alias| {
        json!({
            "name": canonical_name(&alias.dns_name),
            "zone": alias.hosted_zone_id,
            "evaluate_health": alias.evaluate_target_health,
        })
    });
    put("alias", alias, Value::Null);
    put("ttl", record.ttl().map(Value::from), Value::Null);
    put("set_id", record.set_identifier().map(Value::from), Value::Null);
    put("weight", record.weight().map(Value::from), Value::Null);
    put("region", record.region().map(|region| json!(region.as_str())), Value::Null);
    put("failover", record.failover().map(|which| json!(which.as_str().to_ascii_lowercase())), Value::Null);
    let geo = record.geo_location().map(|place| {
        let geo = Geo {
            continent: place.continent_code().map(str::to_owned),
            country: place.country_code().map(str::to_owned),
            subdivision: place.subdivision_code().map(str::to_owned),
        };
        Value::Object(untyped(&geo))
    });
    put("geo", geo, Value::Null);
    put("multivalue", record.multi_value_answer().filter(|on| *on).map(Value::from), json!(false));
    put("health_check", record.health_check_id().map(Value::from), Value::Null);
    Observed { id: known.id.clone(), attributes: out, outputs: outputs(&key) }
}

fn record_set(key: &Key, record: &DnsRecord) -> Result<ResourceRecordSet, CloudError> {
    let wrong = |e: aws_smithy_types::error::operation::BuildError| {
        CloudError::unexpected("route53:ChangeResourceRecordSets", e.to_string())
    };
    let values = record
        .values
        .iter()
        .map(|value| {
            let value = if record.r#type.is_text() { quoted(value) } else { value.clone() };
            ResourceRecord::builder().value(value).build().map_err(wrong)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let alias = record.alias.as_ref().map(|alias| {
        AliasTarget::builder()
            .dns_name(&alias.name)
            .hosted_zone_id(&alias.zone)
            .evaluate_target_health(alias.evaluate_health)
            .build()
            .map_err(wrong)
    });
    let geo = record.geo.as_ref().map(|geo| {
        GeoLocation::builder()
            .set_continent_code(geo.continent.clone())
            .set_country_code(geo.country.clone())
            .set_subdivision_code(geo.subdivision.clone())
            .build()
    });
    ResourceRecordSet::builder()
        .name(key.name())
        .r#type(RrType::from(key.kind.as_str()))
        .set_set_identifier(record.set_id.clone())
        .set_ttl(record.ttl)
        .set_resource_records((!values.is_empty()).then_some(values))
        .set_alias_target(alias.transpose()?)
        .set_weight(record.weight)
        .set_region(record.region.as_deref().map(ResourceRecordSetRegion::from))
        .set_failover(record.failover.map(|which| match which {
            Failover::Primary => ResourceRecordSetFailover::Primary,
            Failover::Secondary => ResourceRecordSetFailover::Secondary,
        }))
        .set_geo_location(geo)
        .set_multi_value_answer(record.multivalue.then_some(true))
        .set_health_check_id(record.health_check.clone())
        .build()
        .map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_a_record() {
        let (zone, key) = Key::parse("Z1/*.myorg.local/A/blue/1").unwrap();
        assert_eq!((zone, key.name().as_str(), key.set.as_deref()), ("Z1", "*.myorg.local", Some("blue/1")));
        assert_eq!(key.id("Z1"), "Z1/*.myorg.local/A/blue/1");
        assert!(Key::parse("Z1/www.myorg.local").is_none());
    }

    #[test]
    fn one_meaning_has_one_form() {
        let form = |value: Value| canonical(value.as_object().cloned().unwrap()).unwrap();
        let one = form(json!({"zone": "/hostedzone/Z1", "name": "WWW", "type": "AAAA", "values": ["2001:0db8::0001"]}));
        assert_eq!(one["values"], json!(["2001:db8::1"]));
        assert_eq!((&one["zone"], &one["name"], &one["ttl"]), (&json!("Z1"), &json!("www"), &json!(300)));
        let alias = form(json!({"zone": "${hosted_zone.Main.id}", "name": "@", "type": "A",
            "alias": {"name": "LB.example.com.", "zone": "Z2"}}));
        assert_eq!(alias["alias"]["name"], "lb.example.com");
        assert_eq!(alias["zone"], "${hosted_zone.Main.id}");
        assert!(!alias.contains_key("ttl"));
    }
}
