//! `task_definition`: which containers run together, with what, and under whose rights; in revisions.

pub(crate) mod check;
pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod limits;
mod observe;
mod request;
pub mod revisions;
pub(crate) mod volume;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_ecs::types::TaskDefinition as Revision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, During, Kind, Tags, Taking, ecs, is_owned, owned, spec, tags_of, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    ADDRESS_TAG, CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress,
    STACK_TAG, TOKEN_TAG, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder};
use container::Container;
use volume::Volume;

/// Containers that run together as one task. A change makes a new revision of its family; revisions never change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskDefinition {
    /// The name that its revisions share, unique in the account and region. Without one it is named after the stack and
    /// its place in it.
    #[serde(default)]
    pub family: String,
    /// Where it can run. Tasks that can run on Fargate have sizes of its table and network `"awsvpc"`.
    #[serde(default = "on_ec2")]
    pub runs_on: BTreeSet<RunsOn>,
    /// CPU units for the whole task, 1024 to a core. Fargate needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// MiB of memory for the whole task. Fargate needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// How its containers are on the network. Without it: `"awsvpc"` on Fargate, else `"bridge"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The role that ECS acts as to start it: to pull images, write logs, fetch secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "role.arn"))]
    pub execution_role: Option<String>,
    /// The role that its containers act as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "role.arn"))]
    pub task_role: Option<String>,
    /// The processor that its images are built for. Without it: x86_64 on Fargate, elsewhere what the instance has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// The operating system that its images are built for. Without it: Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// GiB of scratch space on Fargate, 21 to 200. Without it: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
    /// Whose processes its containers see. Without it: each its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<PidMode>,
    /// With whom its containers share memory and semaphores. Without it the container runtime decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<IpcMode>,
    /// Expressions of the cluster query language that an instance must meet: `"attribute:ecs.instance-type =~ t3.*"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub placement: BTreeSet<String>,
    /// Its containers, by name.
    pub containers: BTreeMap<String, Container>,
    /// Its volumes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Volume>,
    /// How many revisions are kept for going back to, the current one among them, 2 to 100; older ones are
    /// deregistered. Tasks of theirs run on.
    #[serde(default = "ten")]
    pub keep_revisions: u32,
    /// Tags of the current revision.
    #[serde(default)]
    pub tags: Tags,
}

/// Where a task can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunsOn {
    /// On instances of the cluster.
    Ec2,
    /// On Fargate, without instances of one's own.
    Fargate,
    /// On registered machines outside of AWS.
    External,
}

/// How containers are on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Each task has a network interface and an address of its own.
    Awsvpc,
    /// Behind the instance's address, on ports that are mapped.
    Bridge,
    /// As the instance itself.
    Host,
    /// Not at all.
    None,
}

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Architecture {
    /// Intel and AMD.
    #[serde(rename = "x86_64")]
    X86_64,
    /// Graviton.
    #[serde(rename = "arm64")]
    Arm64,
}

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Os {
    /// Linux.
    Linux,
    /// Windows Server 2019, core.
    #[serde(rename = "windows-server-2019-core")]
    WindowsServer2019Core,
    /// Windows Server 2019, full.
    #[serde(rename = "windows-server-2019-full")]
    WindowsServer2019Full,
    /// Windows Server 2022, core.
    #[serde(rename = "windows-server-2022-core")]
    WindowsServer2022Core,
    /// Windows Server 2022, full.
    #[serde(rename = "windows-server-2022-full")]
    WindowsServer2022Full,
}

/// Whose processes are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PidMode {
    /// The instance's.
    Host,
    /// Those of all containers of the task.
    Task,
}

/// With whom memory and semaphores are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IpcMode {
    /// With the instance.
    Host,
    /// With all containers of the task.
    Task,
    /// With nobody.
    None,
}

fn on_ec2() -> BTreeSet<RunsOn> {
    BTreeSet::from([RunsOn::Ec2])
}

fn ten() -> u32 {
    10
}

impl TaskDefinition {
    /// How its containers are on the network, with AWS's default filled in ("RegisterTaskDefinition": `networkMode`).
    fn network(&self) -> Network {
        let fargate = self.runs_on.contains(&RunsOn::Fargate);
        self.network.unwrap_or(if fargate { Network::Awsvpc } else { Network::Bridge })
    }

    /// Equal things in equal words: what follows from something else is left out or filled in.
    fn normalize(&mut self) {
        self.network = Some(self.network());
        let same_ports = matches!(self.network, Some(Network::Awsvpc | Network::Host));
        for (name, container) in &mut self.containers {
            container.normalize(name, same_ports);
        }
    }
}

/// The canonical form: as [`super::canonical`], then what follows from something else.
fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut definition: TaskDefinition =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    definition.normalize();
    Ok(super::untyped(&definition))
}

