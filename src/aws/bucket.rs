//! A bucket of S3 as a place for states: [`object_store`]'s client, with the SDK's credentials and HTTP.
//!
//! The calls block: whoever writes a state waits until it is safe. They run on a thread of their own, so that they may
//! be made from inside another runtime.

use std::error::Error as _;
use std::future::Future;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use futures_util::TryStreamExt;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, HttpClient, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpService, Signer, SigningAlgorithm,
};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RetryConfig, UpdateVersion,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::clients::http_client;
use super::facts;
use crate::cloud::FIRST_PAUSE;
use crate::state::{Objects, StateError, Tag, When};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a request is sent again that gets no answer, or one that asks to come again.
const RETRIES: usize = 4;
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long all of them together may take.
const IN_ALL: Duration = Duration::from_secs(60);

/// A bucket, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketAt {
    /// Its name.
    pub bucket: String,
    /// What the keys of all states in it begin with.
    pub prefix: String,
    /// The region to ask first; S3 says so where the bucket is in another.
    pub region: String,
    /// Another endpoint than AWS's own; buckets are then named in the path.
    pub endpoint: Option<String>,
    /// Whether to sign with fixed, meaningless credentials instead of those of the usual chain: for an emulated S3.
    pub emulated: bool,
}

impl BucketAt {
    /// The bucket and prefix of `s3://bucket/prefix`.
    ///
    /// # Errors
    /// What is wrong with the URL, in words.
    pub fn parse(url: &str, region: &str, endpoint: Option<String>) -> Result<Self, String> {
        let rest = url.strip_prefix("s3://").ok_or_else(|| format!("`{url}` does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
        match is_name {
            true => Ok(Self {
                bucket: bucket.to_owned(),
                prefix: prefix.trim_matches('/').to_owned(),
                region: region.to_owned(),
                endpoint,
                emulated: false,
            }),
            false => Err(format!("`{bucket}` cannot name a bucket")),
        }
    }
}

/// A bucket that is asked and written to.
#[derive(Debug)]
pub struct Bucket {
    at: BucketAt,
    wire: Wire,
    /// The client, made when it is first needed; another one where S3 says that the bucket is in another region.
    clients: [OnceLock<Arc<AmazonS3>>; 2],
    /// Only taken out at the end.
    runtime: Option<Runtime>,
}

impl Bucket {
    /// The bucket. Nothing is asked yet; credentials come from the usual chain when something is.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn open(at: BucketAt) -> std::io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("bucket").enable_all().build()?;
        let connector =
            Connector::builder().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build();
        let wire = Wire { connector: Arc::new(connector), region: Arc::default() };
        Ok(Self { at, wire, clients: Default::default(), runtime: Some(runtime) })
    }

    /// The client for the region that the bucket is known to be in.
    fn client(&self) -> Result<Arc<AmazonS3>, Error> {
        let (slot, region) = match self.wire.region.get() {
            Some(region) => (&self.clients[1], region),
            None => (&self.clients[0], &self.at.region),
        };
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = Arc::new(self.builder(region).build()?);
        Ok(slot.get_or_init(|| client).clone())
    }

    fn builder(&self, region: &str) -> AmazonS3Builder {
        let BucketAt { bucket, endpoint, emulated, .. } = &self.at;
        let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: IN_ALL })
            .with_crypto_provider(Arc::new(Crypto))
            .with_http_connector(self.wire.clone())
            .with_allow_http(true);
        let builder = match base(bucket, region, endpoint.as_deref()) {
            Some(base) => builder.with_endpoint(base),
            None => builder.with_virtual_hosted_style_request(true),
        };
        match emulated {
            true => builder.with_access_key_id("test").with_secret_access_key("test"),
            false => builder.with_credentials(Arc::new(Chain { region: region.to_owned(), provider: OnceCell::new() })),
        }
    }

    /// Asks for something and waits for the answer.
    fn ask<T, F>(&self, doing: &'static str, key: &str, ask: impl Fn(Arc<AmazonS3>, Path) -> F) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let failed = |error: Error| self.failed(doing, key, &error);
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        let Some(runtime) = &self.runtime else {
            return Err(failed(Error::NotSupported { source: "the connection is closed already".into() }));
        };
        loop {
            let known = self.wire.region.get().is_some();
            let asked = ask(self.client().map_err(failed)?, path.clone());
            let (sender, receiver) = mpsc::sync_channel(1);
            runtime.spawn(async move { sender.send(asked.await) });
            match receiver.recv() {
                // S3 has said meanwhile where the bucket is.
                Ok(Err(_)) if !known && self.wire.region.get().is_some() => {}
                Ok(Err(error)) if says(&error, "NoSuchBucket") => return Err(failed(error)),
                Ok(answer) => return Ok(answer),
                Err(_) => return Err(failed(Error::NotSupported { source: "the request was given up".into() })),
            }
        }
    }

    fn failed(&self, doing: &'static str, key: &str, error: &Error) -> StateError {
        let help = match error {
            error if says(error, "NoSuchBucket") => {
                "make the bucket first (with versioning, and closed to the public), or correct [state] url"
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                "the credentials need s3:GetObject, s3:PutObject and s3:DeleteObject on the objects, and s3:ListBucket \
                 on the bucket"
            }
            _ => "check the network and the credentials; what is safe stays safe, and the same command continues",
        };
        let why = match says(error, "NoSuchBucket") {
            true => format!("there is no bucket `{}`", self.at.bucket),
            false => text(error),
        };
        StateError::Remote { doing, name: self.name(key), why, help: help.to_owned() }
    }
}

