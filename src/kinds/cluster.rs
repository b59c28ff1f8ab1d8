//! `cluster`: an ECS cluster.

use async_trait::async_trait;
use aws_sdk_ecs::types::{
    Cluster as EcsCluster, ClusterConfiguration, ClusterField, ClusterServiceConnectDefaultsRequest, ClusterSetting,
    ClusterSettingName, ExecuteCommandConfiguration, ExecuteCommandLogConfiguration, ExecuteCommandLogging,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, Taking, ecs, gone_is_fine, in_order, is_own, owned, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem};

/// An ECS cluster: where services and tasks run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name, unique in the account and region. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// Which metrics Container Insights collects.
    #[serde(default)]
    pub container_insights: ContainerInsights,
    /// Where the sessions of ECS Exec are logged. Without it: to where the container itself logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_logging: Option<ExecLogging>,
    /// The Cloud Map namespace that Service Connect uses unless a service names its own: its ARN, or its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_connect_namespace: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Which metrics Container Insights collects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerInsights {
    /// None.
    Disabled,
    /// Those of the cluster and its services.
    #[default]
    Enabled,
    /// Those of tasks and containers besides.
    Enhanced,
}

impl ContainerInsights {
    fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Enhanced => "enhanced",
        }
    }
}

/// Where the sessions of ECS Exec are logged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecLogging {
    /// Whether sessions are not logged at all.
    #[serde(default)]
    pub off: bool,
    /// The log group that they are logged to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "log_group.name"))]
    pub log_group: Option<String>,
    /// Whether that log group is encrypted with a key of its own.
    #[serde(default)]
    pub log_group_encrypted: bool,
    /// The bucket that they are logged to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// What the names of its objects begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_prefix: Option<String>,
    /// Whether the bucket is encrypted.
    #[serde(default)]
    pub bucket_encrypted: bool,
    /// The KMS key that encrypts the session between you and the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}

/// The kind `cluster`.
pub struct ClusterKind;

