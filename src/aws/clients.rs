//! The clients of all services, made once from one set of credentials, region and endpoints.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::{BehaviorVersion, Region};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::OnceCell;

use super::call::{CALL_TIMEOUT, Calls};
use super::facts;
use crate::cloud::{CloudError, ErrorClass};
use crate::graph::Scope;
use crate::secret::{Mark, Secrets};

/// HTTPS for the SDK.
pub(super) fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https()
}

/// How to reach a cloud.
#[derive(Debug, Clone, Default)]
pub struct Connect {
    /// The region, `eu-west-2`.
    pub region: String,
    /// The endpoint of every service, for an emulated cloud. Without it: AWS's own, or what `AWS_ENDPOINT_URL` and
    /// `AWS_ENDPOINT_URL_<SERVICE>` name.
    pub endpoint: Option<String>,
    /// Endpoints of single services, by SDK id in lower case (`ecs`); they win over `endpoint`.
    pub endpoints: BTreeMap<String, String>,
    /// Whether to sign with fixed, meaningless credentials instead of the usual chain: for an emulated cloud.
    pub emulated: bool,
}

/// The cloud cannot be used at all.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there, or refuses who is asking.
    #[error("cannot find out which account the credentials belong to: {0}")]
    Identity(CloudError),
}

/// Where nobody answers, which endpoint that was, unless it is AWS's own.
fn at_endpoint(error: CloudError, endpoint: Option<&str>) -> CloudError {
    match endpoint {
        Some(endpoint) if error.is(ErrorClass::Uncertain) => {
            error.help(format!("check the endpoint, {endpoint} (AWS_ENDPOINT_URL), and that something answers there"))
        }
        _ => error,
    }
}

/// Clients of one account and region.
#[derive(Clone)]
pub struct Aws {
    /// EC2.
    pub ec2: aws_sdk_ec2::Client,
    /// ECS.
    pub ecs: aws_sdk_ecs::Client,
    /// Auto Scaling groups.
    pub autoscaling: aws_sdk_autoscaling::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// Route 53.
    pub route53: aws_sdk_route53::Client,
    /// ECR.
    pub ecr: aws_sdk_ecr::Client,
    /// Systems Manager.
    pub ssm: aws_sdk_ssm::Client,
    /// CloudWatch: alarms, dashboards.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// CloudWatch Logs.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Elastic Load Balancing: application and network load balancers.
    pub elb: aws_sdk_elasticloadbalancingv2::Client,
    /// Certificate Manager.
    pub acm: aws_sdk_acm::Client,
    /// Cloud Map.
    pub discovery: aws_sdk_servicediscovery::Client,
    /// Application Auto Scaling.
    pub scaling: aws_sdk_applicationautoscaling::Client,
    /// EventBridge Scheduler.
    pub scheduler: aws_sdk_scheduler::Client,
    /// Secrets Manager.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// Elastic File System.
    pub efs: aws_sdk_efs::Client,
    /// Simple Notification Service.
    pub sns: aws_sdk_sns::Client,
    /// The gate that every call goes through.
    pub calls: Calls,
    /// Account, region, partition and the stack that is worked on.
    pub scope: Scope,
    /// Whether this is an emulated cloud, which shows everything at once.
    pub emulated: bool,
    values: Arc<Secrets>,
    once: Arc<Mutex<HashMap<TypeId, Slot>>>,
}

type Slot = Arc<OnceCell<Arc<dyn Any + Send + Sync>>>;