/// The kind `task_definition`.
pub struct TaskDefinitionKind;

#[async_trait]
impl Kind for TaskDefinitionKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["family"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn", "revision"],
            outputs_changed_by_update: &["arn", "revision"],
            identity: Identity::TagOnCreate,
            holdable: &["containers.*.image"],
            naming: Some(Naming { attribute: "family", longest: ecs::LONGEST_NAME }),
            canonical,
            check: check::check,
            // ECS takes roles by their names, and starts nothing before a service or a person asks.
            needs_only_existence: &["execution_role", "task_role"],
            typical_seconds: 1,
            ..spec::<TaskDefinition>("task_definition", "task definition")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ecs:ListTaskDefinitions", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitionFamilies"],
            create: &[
                "ecs:RegisterTaskDefinition",
                "ecs:TagResource",
                "iam:PassRole",
                "ecs:DescribeTaskDefinition",
                "ecs:ListTaskDefinitions",
            ],
            update: &[
                "ecs:RegisterTaskDefinition",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:DeregisterTaskDefinition",
                "ecs:DeleteTaskDefinitions",
                "iam:PassRole",
                "ecs:DescribeTaskDefinition",
                "ecs:ListTaskDefinitions",
            ],
            delete: &[
                "ecs:DeregisterTaskDefinition",
                "ecs:DeleteTaskDefinitions",
                "ecs:DescribeTaskDefinition",
                "ecs:ListTaskDefinitions",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        let registers = taking.creates() || taking.changes_besides(&["tags", "keep_revisions"]);
        match call {
            "ecs:RegisterTaskDefinition" => registers,
            "iam:PassRole" => registers && (taking.has("execution_role") || taking.has("task_role")),
            // A revision is registered with its tags.
            "ecs:TagResource" if registers => true,
            "ecs:UntagResource" if registers => false,
            // Several are looked for among all that the account has, as far as those are listed.
            "ecs:ListTaskDefinitions" if taking.during == During::Read => taking.together > 1,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let arns: Vec<&str> = wanted.iter().map(|known| text(&known.outputs, "arn")).collect();
        let active = revisions::listed(aws, &arns).await?;
        let mut observed = Vec::with_capacity(wanted.len());
        for known in wanted {
            let arn = text(&known.outputs, "arn");
            observed.push(if active.contains(arn) {
                // A revision never changes: what was registered under this name is what is there.
                let mut attributes = known.attributes.clone();
                attributes.remove("tags");
                Some(Observed { id: known.id.clone(), attributes, outputs: known.outputs.clone() })
            } else {
                current(aws, known).await?
            });
        }
        Ok(observed)
    }

    async fn look_up(&self, aws: &Aws, id: Option<&str>, _attributes: &Attributes) -> Result<Observed, CloudError> {
        let Some(id) = id else {
            return Err(CloudError::unexpected("task_definition", "a task_definition is looked up by its family"));
        };
        match revisions::describe(aws, id).await? {
            Some((revision, tags)) => Ok(observe(aws, &revision, tags)),
            None => {
                let message = format!("there is no task definition `{id}` in {}", aws.scope.region);
                Err(CloudError::new(ErrorClass::NotFound, "ecs:DescribeTaskDefinition", "", message)
                    .help("check the family, the region and the account"))
            }
        }
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let families = revisions::families(aws).await?;
        owned::claimed_by_one(aws, families, |family| async move {
            // Somebody else may have registered the newest one since; what bears the tags of another stack is that one's.
            let is_decided = |tags: &Tags| tags.contains_key(STACK_TAG);
            Ok(revisions::newest_of(aws, &family, is_decided).await?.map(|(_, tags)| tags).unwrap_or_default())
        })
        .await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let family = text(&lost.request.attributes, "family");
        for arn in revisions::newest(aws, family).await?.iter().take(revisions::LOOKED_AT) {
            if let Some((revision, tags)) = revisions::describe(aws, arn).await?
                && tags.get(TOKEN_TAG) == Some(&lost.request.token)
            {
                return Ok(Some(observe(aws, &revision, tags)));
            }
        }
        Ok(None)
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let definition: TaskDefinition = typed(&request.attributes)?;
        // A family takes revisions of anybody: others' are not added to. One in which this stack has or had revisions is
        // its own, whoever registered the newest.
        let family = definition.family.as_str();
        let is_own = |tags: &Tags| is_owned(&request.attributes, tags);
        if revisions::describe(aws, family).await?.is_some_and(|(_, tags)| !is_own(&tags))
            && revisions::newest_of(aws, family, is_own).await?.is_none()
            && !revisions::was_of(aws, family, is_own).await?
        {
            let message = format!("a task definition `{}` exists already, and is not of this stack", definition.family);
            return Err(CloudError::new(ErrorClass::Exists, "ecs:RegisterTaskDefinition", "", message));
        }
        let tags = super::create_tags(request);
        let revision = revisions::register(aws, &definition, &tags).await?;
        Ok(Created { id: definition.family, outputs: outputs(&revision) })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        if request.changed.iter().all(|name| name == "tags") {
            return ecs::update_tags(aws, request).await;
        }
        let definition: TaskDefinition = typed(&request.after)?;
        let newest = revisions::describe(aws, &request.id).await?;
        let is_current =
            newest.as_ref().is_some_and(|(revision, tags)| revisions::is(revision, tags, aws, &definition));
        if is_current {
            let arn = newest.as_ref().and_then(|(revision, _)| revision.task_definition_arn()).unwrap_or_default();
            let outputs = Attributes::from_iter([("arn".to_owned(), json!(arn))]);
            ecs::update_tags(aws, &UpdateRequest { outputs, ..request.clone() }).await?;
        } else {
            let mut tags = tags_of(&request.after);
            tags.insert(TOKEN_TAG.to_owned(), request.token.clone());
            revisions::register(aws, &definition, &tags).await?;
        }
        let keep = usize::try_from(definition.keep_revisions).unwrap_or(usize::MAX);
        revisions::retire(aws, &request.id, keep).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        revisions::retire(aws, &known.id, 0).await
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let newest = match phase {
            // What somebody else registered stays.
            Phase::Deleted => revisions::newest_of(aws, &known.id, |tags| tags.contains_key(STACK_TAG)).await?,
            Phase::Created | Phase::Updated => revisions::describe(aws, &known.id).await?,
        };
        match (phase, newest) {
            (Phase::Deleted, None) | (Phase::Created, Some(_)) => Ok(Progress::Done(Attributes::new())),
            (Phase::Updated, Some(newest)) => Ok(match updated(aws, known, newest).await? {
                Some(revision) => Progress::Done(outputs(&revision)),
                None => Progress::Pending("the revision to be visible".into()),
            }),
            (_, None) => Ok(Progress::Pending("the revision to be visible".into())),
            (Phase::Deleted, Some(_)) => Ok(Progress::Pending("its revisions to be gone".into())),
        }
    }
}

