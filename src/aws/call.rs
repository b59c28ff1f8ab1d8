//! Calls to AWS: each goes through the one gate, and its errors are classified here.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::apply::gate::{Again, CallCounts, Gate};
use crate::apply::limiter::Side;
use crate::cloud::{CloudError, ErrorClass};
use crate::secret::Secrets;

/// The calls to AWS, each through the one [`Gate`] and with its errors classified.
#[derive(Clone, Default)]
pub struct Calls {
    gate: Gate,
    secrets: Arc<Secrets>,
}

impl Calls {
    /// How often each call was sent since the start.
    pub fn counts(&self) -> CallCounts {
        self.gate.counts()
    }

    /// Takes these values out of the messages of all errors from now on: services repeat what they were sent.
    pub fn hide(&mut self, secrets: Arc<Secrets>) {
        self.secrets = secrets;
    }

    /// Sends a call that changes nothing. `action` is its IAM name, `ec2:DescribeVpcs`.
    ///
    /// # Errors
    /// Once retrying did not help, or at once where it cannot.
    pub async fn read<T, E, F, Fut>(&self, action: &'static str, send: F) -> Result<T, CloudError>
    where
        T: Send + 'static,
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.send(action, Side::Read, Again::Safe, send).await
    }

    /// Sends a call that changes nothing, and sends it once more at most: the first one, by which it shows whether there
    /// is anybody at all who answers.
    ///
    /// # Errors
    /// As of [`Calls::read`].
    pub async fn first<T, E, F, Fut>(&self, action: &'static str, send: F) -> Result<T, CloudError>
    where
        T: Send + 'static,
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.send(action, Side::Read, Again::Once, send).await
    }

    /// Sends a call that changes something and may be sent twice with the same effect (an update, a delete, or a create
    /// with a client token).
    ///
    /// # Errors
    /// Once retrying did not help, or at once where it cannot.
    pub async fn write<T, E, F, Fut>(&self, action: &'static str, send: F) -> Result<T, CloudError>
    where
        T: Send + 'static,
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.send(action, Side::Write, Again::Safe, send).await
    }

    /// Sends a call that makes something each time it is sent. It is sent again only where the first was refused; where
    /// its answer was lost the error is [`ErrorClass::Uncertain`], and who asked looks the resource up.
    ///
    /// # Errors
    /// Once retrying did not help, or at once where it cannot.
    pub async fn create<T, E, F, Fut>(&self, action: &'static str, send: F) -> Result<T, CloudError>
    where
        T: Send + 'static,
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.send(action, Side::Write, Again::OnlyIfRefused, send).await
    }

    async fn send<T, E, F, Fut>(&self, action: &'static str, side: Side, again: Again, send: F) -> Result<T, CloudError>
    where
        T: Send + 'static,
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        // Only this much is compiled anew for each of the many calls.
        let attempt = || {
            let answer = send();
            let classified = async move {
                match answer.await {
                    Ok(answer) => Ok(Box::new(answer) as Box<dyn Any + Send>),
                    Err(error) => Err(classify(action, &error)),
                }
            };
            classified.boxed()
        };
        let answer = self.repeat(action, side, again, &attempt).await?;
        answer.downcast().map(|answer| *answer).map_err(|_| CloudError::unexpected(action, "an answer of another type"))
    }

    async fn repeat<'a>(
        &self,
        action: &'static str,
        side: Side,
        again: Again,
        attempt: &(dyn Fn() -> BoxFuture<'a, Result<Box<dyn Any + Send>, CloudError>> + Sync),
    ) -> Result<Box<dyn Any + Send>, CloudError> {
        let sent = self.gate.send(action, side, again, attempt).await;
        sent.map_err(|error| CloudError { message: self.secrets.redacted(&error.message), ..error })
    }
}

/// How long a lone call may take; the clients use it.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The status of answers to calls that an emulator does not have.
const NOT_IMPLEMENTED: u16 = 501;

