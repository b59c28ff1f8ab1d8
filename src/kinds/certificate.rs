//! `certificate`: a certificate of ACM, validated by DNS records in a zone.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_acm::types::{
    CertificateDetail, CertificateStatus, KeyAlgorithm as AcmKeyAlgorithm, Tag, ValidationMethod,
};
use aws_sdk_route53::types::{ChangeAction, ResourceRecord, ResourceRecordSet, RrType};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Actions, Kind, Tags, create_tags, gone_is_fine, in_order, owned, route53, spec, tag_changes, tags_of, text, typed,
};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, TOKEN_TAG,
    UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, ReplaceOrder};

/// A certificate of ACM. With a zone, the records that prove that the names are yours are put there, and it is ready when
/// it is issued; AWS renews it as long as they stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The name it is for: `"www.example.com"`, `"*.example.com"`.
    pub domain: String,
    /// Further names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub more_domains: BTreeSet<String>,
    /// The public zone in which its names are proven. Without it: somebody else puts the records there, and applying does
    /// not wait until it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "hosted_zone.id"))]
    pub zone: Option<String>,
    /// The sort of its key.
    #[serde(default)]
    pub key: KeyAlgorithm,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The sort of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// RSA with 2048 bits, known to every client.
    #[default]
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// Elliptic curve P-256.
    #[serde(rename = "ec-p256")]
    EcP256,
    /// Elliptic curve P-384.
    #[serde(rename = "ec-p384")]
    EcP384,
}

impl KeyAlgorithm {
    fn request(self) -> AcmKeyAlgorithm {
        match self {
            Self::Rsa2048 => AcmKeyAlgorithm::Rsa2048,
            Self::EcP256 => AcmKeyAlgorithm::EcPrime256v1,
            Self::EcP384 => AcmKeyAlgorithm::EcSecp384r1,
        }
    }
}

/// Names are compared in lower case, and the first one is among the further ones in what AWS returns.
fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut certificate: Certificate =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    let lower = |name: &str| if name.contains("${") { name.to_owned() } else { name.to_ascii_lowercase() };
    certificate.domain = lower(&certificate.domain);
    certificate.more_domains = certificate.more_domains.iter().map(|name| lower(name)).collect();
    certificate.more_domains.remove(&certificate.domain);
    Ok(super::untyped(&certificate))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(certificate) = serde_json::from_value::<Certificate>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let mut name = |path: &str, name: &str| {
        if name.contains("${") {
            return;
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let plain = name.strip_prefix("*.").unwrap_or(name);
        if !plain.contains('.') || !plain.split('.').all(label) || name.len() > 253 {
            let message = format!("`{name}` is no name that a certificate is for");
            problems.push(Problem::at(path, message).help("write \"www.example.com\" or \"*.example.com\""));
        }
        for private in [".local", ".internal", ".test", ".localhost"] {
            if name.ends_with(private) {
                let message = format!("nobody can prove that `{name}` is theirs: `{private}` is for private networks");
                problems.push(Problem::at(path, message).help("use a name of a public zone"));
            }
        }
    };
    name("domain", &certificate.domain);
    certificate.more_domains.iter().for_each(|one| name("more_domains", one));
    // The first name is up to 64 characters long ("RequestCertificate").
    if certificate.domain.len() > 64 && !certificate.domain.contains("${") {
        let message = "the first name has more than 64 characters";
        problems.push(Problem::at("domain", message).help("put a shorter one first, and this one in more_domains"));
    }
    if certificate.more_domains.len() > 99 {
        let message = format!("{} further names, and AWS takes 99", certificate.more_domains.len());
        problems.push(Problem::at("more_domains", message));
    }
    problems
}

/// The kind `certificate`.
pub struct CertificateKind;

