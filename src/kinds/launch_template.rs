//! `launch_template`: how instances of an autoscaling group are started, in versions.

mod check;
mod data;
mod versions;

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, LaunchTemplate as Ec2LaunchTemplate, ResourceType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Actions, During, Kind, Tags, Taking, ec2, gone_is_fine, in_order, owned, spec, tags_of, text, typed,
    what_is_missing_is_unset,
};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, KindSpec, Naming, ReplaceOrder};

/// How instances are started: image, type, profile, volumes, user data. A change makes a new version, the default one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchTemplate {
    /// Its name, unique in the account and region. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// The machine image.
    #[schemars(extend("x-reference" = "ami.id"))]
    pub image: String,
    /// The instance type: `"t3.small"`. Not needed where a group mixes several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The instance profile whose role the instances act as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "instance_profile.arn"))]
    pub instance_profile: Option<String>,
    /// The security groups of the instances. Without any: the VPC's default group.
    #[serde(default)]
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub security_groups: BTreeSet<String>,
    /// The key pair for SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "key_pair.name"))]
    pub key_pair: Option<String>,
    /// What an instance runs when it first starts: a file, or the text itself, up to 16 KiB. No place for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "text"))]
    pub user_data: Option<String>,
    /// The volumes. Those of the image are used where nothing else is said of their device.
    #[serde(default)]
    pub volumes: BTreeSet<Volume>,
    /// Whether the instance metadata service demands a session token (IMDSv2).
    #[serde(default)]
    pub imds: Imds,
    /// How many network hops an answer of the metadata service may travel, 1 to 64. Containers on a bridge need 2.
    #[serde(default = "two")]
    pub imds_hop_limit: i32,
    /// Whether metrics come every minute instead of every five, at a cost.
    #[serde(default)]
    pub detailed_monitoring: bool,
    /// Whether instances get a public address. Without it the subnet decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<bool>,
    /// Whether traffic to volumes has bandwidth of its own. Without it the instance type decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebs_optimized: Option<bool>,
    /// Tags of the instances and their volumes, besides those that a group passes on.
    #[serde(default)]
    pub instance_tags: Tags,
    /// How burstable types (t2, t3, t4g) go on when their credits are used up. Without it the type decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_credits: Option<CpuCredits>,
    /// Tags of the template itself.
    #[serde(default)]
    pub tags: Tags,
}

/// A volume of an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The device it appears as; the root volume of Amazon Linux is `"/dev/xvda"`.
    pub device: String,
    /// Its size in GiB. Without it: that of the image's volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_gib: Option<i32>,
    /// Its type.
    #[serde(default)]
    pub r#type: VolumeType,
    /// Whether it is encrypted.
    #[serde(default = "yes")]
    pub encrypted: bool,
    /// The KMS key that encrypts it. Without it: the account's default key for volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Its operations a second, where the type lets you choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops: Option<i32>,
    /// Its throughput in MiB a second, for gp3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<i32>,
    /// Whether it goes with its instance.
    #[serde(default = "yes")]
    pub delete_on_termination: bool,
}

/// The type of a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// General purpose SSD, size and speed apart.
    #[default]
    Gp3,
    /// General purpose SSD, the older kind.
    Gp2,
    /// SSD of provisioned speed.
    Io1,
    /// SSD of provisioned speed, more durable.
    Io2,
    /// Disk for throughput.
    St1,
    /// Cold disk.
    Sc1,
    /// Magnetic disk.
    Standard,
}

impl VolumeType {
    const ALL: [Self; 7] = [Self::Gp3, Self::Gp2, Self::Io1, Self::Io2, Self::St1, Self::Sc1, Self::Standard];

    fn as_str(self) -> &'static str {
        match self {
            Self::Gp3 => "gp3",
            Self::Gp2 => "gp2",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
            Self::St1 => "st1",
            Self::Sc1 => "sc1",
            Self::Standard => "standard",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// Whether the instance metadata service demands a session token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Imds {
    /// It does: IMDSv2 alone.
    #[default]
    Required,
    /// It does not: IMDSv1 works too.
    Optional,
}

/// How a burstable instance goes on without credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuCredits {
    /// At its base speed.
    Standard,
    /// At full speed, at a cost.
    Unlimited,
}

impl CpuCredits {
    fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Unlimited => "unlimited",
        }
    }
}

fn yes() -> bool {
    true
}

fn two() -> i32 {
    2
}