fn classify<E>(action: &str, error: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let request_id = error.raw_response().and_then(|r| r.headers().get("x-amzn-requestid")).map(Box::from);
    let mut out = match error {
        SdkError::ConstructionFailure(_) => {
            CloudError::new(ErrorClass::Refused, action, "", format!("the request cannot be built: {}", chain(error)))
        }
        // The request was never sent: the SDK counts what goes wrong before among the failures of sending.
        SdkError::DispatchFailure(_) if let Some(why) = credentials_error(error) => {
            CloudError::new(ErrorClass::Denied, action, "", why)
                .help("set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in (aws sso login)")
        }
        SdkError::DispatchFailure(failure) => {
            let class = if failure.is_user() { ErrorClass::Refused } else { ErrorClass::Uncertain };
            CloudError::new(class, action, "", format!("no answer: {}", chain(error)))
                .help("check the network, the endpoint and the credentials, then run the same command again")
        }
        SdkError::TimeoutError(_) => {
            CloudError::new(ErrorClass::Uncertain, action, "", format!("no answer: {}", chain(error)))
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let class = if status == NOT_IMPLEMENTED { ErrorClass::Refused } else { ErrorClass::Uncertain };
            CloudError::new(class, action, "", format!("an answer that is none of the API's (HTTP {status})"))
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or_default();
            let message = service.err().message().unwrap_or("no message");
            CloudError::new(class_of(code, message, status), action, code, message)
        }
        _ => CloudError::new(ErrorClass::Uncertain, action, "", chain(error)),
    };
    out.request_id = request_id;
    out
}