/// An answer of S3, an error with a meaning among them; or no answer at all.
type Answer<T> = Result<Result<T, Error>, StateError>;

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where requests go, if not to AWS's own endpoint for this bucket. A certificate for `*.s3` does not hold for names with
/// dots; they stand in the path.
fn base(bucket: &str, region: &str, endpoint: Option<&str>) -> Option<String> {
    let suffix = facts::dns_suffix(facts::partition(region));
    match endpoint {
        Some(endpoint) => Some(endpoint.trim_end_matches('/').to_owned()),
        None if bucket.contains('.') || suffix != "amazonaws.com" => Some(format!("https://s3.{region}.{suffix}")),
        None => None,
    }
}

/// What went wrong: what S3 says of it, or else the error with what caused it, each once.
fn text(error: &Error) -> String {
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    if let (Some(code), Some(message)) = (element(&said, "Code"), element(&said, "Message")) {
        return format!("{} ({code})", message.trim_end_matches('.'));
    }
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let one = error.to_string();
        if !told.contains(&one) {
            told = format!("{told}: {one}");
        }
        cause = error.source();
    }
    told
}

/// Whether S3 answered with this code.
fn says(error: &Error, code: &str) -> bool {
    error.source().is_some_and(|source| element(&source.to_string(), "Code") == Some(code))
}

/// What stands in the first element of this name in an answer of S3, which is XML of a few lines.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

/// The SDK's own HTTP, for requests that are signed already.
#[derive(Debug, Clone)]
struct Wire {
    connector: Arc<Connector>,
    /// The region that S3 named.
    region: Arc<OnceLock<String>>,
}

impl object_store::client::HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient, Error> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = http::Request::from_parts(parts, SdkBody::from(body));
        let request = request.try_into().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let sent = tokio::time::timeout(PATIENCE, self.connector.call(request)).await;
        let late = |error| HttpError::new(HttpErrorKind::Timeout, error);
        let response = sent.map_err(late)?.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        let response = response.try_into_http1x().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let (parts, body) = response.into_parts();
        if matches!(parts.status.as_u16(), 301 | 307 | 400)
            && let Some(region) = parts.headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok())
        {
            let _ = self.region.set(region.to_owned());
        }
        let body = tokio::time::timeout(PATIENCE, ByteStream::new(body).collect()).await;
        let body = body.map_err(late)?.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(parts, body.into_bytes().into()))
    }
}

/// Credentials of the SDK's usual chain, fresh ones where the last have run out.
#[derive(Debug)]
struct Chain {
    region: String,
    provider: OnceCell<Option<SharedCredentialsProvider>>,
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>, Error> {
        let load = || async {
            let region = Region::new(self.region.clone());
            let loader = aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(http_client());
            loader.load().await.credentials_provider()
        };
        let none = |source| Error::Generic { store: "credentials", source };
        let provider = self.provider.get_or_init(load).await.as_ref();
        let provider = provider.ok_or_else(|| none("there are none".into()))?;
        let credentials = provider.provide_credentials().await.map_err(|error| none(error.into()))?;
        Ok(Arc::new(AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        }))
    }
}

/// The digests that requests are signed with, of the crates that the SDK signs its own with.
#[derive(Debug)]
struct Crypto;

fn unknown(what: &str) -> Error {
    Error::NotSupported { source: what.to_owned().into() }
}