/// The kind `launch_template`.
pub struct LaunchTemplateKind;

#[async_trait]
impl Kind for LaunchTemplateKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["latest_version", "default_version"],
            outputs_changed_by_update: &["latest_version", "default_version"],
            documents: &["user_data"],
            naming: Some(Naming { attribute: "name", longest: 128 }),
            check: check::check,
            ..spec::<LaunchTemplate>("launch_template", "launch template")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", "ec2:DescribeTags"],
            create: &["ec2:CreateLaunchTemplate", "ec2:CreateTags", "ec2:DescribeLaunchTemplates"],
            update: &[
                "ec2:CreateLaunchTemplateVersion",
                "ec2:ModifyLaunchTemplate",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:DeleteLaunchTemplateVersions",
                "ec2:CreateTags",
                "ec2:DeleteTags",
            ],
            delete: &["ec2:DeleteLaunchTemplate"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            // The listing may show tags for a while that were changed.
            "ec2:DescribeTags" => true,
            "ec2:CreateLaunchTemplateVersion" | "ec2:ModifyLaunchTemplate" => taking.changes_besides(&["tags"]),
            "ec2:DescribeLaunchTemplateVersions" | "ec2:DeleteLaunchTemplateVersions"
                if taking.during == During::Update =>
            {
                taking.changes_besides(&["tags"])
            }
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        // There is no filter by id, and asking for ids fails as a whole when one is gone: so by name, where known.
        let (named, nameless): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|known| !text(&known.attributes, "name").is_empty());
        let names = named.iter().map(|known| text(&known.attributes, "name"));
        let mut templates = Vec::new();
        for filter in ec2::id_filters("launch-template-name", names) {
            templates.extend(describe(aws, By::Filter(filter)).await?);
        }
        // An import knows the name that the stack gives, which need not be the template's own.
        let id_of = |template: &Ec2LaunchTemplate| template.launch_template_id().map(str::to_owned);
        let found: BTreeSet<String> = templates.iter().filter_map(id_of).collect();
        let misnamed = named.into_iter().filter(|known| !found.contains(&known.id));
        for known in nameless.into_iter().chain(misnamed) {
            match describe(aws, By::Id(&known.id)).await {
                Err(error) if error.is(ErrorClass::NotFound) => {}
                found => templates.extend(found?),
            }
        }
        let mut observed = in_order(wanted, observe(aws, &templates).await?);
        for (known, observed) in wanted.iter().zip(&mut observed) {
            // Without data nothing is known of what it holds.
            let Some(observed) = observed.as_mut().filter(|seen| seen.attributes.contains_key("volumes")) else {
                continue;
            };
            what_is_missing_is_unset(&mut observed.attributes, &known.attributes, &data::unset());
        }
        look_at_tags_again(aws, wanted, &mut observed).await?;
        Ok(observed)
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "lt-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, By::Filter(ec2::by_token(&lost.request.token))).await?;
        Ok(observe(aws, &found).await?.pop())
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let template: LaunchTemplate = typed(&request.attributes)?;
        let answer = aws
            .calls
            .write("ec2:CreateLaunchTemplate", || {
                aws.ec2
                    .create_launch_template()
                    .client_token(&request.token)
                    .launch_template_name(&template.name)
                    .launch_template_data(data::request(&template))
                    .tag_specifications(ec2::tag_specification(ResourceType::LaunchTemplate, request))
                    .send()
            })
            .await?;
        let made = answer.launch_template();
        let id = made.and_then(Ec2LaunchTemplate::launch_template_id).unwrap_or_default().to_owned();
        Ok(Created { outputs: made.map(outputs).unwrap_or_default(), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        if request.changed.iter().any(|name| name != "tags") {
            let template: LaunchTemplate = typed(&request.after)?;
            let version = versions::make(aws, request, data::request(&template)).await?;
            aws.calls
                .write("ec2:ModifyLaunchTemplate", || {
                    aws.ec2
                        .modify_launch_template()
                        .launch_template_id(&request.id)
                        .default_version(version.to_string())
                        .send()
                })
                .await?;
            versions::prune(aws, &request.id, version).await;
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let deleted = aws
            .calls
            .write("ec2:DeleteLaunchTemplate", || aws.ec2.delete_launch_template().launch_template_id(&known.id).send())
            .await;
        gone_is_fine(deleted.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase == Phase::Deleted {
            return Ok(Progress::Done(Attributes::new()));
        }
        let found = describe(aws, By::Id(&known.id)).await;
        Ok(match found {
            Err(error) if error.is(ErrorClass::NotFound) => Progress::Pending("visible".to_owned()),
            found => match found?.first() {
                Some(template) => Progress::Done(outputs(template)),
                None => Progress::Pending("visible".to_owned()),
            },
        })
    }
}

/// What templates are asked for by.
enum By<'a> {
    Filter(Filter),
    Id(&'a str),
}

async fn describe(aws: &Aws, by: By<'_>) -> Result<Vec<Ec2LaunchTemplate>, CloudError> {
    let mut templates = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ec2:DescribeLaunchTemplates", || {
                let call = aws.ec2.describe_launch_templates().set_next_token(next.clone());
                match &by {
                    By::Filter(filter) => call.filters(filter.clone()).max_results(versions::PER_PAGE).send(),
                    By::Id(id) => call.launch_template_ids(*id).send(),
                }
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        templates.extend(page.launch_templates.unwrap_or_default());
        if next.is_none() {
            return Ok(templates);
        }
    }
}

/// Templates with the data of their default versions.
async fn observe(aws: &Aws, templates: &[Ec2LaunchTemplate]) -> Result<Vec<Observed>, CloudError> {
    let ids: Vec<&str> = templates.iter().filter_map(Ec2LaunchTemplate::launch_template_id).collect();
    let defaults = versions::defaults(aws, &ids).await?;
    let observed = templates.iter().map(|template| {
        let id = template.launch_template_id().unwrap_or_default().to_owned();
        let mut attributes = Attributes::new();
        attributes.insert("name".into(), json!(template.launch_template_name()));
        attributes.insert("tags".into(), ec2::tags(template.tags()));
        if let Some(data) = defaults.get(id.as_str()).and_then(|version| version.launch_template_data()) {
            data::observe(data, &mut attributes);
        }
        Observed { id, attributes, outputs: outputs(template) }
    });
    Ok(observed.collect())
}

/// Where a template's tags are not what they were made, they are asked for again by themselves: the listing may show
/// those of the create call for a while (moto: for ever). Costs a call only when it matters.
async fn look_at_tags_again(aws: &Aws, wanted: &[Known], observed: &mut [Option<Observed>]) -> Result<(), CloudError> {
    let differs = |known: &Known, observed: &Observed| {
        let seen = tags_of(&observed.attributes);
        tags_of(&known.attributes).iter().any(|(key, value)| seen.get(key) != Some(value))
    };
    let mut suspects: HashMap<String, &mut Observed> = wanted
        .iter()
        .zip(observed)
        .filter_map(|(known, observed)| Some((known, observed.as_mut()?)))
        .filter(|(known, observed)| differs(known, observed))
        .map(|(known, observed)| (known.id.clone(), observed))
        .collect();
    let ids: Vec<String> = suspects.keys().cloned().collect();
    for filter in ec2::id_filters("resource-id", ids.iter().map(String::as_str)) {
        for (id, tags) in tags_by_id(aws, filter).await? {
            if let Some(observed) = suspects.get_mut(&id) {
                observed.attributes.insert("tags".into(), json!(tags));
            }
        }
    }
    Ok(())
}

async fn tags_by_id(aws: &Aws, filter: Filter) -> Result<HashMap<String, Tags>, CloudError> {
    let mut tags: HashMap<String, Tags> = HashMap::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ec2:DescribeTags", || {
                aws.ec2.describe_tags().filters(filter.clone()).set_next_token(next.clone()).send()
            })
            .await?;
        for tag in page.tags() {
            if let (Some(id), Some(key)) = (tag.resource_id(), tag.key().filter(|key| !key.starts_with("aws:"))) {
                let value = tag.value().unwrap_or_default().to_owned();
                tags.entry(id.to_owned()).or_default().insert(key.to_owned(), value);
            }
        }
        next = page.next_token().map(str::to_owned);
        if next.is_none() {
            return Ok(tags);
        }
    }
}

/// Version numbers are text: that is how an autoscaling group takes them.
fn outputs(template: &Ec2LaunchTemplate) -> Attributes {
    let text = |number: Option<i64>| json!(number.unwrap_or(1).to_string());
    Attributes::from_iter([
        ("id".into(), json!(template.launch_template_id())),
        ("latest_version".into(), text(template.latest_version_number())),
        ("default_version".into(), text(template.default_version_number())),
    ])
}