/// What is wrong with the credentials, where that is what failed. A provider that only took too long may answer the next
/// time.
fn credentials_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut sources = std::iter::successors(Some(error), |error| error.source());
    let found = sources.find_map(|source| source.downcast_ref::<CredentialsError>())?;
    match found {
        CredentialsError::ProviderTimedOut(_) => None,
        CredentialsError::CredentialsNotLoaded(_) => Some("there are no AWS credentials".to_owned()),
        other => Some(format!("the AWS credentials cannot be used: {}", chain(other))),
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// The error of one item in the answer of a call that succeeds as a whole and lists what failed.
pub fn item_error(action: &str, code: &str, message: &str) -> CloudError {
    CloudError::new(class_of(code, message, 200), action, code, message)
}

/// The class of an error by its code. Codes are those of the services' API references (EC2: "Error codes for the
/// Amazon EC2 API"; others: "Common errors"); the message is used only by [`refine`].
#[rustfmt::skip]
fn class_of(code: &str, message: &str, status: u16) -> ErrorClass {
    match code {
        "Throttling" | "ThrottlingException" | "ThrottledException" | "RequestLimitExceeded" | "TooManyRequestsException"
        | "RequestThrottled" | "RequestThrottledException" | "PriorRequestNotComplete" | "SlowDown" | "BandwidthLimitExceeded"
        | "EC2ThrottledException" | "ProvisionedThroughputExceededException" | "TransactionInProgressException" => {
            ErrorClass::Throttled
        }
        "DependencyViolation" | "ResourceInUse" | "ResourceInUseFault" | "ResourceInUseException" | "ScalingActivityInProgress"
        | "ScalingActivityInProgressFault" | "DeleteConflict" | "UpdateInProgressException" | "ResourceContentionFault" | "ResourceContention"
        | "ConcurrentModification" | "ConcurrentModificationException" | "OperationAbortedException" | "IncorrectState"
        | "IncorrectInstanceState" | "InvalidAddress.Locked" | "InvalidIPAddress.InUse" | "InvalidNetworkInterface.InUse"
        | "ClusterContainsContainerInstancesException" | "ClusterContainsServicesException"
        | "ClusterContainsTasksException" | "ClusterContainsCapacityProviderException" | "OperationNotPermitted"
        | "EntityTemporarilyUnmodifiable" | "HostedZoneNotEmpty" | "InvalidGroup.InUse" => ErrorClass::NotYet,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AuthFailure" | "UnrecognizedClientException"
        | "InvalidClientTokenId" | "ExpiredToken" | "ExpiredTokenException" | "SignatureDoesNotMatch"
        | "OptInRequired" | "MissingAuthenticationToken" => ErrorClass::Denied,
        "NoSuchEntity" | "NoSuchHostedZone" | "RepositoryNotFoundException" | "ResourceNotFoundException"
        | "ClusterNotFoundException" | "ParameterNotFound" | "LifecyclePolicyNotFoundException" | "NatGatewayNotFound"
        | "RepositoryPolicyNotFoundException" | "DashboardNotFoundError" | "ServiceNotFoundException" | "ServiceNotActiveException" => ErrorClass::NotFound,
        "EntityAlreadyExists" | "AlreadyExists" | "AlreadyExistsFault" | "RepositoryAlreadyExistsException" | "ResourceAlreadyExistsException"
        | "InvalidGroup.Duplicate" | "InvalidKeyPair.Duplicate" | "HostedZoneAlreadyExists" | "RouteAlreadyExists"
        | "InvalidLaunchTemplateName.AlreadyExistsException" | "InvalidPermission.Duplicate"
        | "Resource.AlreadyAssociated" | "ParameterAlreadyExists" | "FlowLogAlreadyExists" => ErrorClass::Exists,
        "LimitExceeded" | "LimitExceededException" | "LimitExceededFault" | "VcpuLimitExceeded" | "ServiceQuotaExceededException"
        | "TooManyHostedZones" | "TooManyTagsException" => ErrorClass::Quota,
        "InternalError" | "InternalFailure" | "InternalServerError" | "InternalServiceError" | "ServerException" | "ServiceUnavailable"
        | "ServiceUnavailableException" | "Unavailable" | "RequestTimeout" | "RequestTimeoutException" => {
            ErrorClass::Uncertain
        }
        "PriorityInUse" | "ConcurrentUpdateException" | "IncorrectFileSystemLifeCycleState" | "FileSystemInUse"
        | "DependencyTimeout" => ErrorClass::NotYet,
        "ResourceExistsException" => ErrorClass::Exists,
        code if ["NotFound", "NotFoundException", "NotFoundFault"].iter().any(|end| code.ends_with(end)) => {
            ErrorClass::NotFound
        }
        code if ["AlreadyExists", "AlreadyExistsException"].iter().any(|end| code.ends_with(end)) => ErrorClass::Exists,
        code if code.starts_with("Duplicate") && code.contains("Name") || code == "DuplicateListener" => ErrorClass::Exists,
        code if code.starts_with("TooMany") => ErrorClass::Quota,
        code if code.ends_with("LimitExceeded") || code.ends_with("LimitExceededException") => ErrorClass::Quota,
        code => refine(code, message, status),
    }
}

/// AWS answers a few propagation delays with a generic validation code; only the message tells them apart. This is the
/// one place where a message decides: it turns a refusal into a bounded retry, or tells what is missing or there already.
fn refine(code: &str, message: &str, status: u16) -> ErrorClass {
    let message = message.to_ascii_lowercase();
    let mentions = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    match code {
        // IAM is eventually consistent: a role or profile made seconds ago is not known to EC2 and ECS yet.
        "InvalidParameterValue"
        | "ValidationError"
        | "ClientException"
        | "InvalidParameterException"
        | "InvalidParameter"
            if mentions(&[
                "invalid iam instance profile",
                "iaminstanceprofile",
                "unable to assume",
                "cannot be assumed",
                "service linked role",
            ]) =>
        {
            ErrorClass::NotYet
        }
        // A launch template that was made seconds ago is not known to Auto Scaling yet.
        "ValidationError" if mentions(&["launch template"]) && mentions(&["does not exist"]) => ErrorClass::NotYet,
        // What ECS answers where a task definition is not there, or not any more.
        "ClientException" if mentions(&["unable to describe task definition", "task definition not found"]) => {
            ErrorClass::NotFound
        }
        // A service of this name that was deleted has not stopped its tasks yet.
        "InvalidParameterException" | "ClientException" if mentions(&["still draining"]) => ErrorClass::NotYet,
        "InvalidParameterException" | "ClientException" if mentions(&["was not idempotent"]) => ErrorClass::Exists,
        // Some answer this instead of `ObjectNotFoundException`.
        "ValidationException" if mentions(&["no scalable target found", "no scaling policy found"]) => {
            ErrorClass::NotFound
        }
        // A principal in a trust policy or key policy that was made seconds ago.
        "MalformedPolicyDocument" if mentions(&["invalid principal"]) => ErrorClass::NotYet,
        _ if status == 429 => ErrorClass::Throttled,
        // What is not there does not come with the next try.
        "NotImplemented" | "NotImplementedException" => ErrorClass::Refused,
        _ if status == NOT_IMPLEMENTED => ErrorClass::Refused,
        _ if status >= 500 => ErrorClass::Uncertain,
        _ => ErrorClass::Refused,
    }
}