impl Aws {
    /// Makes the clients and asks whose credentials they use.
    ///
    /// # Errors
    /// Where that question gets no answer.
    pub async fn connect(how: &Connect, stack: &str, env: Option<&str>) -> Result<Self, ConnectError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(how.region.clone()))
            .http_client(http_client())
            // Retrying is the gate's (see `call`): it knows which calls may be sent twice.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build());
        if let Some(endpoint) = &how.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if how.emulated {
            loader = loader
                .credentials_provider(aws_credential_types::Credentials::new("test", "test", None, None, "emulated"));
        }
        let config = loader.load().await;
        let calls = Calls::default();
        macro_rules! client {
            ($sdk:ident, $id:literal) => {{
                let mut builder = $sdk::config::Builder::from(&config);
                if let Some(endpoint) = how.endpoints.get($id) {
                    builder = builder.endpoint_url(endpoint);
                }
                $sdk::Client::from_conf(builder.build())
            }};
        }
        let sts = client!(aws_sdk_sts, "sts");
        let identity = calls
            .first("sts:GetCallerIdentity", || sts.get_caller_identity().send())
            .await
            .map_err(|error| ConnectError::Identity(at_endpoint(error, config.endpoint_url())))?;
        Ok(Self {
            ec2: client!(aws_sdk_ec2, "ec2"),
            ecs: client!(aws_sdk_ecs, "ecs"),
            autoscaling: client!(aws_sdk_autoscaling, "autoscaling"),
            iam: client!(aws_sdk_iam, "iam"),
            route53: client!(aws_sdk_route53, "route53"),
            ecr: client!(aws_sdk_ecr, "ecr"),
            ssm: client!(aws_sdk_ssm, "ssm"),
            logs: client!(aws_sdk_cloudwatchlogs, "logs"),
            elb: client!(aws_sdk_elasticloadbalancingv2, "elastic_load_balancing_v2"),
            acm: client!(aws_sdk_acm, "acm"),
            discovery: client!(aws_sdk_servicediscovery, "servicediscovery"),
            scaling: client!(aws_sdk_applicationautoscaling, "application_auto_scaling"),
            scheduler: client!(aws_sdk_scheduler, "scheduler"),
            secrets: client!(aws_sdk_secretsmanager, "secrets_manager"),
            efs: client!(aws_sdk_efs, "efs"),
            cloudwatch: client!(aws_sdk_cloudwatch, "cloudwatch"),
            sns: client!(aws_sdk_sns, "sns"),
            calls,
            scope: Scope {
                stack: stack.to_owned(),
                env: env.map(str::to_owned),
                account: identity.account,
                region: how.region.clone(),
                partition: facts::partition(&how.region).to_owned(),
            },
            emulated: how.emulated,
            values: Arc::default(),
            once: Arc::default(),
        })
    }

    /// The same with the values of the stack's secrets: calls may send them, and errors do not repeat them.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<Secrets>) -> Self {
        self.calls.hide(secrets.clone());
        self.values = secrets;
        self
    }

    /// The value that a mark in an attribute stands for. It goes nowhere but into a request.
    ///
    /// # Errors
    /// Where the variable has no value now.
    pub fn reveal(&self, mark: &str) -> Result<&str, CloudError> {
        self.values.reveal(mark).ok_or_else(|| {
            let name = Mark::parse(mark).map_or("?", |mark| mark.name);
            CloudError::unexpected("secret", format!("the secret `{name}` has no value"))
                .help(format!("give it in the environment, as COFFERDAM_VAR_{name}, or in its file"))
        })
    }

    /// Fetches something that several kinds read, once; the others wait for it. Keyed by its type.
    ///
    /// # Errors
    /// What `fetch` gave; the next caller tries again.
    pub async fn once<T, F, Fut>(&self, fetch: F) -> Result<Arc<T>, CloudError>
    where
        T: Send + Sync + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, CloudError>>,
    {
        let slot = {
            let mut slots = self.once.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(TypeId::of::<T>()).or_default().clone()
        };
        let value = slot
            .get_or_try_init(|| async { Ok::<Arc<dyn Any + Send + Sync>, CloudError>(Arc::new(fetch().await?)) })
            .await?;
        value
            .clone()
            .downcast::<T>()
            .map_err(|_| CloudError::unexpected("cache", "a shared answer has another type than its key"))
    }

    /// Forgets what [`Aws::once`] keeps, before the next refresh.
    pub fn forget(&self) {
        self.once.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