#[async_trait]
impl Kind for ClusterKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name"],
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: ecs::LONGEST_NAME }),
            check: |attributes| {
                let mut problems = Vec::new();
                ecs::check_name(attributes, &mut problems);
                check_exec_logging(attributes, &mut problems);
                problems
            },
            predict: |attributes, scope| ecs::predict_arn("cluster", attributes, scope),
            ..spec::<Cluster>("cluster", "cluster")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ecs:DescribeClusters", "ecs:ListClusters"],
            create: &["ecs:CreateCluster", "ecs:TagResource", "ecs:DescribeClusters", "iam:CreateServiceLinkedRole"],
            update: &["ecs:UpdateCluster", "ecs:TagResource", "ecs:UntagResource"],
            delete: &["ecs:DeleteCluster", "ecs:DescribeClusters"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ecs:UpdateCluster" => taking.changes_besides(&["tags"]),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = describe(aws, &names).await?;
        let mut observed = in_order(wanted, found.iter().map(observe).collect());
        for (known, observed) in wanted.iter().zip(&mut observed) {
            if let Some(observed) = observed {
                leave_out_what_is_not_drift(&known.attributes, &mut observed.attributes);
            }
        }
        Ok(observed)
    }

    fn own_id<'a>(&self, given: &'a str) -> &'a str {
        ecs::name_in(given)
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let names = ecs::cluster_names(aws).await?;
        let found = describe(aws, &names).await?;
        Ok(owned::of_observed(&aws.scope, found.iter().map(observe)))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, &[text(&lost.request.attributes, "name").to_owned()]).await?;
        Ok(found.first().map(observe).filter(|observed| is_own(observed, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let cluster: Cluster = typed(&request.attributes)?;
        // "CreateCluster" answers with the cluster that has the name already, whoever made it.
        if let Some(other) = describe(aws, std::slice::from_ref(&cluster.name)).await?.first().map(observe)
            && !is_own(&other, request)
        {
            let message = format!("a cluster `{}` exists already, and is not of this stack", cluster.name);
            return Err(CloudError::new(ErrorClass::Exists, "ecs:CreateCluster", "", message));
        }
        let namespace = namespace(cluster.service_connect_namespace.as_deref())?;
        let answer = aws
            .calls
            .write("ecs:CreateCluster", || {
                aws.ecs
                    .create_cluster()
                    .cluster_name(&cluster.name)
                    .settings(insights(&cluster))
                    .set_configuration(cluster.exec_logging.as_ref().map(exec_configuration))
                    .set_service_connect_defaults(namespace.clone())
                    .set_tags(Some(ecs::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.cluster().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let cluster: Cluster = typed(&request.after)?;
        let changed = |name: &str| request.changed.contains(name);
        if changed("container_insights") || changed("exec_logging") || changed("service_connect_namespace") {
            // An empty configuration and an empty namespace take back what was set ("UpdateCluster").
            let exec =
                changed("exec_logging").then(|| exec_configuration(&cluster.exec_logging.clone().unwrap_or_default()));
            let namespace = if changed("service_connect_namespace") {
                namespace(Some(cluster.service_connect_namespace.as_deref().unwrap_or_default()))?
            } else {
                None
            };
            aws.calls
                .write("ecs:UpdateCluster", || {
                    aws.ecs
                        .update_cluster()
                        .cluster(&request.id)
                        .settings(insights(&cluster))
                        .set_configuration(exec.clone())
                        .set_service_connect_defaults(namespace.clone())
                        .send()
                })
                .await?;
        }
        ecs::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // Refused while anything is registered in it, which passes once instances and services are gone.
        let deleted = aws.calls.write("ecs:DeleteCluster", || aws.ecs.delete_cluster().cluster(&known.id).send()).await;
        gone_is_fine(deleted.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase == Phase::Updated {
            return Ok(Progress::Done(Attributes::new()));
        }
        let found = describe(aws, std::slice::from_ref(&known.id)).await?;
        let status = found.first().and_then(EcsCluster::status);
        match (phase, status) {
            (Phase::Deleted, None) | (Phase::Created, Some("ACTIVE")) => Ok(Progress::Done(Attributes::new())),
            (_, Some("FAILED")) => {
                let message = format!("cluster `{}` is in the state FAILED", known.id);
                Err(CloudError::unexpected("ecs:DescribeClusters", message))
            }
            (_, status) => Ok(Progress::Pending(status.unwrap_or("visible").to_ascii_lowercase())),
        }
    }
}

async fn describe(aws: &Aws, names: &[String]) -> Result<Vec<EcsCluster>, CloudError> {
    ecs::clusters(aws, names, &[ClusterField::Tags, ClusterField::Settings, ClusterField::Configurations]).await
}

fn observe(cluster: &EcsCluster) -> Observed {
    let name = cluster.cluster_name().unwrap_or_default().to_owned();
    let mut attributes = Attributes::new();
    attributes.insert("name".into(), json!(name));
    let insights =
        cluster.settings().iter().find(|setting| setting.name() == Some(&ClusterSettingName::ContainerInsights));
    if let Some(value) = insights.and_then(ClusterSetting::value) {
        attributes.insert("container_insights".into(), json!(value));
    }
    let exec = cluster.configuration().and_then(ClusterConfiguration::execute_command_configuration);
    if let Some(exec) = exec {
        attributes.insert("exec_logging".into(), json!(observe_exec(exec)));
    }
    if let Some(namespace) = cluster.service_connect_defaults().and_then(|defaults| defaults.namespace())
        && !namespace.is_empty()
    {
        attributes.insert("service_connect_namespace".into(), json!(namespace));
    }
    attributes.insert("tags".into(), ecs::tags(cluster.tags()));
    let outputs = [("id".into(), json!(name)), ("arn".into(), json!(cluster.cluster_arn()))];
    Observed { id: name, attributes, outputs: Attributes::from_iter(outputs) }
}

/// A namespace given by name reads back as an ARN, and a configuration that says nothing is as good as none.
fn leave_out_what_is_not_drift(wanted: &Attributes, observed: &mut Attributes) {
    if wanted.get("service_connect_namespace").and_then(Value::as_str).is_some_and(|name| !name.starts_with("arn:")) {
        observed.remove("service_connect_namespace");
    }
    if !wanted.contains_key("exec_logging") && observed.get("exec_logging") == Some(&json!(ExecLogging::default())) {
        observed.remove("exec_logging");
    }
}

fn insights(cluster: &Cluster) -> ClusterSetting {
    ClusterSetting::builder()
        .name(ClusterSettingName::ContainerInsights)
        .value(cluster.container_insights.as_str())
        .build()
}

fn namespace(name: Option<&str>) -> Result<Option<ClusterServiceConnectDefaultsRequest>, CloudError> {
    name.map(|name| ClusterServiceConnectDefaultsRequest::builder().namespace(name).build())
        .transpose()
        .map_err(|error| CloudError::unexpected("ecs:CreateCluster", error.to_string()))
}

fn exec_configuration(exec: &ExecLogging) -> ClusterConfiguration {
    let named = exec.log_group.is_some() || exec.bucket.is_some();
    let logging = match (exec.off, named) {
        (true, _) => ExecuteCommandLogging::None,
        (false, true) => ExecuteCommandLogging::Override,
        (false, false) => ExecuteCommandLogging::Default,
    };
    let logs = named.then(|| {
        ExecuteCommandLogConfiguration::builder()
            .set_cloud_watch_log_group_name(exec.log_group.clone())
            .cloud_watch_encryption_enabled(exec.log_group_encrypted)
            .set_s3_bucket_name(exec.bucket.clone())
            .set_s3_key_prefix(exec.bucket_prefix.clone())
            .s3_encryption_enabled(exec.bucket_encrypted)
            .build()
    });
    let exec = ExecuteCommandConfiguration::builder()
        .set_kms_key_id(exec.kms_key.clone())
        .logging(logging)
        .set_log_configuration(logs)
        .build();
    ClusterConfiguration::builder().execute_command_configuration(exec).build()
}

fn observe_exec(exec: &ExecuteCommandConfiguration) -> ExecLogging {
    let given = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
    let logs = exec.log_configuration();
    ExecLogging {
        off: exec.logging() == Some(&ExecuteCommandLogging::None),
        log_group: given(logs.and_then(|logs| logs.cloud_watch_log_group_name())),
        log_group_encrypted: logs.is_some_and(|logs| logs.cloud_watch_encryption_enabled()),
        bucket: given(logs.and_then(|logs| logs.s3_bucket_name())),
        bucket_prefix: given(logs.and_then(|logs| logs.s3_key_prefix())),
        bucket_encrypted: logs.is_some_and(|logs| logs.s3_encryption_enabled()),
        kms_key: given(exec.kms_key_id()),
    }
}

fn check_exec_logging(attributes: &Attributes, problems: &mut Vec<Problem>) {
    let Some(Value::Object(exec)) = attributes.get("exec_logging") else { return };
    let on = |name: &str| exec.get(name) == Some(&json!(true));
    for place in ["log_group", "bucket"] {
        if on("off") && exec.contains_key(place) {
            let message = format!("`off` says that sessions are not logged, and `{place}` says where to");
            problems.push(Problem::at("exec_logging", message).help("remove one of the two"));
        }
    }
    for (name, needs) in
        [("log_group_encrypted", "log_group"), ("bucket_encrypted", "bucket"), ("bucket_prefix", "bucket")]
    {
        let given = exec.get(name).is_some_and(|value| value.is_string() || *value == json!(true));
        if given && !exec.contains_key(needs) {
            let message = format!("`{name}` says something about a `{needs}` that is not given");
            problems.push(Problem::at(&format!("exec_logging.{name}"), message).help(format!("give `{needs}`")));
        }
    }
}