/// The revision that a definition has after an update. Somebody else may have registered a newer one: that is nobody's
/// business here, and least of all what services are to run.
async fn updated(aws: &Aws, known: &Known, newest: (Revision, Tags)) -> Result<Option<Revision>, CloudError> {
    let definition: TaskDefinition = typed(&known.attributes)?;
    let (revision, tags) = newest;
    let is_ours = tags.get(ADDRESS_TAG).is_some_and(|address| address == known.address.as_str());
    if is_ours || revisions::is(&revision, &tags, aws, &definition) {
        return Ok(Some(revision));
    }
    for arn in revisions::newest(aws, &known.id).await?.iter().take(revisions::LOOKED_AT) {
        if let Some((revision, tags)) = revisions::describe(aws, arn).await?
            && revisions::is(&revision, &tags, aws, &definition)
        {
            return Ok(Some(revision));
        }
    }
    // Where only tags changed, it is the one that it was.
    Ok(revisions::describe(aws, text(&known.outputs, "arn")).await?.map(|(revision, _)| revision))
}

/// What is there of a revision that is not among the listed ones: itself, or nothing where it was deregistered.
async fn current(aws: &Aws, known: &Known) -> Result<Option<Observed>, CloudError> {
    let found = match text(&known.outputs, "arn") {
        // Only the family is known: the newest revision of it that is the stack's, or else the newest.
        "" => {
            let is_own = |tags: &Tags| owned::claimed(&aws.scope, &known.id, tags).is_some();
            match revisions::newest_of(aws, &known.id, is_own).await? {
                None => revisions::describe(aws, &known.id).await?,
                found => found,
            }
        }
        arn => revisions::describe(aws, arn).await?,
    };
    Ok(found.map(|(revision, tags)| observe(aws, &revision, tags)))
}

fn observe(aws: &Aws, revision: &Revision, tags: Tags) -> Observed {
    let mut definition = observe::definition(revision, &aws.scope.region);
    definition.normalize();
    definition.tags = tags;
    let mut attributes = super::untyped(&definition);
    // How many revisions are kept is nothing that ECS knows.
    attributes.remove("keep_revisions");
    Observed { id: definition.family, attributes, outputs: outputs(revision) }
}

fn outputs(revision: &Revision) -> Attributes {
    Attributes::from_iter([
        ("arn".to_owned(), json!(revision.task_definition_arn())),
        ("revision".to_owned(), json!(revision.revision().to_string())),
    ])
}