impl CryptoProvider for Crypto {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>, Error> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Digesting { digest: Sha256::new(), out: Vec::new() })),
            _ => Err(unknown("a digest other than SHA-256")),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>, Error> {
        match (algorithm, Hmac::new_from_slice(secret)) {
            (DigestAlgorithm::Sha256, Ok(hmac)) => Ok(Box::new(Signing { hmac, out: Vec::new() })),
            _ => Err(unknown("a digest other than SHA-256")),
        }
    }

    fn sign(&self, _: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>, Error> {
        Err(unknown("signatures with private keys"))
    }
}

struct Digesting {
    digest: Sha256,
    out: Vec<u8>,
}

impl DigestContext for Digesting {
    fn update(&mut self, data: &[u8]) {
        self.digest.update(data);
    }

    fn finish(&mut self) -> Result<&[u8], Error> {
        self.out = self.digest.clone().finalize().to_vec();
        Ok(&self.out)
    }
}

struct Signing {
    hmac: Hmac<Sha256>,
    out: Vec<u8>,
}

impl HmacContext for Signing {
    fn update(&mut self, data: &[u8]) {
        self.hmac.update(data);
    }

    fn finish(&mut self) -> Result<&[u8], Error> {
        self.out = self.hmac.clone().finalize().into_bytes().to_vec();
        Ok(&self.out)
    }
}

impl Objects for Bucket {
    fn name(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.at.bucket)
    }

    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, StateError> {
        let get = |client: Arc<AmazonS3>, path: Path| async move {
            let found = client.get(&path).await?;
            let tag = found.meta.e_tag.clone().unwrap_or_default();
            Ok((found.bytes().await?.to_vec(), tag))
        };
        match self.ask("read", key, get)? {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", key, &error)),
        }
    }

    fn put(&self, key: &str, bytes: &[u8], when: &When) -> Result<Option<Tag>, StateError> {
        let payload = PutPayload::from(bytes.to_vec());
        let mode = match when {
            When::Always => PutMode::Overwrite,
            When::Absent => PutMode::Create,
            When::Is(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
        };
        let put = |client: Arc<AmazonS3>, path: Path| {
            let (payload, options) = (payload.clone(), PutOptions { mode: mode.clone(), ..PutOptions::default() });
            async move { client.put_opts(&path, payload, options).await }
        };
        match self.ask("write", key, put)? {
            Ok(written) => Ok(Some(written.e_tag.unwrap_or_default())),
            // Not found: there is nothing of which it could still be this version.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("write", key, &error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let list = |client: Arc<AmazonS3>, path: Path| async move {
            client.list(Some(&path)).map_ok(|one| one.location.to_string()).try_collect::<Vec<_>>().await
        };
        let mut keys =
            self.ask("list", prefix.trim_end_matches('/'), list)?.map_err(|e| self.failed("list", prefix, &e))?;
        keys.sort();
        Ok(keys)
    }

    fn folders(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let list = |client: Arc<AmazonS3>, path: Path| async move {
            Ok(client.list_with_delimiter(Some(&path)).await?.common_prefixes)
        };
        let folders =
            self.ask("list", prefix.trim_end_matches('/'), list)?.map_err(|e| self.failed("list", prefix, &e))?;
        let mut names: Vec<String> = folders.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<(), StateError> {
        let delete = |client: Arc<AmazonS3>, path: Path| async move { client.delete(&path).await };
        match self.ask("delete", key, delete)? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", key, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_states() {
        let parsed = |url: &str| BucketAt::parse(url, "eu-west-2", None);
        let at = parsed("s3://our-states/teams/web/").unwrap();
        assert_eq!((at.bucket.as_str(), at.prefix.as_str()), ("our-states", "teams/web"));
        assert_eq!(parsed("s3://our-states").unwrap().prefix, "");
        assert!(parsed("https://our-states").is_err());
        assert!(parsed("s3://Our_States/x").is_err());
        assert!(parsed("s3://").is_err());
    }

    #[test]
    fn requests_go_to_where_their_certificate_holds() {
        assert_eq!(base("our-states", "eu-west-2", None), None);
        assert_eq!(base("our.states", "eu-west-2", None).as_deref(), Some("https://s3.eu-west-2.amazonaws.com"));
        assert_eq!(base("our-states", "cn-north-1", None).as_deref(), Some("https://s3.cn-north-1.amazonaws.com.cn"));
        assert_eq!(base("our-states", "eu-west-2", Some("http://localhost:1/")).as_deref(), Some("http://localhost:1"));
    }
}