#[async_trait]
impl Kind for CertificateKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["domain", "more_domains", "key"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            identity: Identity::TagOnCreate,
            canonical,
            check,
            // DNS validation takes a minute or two.
            typical_seconds: 90,
            ..spec::<Certificate>("certificate", "certificate")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["acm:DescribeCertificate", "acm:ListTagsForCertificate", "acm:ListCertificates"],
            create: &[
                "acm:RequestCertificate",
                "acm:AddTagsToCertificate",
                "route53:ChangeResourceRecordSets",
                "acm:DescribeCertificate",
            ],
            update: &[
                "acm:AddTagsToCertificate",
                "acm:RemoveTagsFromCertificate",
                "route53:ChangeResourceRecordSets",
                "route53:ListResourceRecordSets",
                "acm:DescribeCertificate",
            ],
            delete: &[
                "acm:DeleteCertificate",
                "route53:ChangeResourceRecordSets",
                "route53:ListResourceRecordSets",
                "acm:DescribeCertificate",
                "acm:ListCertificates",
            ],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let each = wanted.iter().map(|known| async move {
            let Some(detail) = describe(aws, &known.id).await? else { return Ok::<_, CloudError>(None) };
            let tags = tags(aws, &known.id).await?;
            Ok(Some(observe(&detail, tags)))
        });
        let found = try_join_all(each).await?.into_iter().flatten().collect();
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let arns = listed(aws).await?.into_iter().map(|(arn, _)| arn).collect();
        owned::claimed_by_one(aws, arns, |arn| async move { tags(aws, &arn).await }).await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let domain = text(&lost.request.attributes, "domain");
        for (arn, _) in listed(aws).await?.into_iter().filter(|(_, names)| names.contains(domain)) {
            let tags = tags(aws, &arn).await?;
            if tags.get(TOKEN_TAG) == Some(&lost.request.token)
                && let Some(detail) = describe(aws, &arn).await?
            {
                return Ok(Some(observe(&detail, tags)));
            }
        }
        Ok(None)
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let certificate: Certificate = typed(&request.attributes)?;
        let tags = acm_tags(&create_tags(request))?;
        let more: Vec<String> = certificate.more_domains.iter().cloned().collect();
        // The token makes a second call within an hour answer with the first one's certificate ("RequestCertificate").
        let answer = aws
            .calls
            .write("acm:RequestCertificate", || {
                aws.acm
                    .request_certificate()
                    .domain_name(&certificate.domain)
                    .set_subject_alternative_names((!more.is_empty()).then(|| more.clone()))
                    .validation_method(ValidationMethod::Dns)
                    .key_algorithm(certificate.key.request())
                    .idempotency_token(&request.token)
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await?;
        let arn = answer.certificate_arn.unwrap_or_default();
        Ok(Created { outputs: outputs(&arn), id: arn })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let certificate: Certificate = typed(&request.attributes)?;
        match &certificate.zone {
            Some(zone) => prove(aws, id, zone).await,
            None => Ok(()),
        }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let certificate: Certificate = typed(&request.after)?;
        if request.changed.contains("zone") {
            let before = text(&request.before, "zone");
            if !before.is_empty() {
                take_back(aws, &request.id, before).await?;
            }
            if let Some(zone) = &certificate.zone {
                prove(aws, &request.id, zone).await?;
            }
        }
        let (set, removed) = tag_changes(request);
        if !set.is_empty() {
            let tags = acm_tags(&set)?;
            let call =
                || aws.acm.add_tags_to_certificate().certificate_arn(&request.id).set_tags(Some(tags.clone())).send();
            aws.calls.write("acm:AddTagsToCertificate", call).await?;
        }
        if !removed.is_empty() {
            let before = tags_of(&request.before);
            let gone: Tags = before.into_iter().filter(|(key, _)| removed.contains(key)).collect();
            let tags = acm_tags(&gone)?;
            let call = || {
                aws.acm.remove_tags_from_certificate().certificate_arn(&request.id).set_tags(Some(tags.clone())).send()
            };
            aws.calls.write("acm:RemoveTagsFromCertificate", call).await?;
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let zone = text(&known.attributes, "zone");
        if !zone.is_empty() {
            take_back(aws, &known.id, zone).await?;
        }
        // Refused while a listener uses it, which passes.
        let call = || aws.acm.delete_certificate().certificate_arn(&known.id).send();
        gone_is_fine(aws.calls.write("acm:DeleteCertificate", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let done = Ok(Progress::Done(Attributes::new()));
        let found = describe(aws, &known.id).await?;
        let (Some(detail), false) = (&found, phase == Phase::Deleted) else {
            return match found {
                None if phase == Phase::Deleted => done,
                None => Ok(Progress::Pending("the certificate to be visible".into())),
                Some(_) => Ok(Progress::Pending("deletion".into())),
            };
        };
        match detail.status() {
            // Who proves its names elsewhere waits elsewhere.
            Some(CertificateStatus::PendingValidation) if !known.attributes.contains_key("zone") => done,
            Some(CertificateStatus::PendingValidation) => {
                Ok(Progress::Pending("its names to be proven by their records in the zone".into()))
            }
            Some(status @ (CertificateStatus::Failed | CertificateStatus::ValidationTimedOut)) => {
                let reason = detail.failure_reason().map_or("AWS gives no reason", |reason| reason.as_str());
                let domain = detail.domain_name().unwrap_or_default();
                let message = format!("the certificate for `{domain}` is not issued: {reason}");
                Err(CloudError::new(ErrorClass::Refused, "acm:DescribeCertificate", status.as_str(), message)
                    .help("see that the zone is the one the world asks (its name servers), then apply again"))
            }
            _ => done,
        }
    }
}

async fn describe(aws: &Aws, arn: &str) -> Result<Option<CertificateDetail>, CloudError> {
    let call = || aws.acm.describe_certificate().certificate_arn(arn).send();
    match aws.calls.read("acm:DescribeCertificate", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        answer => Ok(answer?.certificate),
    }
}

async fn tags(aws: &Aws, arn: &str) -> Result<Tags, CloudError> {
    let call = || aws.acm.list_tags_for_certificate().certificate_arn(arn).send();
    let found = match aws.calls.read("acm:ListTagsForCertificate", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => Vec::new(),
        answer => answer?.tags.unwrap_or_default(),
    };
    let own = found.into_iter().filter(|tag| !tag.key().starts_with("aws:"));
    Ok(own.map(|tag| (tag.key().to_owned(), tag.value().unwrap_or_default().to_owned())).collect())
}

/// Every certificate of account and region, with the names it is for.
async fn listed(aws: &Aws) -> Result<Vec<(String, BTreeSet<String>)>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || aws.acm.list_certificates().set_next_token(next.clone()).send();
        let page = aws.calls.read("acm:ListCertificates", call).await?;
        for one in page.certificate_summary_list.unwrap_or_default() {
            let mut names: BTreeSet<String> = one.subject_alternative_name_summaries().iter().cloned().collect();
            names.extend(one.domain_name().map(str::to_owned));
            found.push((one.certificate_arn.unwrap_or_default(), names));
        }
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// The records that prove its names, by name. AWS tells them some seconds after the request.
fn proofs(detail: &CertificateDetail) -> BTreeMap<String, (String, &str)> {
    let options = detail.domain_validation_options().iter();
    options
        .filter_map(|option| {
            let record = option.resource_record()?;
            let name = route53::canonical_name(record.name());
            Some((name, (record.value().to_owned(), option.domain_name())))
        })
        .collect()
}

/// Puts the records that prove its names into the zone.
async fn prove(aws: &Aws, arn: &str, zone: &str) -> Result<(), CloudError> {
    let detail = describe(aws, arn).await?;
    let told = detail.as_ref().is_some_and(|detail| {
        let options = detail.domain_validation_options();
        !options.is_empty() && options.iter().all(|option| option.resource_record().is_some())
    });
    let Some(detail) = detail.filter(|_| told) else {
        let message = "the records that prove its names";
        return Err(CloudError::new(ErrorClass::NotYet, "acm:DescribeCertificate", "", message));
    };
    let changes = proofs(&detail)
        .into_iter()
        .map(|(name, (value, _))| route53::change_of(ChangeAction::Upsert, record(&name, &value)?))
        .collect::<Result<Vec<_>, _>>()?;
    route53::change_records(aws, zone, &changes).await?;
    Ok(())
}

/// Takes the records out of the zone that no other certificate is renewed by: one of the same name has the same record.
async fn take_back(aws: &Aws, arn: &str, zone: &str) -> Result<(), CloudError> {
    let Some(detail) = describe(aws, arn).await? else { return Ok(()) };
    let others: BTreeSet<String> =
        listed(aws).await?.into_iter().filter(|(other, _)| other != arn).flat_map(|(_, names)| names).collect();
    // A wildcard and its parent are proven by the same record.
    let bare = |name: &str| name.strip_prefix("*.").unwrap_or(name).to_owned();
    let needed: BTreeSet<String> = others.iter().map(|name| bare(name)).collect();
    for (name, (value, domain)) in proofs(&detail) {
        if needed.contains(&bare(domain)) {
            continue;
        }
        let page = match route53::records_from(aws, zone, Some((&name, &RrType::Cname, None))).await {
            // With its zone the record is gone, too.
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(()),
            page => page?,
        };
        let same = |record: &&ResourceRecordSet| {
            route53::canonical_name(&record.name) == name
                && record.resource_records().iter().any(|one| one.value() == value)
        };
        if let Some(found) = page.resource_record_sets.iter().find(same) {
            let change = route53::change_of(ChangeAction::Delete, found.clone())?;
            gone_is_fine(route53::change_records(aws, zone, &[change]).await.map(|_| ()))?;
        }
    }
    Ok(())
}

fn record(name: &str, value: &str) -> Result<ResourceRecordSet, CloudError> {
    let unbuilt =
        |error: &dyn std::error::Error| CloudError::unexpected("route53:ChangeResourceRecordSets", error.to_string());
    let value = ResourceRecord::builder().value(value).build().map_err(|error| unbuilt(&error))?;
    let record = ResourceRecordSet::builder().name(name).r#type(RrType::Cname).ttl(300).resource_records(value);
    record.build().map_err(|error| unbuilt(&error))
}

fn acm_tags(tags: &Tags) -> Result<Vec<Tag>, CloudError> {
    let one = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let built = tags.iter().map(one).collect::<Result<Vec<_>, _>>();
    built.map_err(|error| CloudError::unexpected("acm:AddTagsToCertificate", error.to_string()))
}

fn outputs(arn: &str) -> Attributes {
    Attributes::from_iter([("id".to_owned(), json!(arn)), ("arn".to_owned(), json!(arn))])
}

fn observe(detail: &CertificateDetail, tags: Tags) -> Observed {
    let arn = detail.certificate_arn().unwrap_or_default().to_owned();
    let domain = detail.domain_name().unwrap_or_default().to_ascii_lowercase();
    let mut more: BTreeSet<String> =
        detail.subject_alternative_names().iter().map(|name| name.to_ascii_lowercase()).collect();
    more.remove(&domain);
    let key = [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384];
    // Requested as RSA_2048, and told as RSA-2048.
    let same = |one: &KeyAlgorithm| {
        detail
            .key_algorithm()
            .is_some_and(|found| found.as_str().replace('-', "_") == one.request().as_str().replace('-', "_"))
    };
    let mut attributes = Attributes::from_iter([
        ("domain".to_owned(), json!(domain)),
        ("more_domains".to_owned(), json!(more)),
        ("tags".to_owned(), json!(tags)),
    ]);
    if let Some(key) = key.into_iter().find(same) {
        attributes.insert("key".into(), json!(key));
    }
    Observed { outputs: outputs(&arn), id: arn, attributes }
}
