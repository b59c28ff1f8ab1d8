//! A bucket of S3 as a place for states: five calls, signed and sent by the crates that the SDK stands on.
//!
//! The calls block: whoever writes a state waits until it is safe. They run on a thread of their own, so that they may
//! be made from inside another runtime.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_xml::decode::{Document, try_data};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::clients::http_client;
use super::facts;
use crate::cloud::{FIRST_PAUSE, longer};
use crate::state::{Objects, StateError, Tag, When};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a request is sent that gets no answer, or one that asks to come again.
const TRIES: u32 = 5;

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
    shared: std::sync::Arc<Shared>,
    /// Only taken out at the end.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    at: BucketAt,
    connector: Connector,
    credentials: OnceCell<Option<SharedCredentialsProvider>>,
    /// The region that S3 named.
    region: std::sync::OnceLock<String>,
}

/// A request, as it may be sent several times.
#[derive(Debug, Clone, Default)]
struct Request {
    method: &'static str,
    key: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    tag: Option<Tag>,
    region: Option<String>,
    body: Vec<u8>,
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
        let (credentials, region) = (OnceCell::new(), std::sync::OnceLock::new());
        Ok(Self { shared: std::sync::Arc::new(Shared { at, connector, credentials, region }), runtime: Some(runtime) })
    }

    /// Sends a request and waits for its answer.
    fn ask(&self, doing: &'static str, request: Request) -> Result<Answer, StateError> {
        let (name, shared) = (self.name(&request.key), self.shared.clone());
        let failed =
            |why: String, help: &str| StateError::Remote { doing, name: name.clone(), why, help: help.to_owned() };
        let (sender, receiver) = mpsc::sync_channel(1);
        let Some(runtime) = &self.runtime else { return Err(failed("it is closed".into(), "run it again")) };
        runtime.spawn(async move { sender.send(shared.send(request).await) });
        let answer = receiver.recv().unwrap_or_else(|_| Err("the request was given up".to_owned()));
        let answer = answer.map_err(|why| {
            failed(
                why,
                "check the network and the credentials; what is safe stays safe, and the same command continues",
            )
        })?;
        match (answer.status, code(&answer.body).as_str()) {
            (200..300 | 304 | 412, _) | (404, "" | "NoSuchKey") => Ok(answer),
            (_, code) => {
                let why = match message(&answer.body) {
                    text if text.is_empty() => format!("S3 answers {} {code}", answer.status),
                    text => format!("{code}: {text}"),
                };
                let help = match (answer.status, code) {
                    (_, "NoSuchBucket") => {
                        "make the bucket first (with versioning, and closed to the public), or correct [state] url"
                    }
                    (403, _) => {
                        "the credentials need s3:GetObject, s3:PutObject and s3:DeleteObject on the objects, and \
                         s3:ListBucket on the bucket"
                    }
                    _ => "run the same command again: it continues",
                };
                Err(failed(why, help))
            }
        }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    /// Sends a request, several times where it gets no answer or is asked to come again.
    async fn send(&self, request: Request) -> Result<Answer, String> {
        let mut pause = FIRST_PAUSE;
        let mut tried = 0;
        loop {
            tried += 1;
            let answer = match tokio::time::timeout(PATIENCE, self.send_once(&request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            let again = match &answer {
                Ok(answer) => {
                    // Asked in the wrong region, S3 names the right one.
                    let elsewhere = matches!(answer.status, 301 | 307 | 400) && answer.region.is_some();
                    let moved =
                        elsewhere && answer.region.clone().is_some_and(|region| self.region.set(region).is_ok());
                    // 409: somebody else writes the same object at this moment.
                    moved || matches!(answer.status, 409 | 429 | 500..600)
                }
                Err(_) => true,
            };
            if !again || tried >= TRIES {
                return answer;
            }
            tokio::time::sleep(pause).await;
            pause = longer(pause);
        }
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, String> {
        let region = self.region.get().unwrap_or(&self.at.region).clone();
        let url = self.url(request, &region);
        let mut http = HttpRequest::get(&url).map_err(|e| text(&e))?;
        http.set_method(request.method).map_err(|e| text(&e))?;
        for (name, value) in &request.headers {
            http.headers_mut().try_insert(*name, value.clone()).map_err(|e| text(&e))?;
        }
        if let Some(credentials) = self.credentials(&region).await? {
            let identity = credentials.into();
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            let parameters = v4::SigningParams::builder()
                .identity(&identity)
                .region(&region)
                .name("s3")
                .time(SystemTime::now())
                .settings(settings)
                .build()
                .map_err(|e| text(&e))?
                .into();
            let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
            let signable =
                SignableRequest::new(request.method, url.as_str(), headers, SignableBody::Bytes(&request.body));
            let signed = sign(signable.map_err(|e| text(&e))?, &parameters).map_err(|e| text(&e))?;
            for (name, value) in signed.output().headers() {
                http.headers_mut().try_insert(name.to_owned(), value.to_owned()).map_err(|e| text(&e))?;
            }
        }
        *http.body_mut() = SdkBody::from(request.body.clone());
        let response = self.connector.call(http).await.map_err(|e| text(&e))?;
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let (tag, region, status) = (header("etag"), header("x-amz-bucket-region"), response.status().as_u16());
        let body = ByteStream::new(response.into_body()).collect().await.map_err(|e| text(&e))?.to_vec();
        Ok(Answer { status, tag, region, body })
    }

    /// Credentials of the usual chain, fresh ones where the last have run out.
    async fn credentials(&self, region: &str) -> Result<Option<Credentials>, String> {
        if self.at.emulated {
            return Ok(Some(Credentials::new("test", "test", None, None, "emulated")));
        }
        let load = || async {
            let region = Region::new(region.to_owned());
            let loader = aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(http_client());
            loader.load().await.credentials_provider()
        };
        match self.credentials.get_or_init(load).await {
            Some(provider) => match provider.provide_credentials().await {
                Ok(credentials) => Ok(Some(credentials)),
                Err(error) => Err(format!("there are no credentials: {}", text(&error))),
            },
            None => Ok(None),
        }
    }

    fn url(&self, request: &Request, region: &str) -> String {
        let BucketAt { bucket, endpoint, .. } = &self.at;
        let suffix = facts::dns_suffix(facts::partition(region));
        // A certificate for *.s3 does not hold for names with dots.
        let base = match endpoint {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None if bucket.contains('.') => format!("https://s3.{region}.{suffix}/{bucket}"),
            None => format!("https://{bucket}.s3.{region}.{suffix}"),
        };
        let query: Vec<String> =
            request.query.iter().map(|(name, value)| format!("{name}={}", encoded(value, false))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{base}/{}{query}", encoded(&request.key, true))
    }
}

/// An error with what caused it.
fn text(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Text as it stands in a URL; slashes stay as they are in paths.
fn encoded(text: &str, is_path: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || (is_path && byte == b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The texts of all elements of this name.
fn texts(body: &[u8], name: &str) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let mut document = Document::new(text);
    let mut out = Vec::new();
    while let Some(element) = document.next_start_element() {
        if element.local() == name
            && let Ok(data) = try_data(&mut document)
        {
            out.push(data.into_owned());
        }
    }
    out
}

fn code(body: &[u8]) -> String {
    texts(body, "Code").into_iter().next().unwrap_or_default()
}

fn message(body: &[u8]) -> String {
    texts(body, "Message").into_iter().next().unwrap_or_default()
}

impl Objects for Bucket {
    fn name(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.shared.at.bucket)
    }

    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, StateError> {
        let answer = self.ask("read", Request { method: "GET", key: key.to_owned(), ..Request::default() })?;
        match answer.status {
            404 => Ok(None),
            _ => Ok(Some((answer.body, answer.tag.unwrap_or_default()))),
        }
    }

    fn put(&self, key: &str, bytes: &[u8], when: &When) -> Result<Option<Tag>, StateError> {
        let headers = match when {
            When::Always => Vec::new(),
            When::Absent => vec![("if-none-match", "*".to_owned())],
            When::Is(tag) => vec![("if-match", tag.clone())],
        };
        let (key, body) = (key.to_owned(), bytes.to_owned());
        let answer = self.ask("write", Request { method: "PUT", key, headers, body, ..Request::default() })?;
        match answer.status {
            // 404: there is nothing of which it could still be this version.
            404 | 412 => Ok(None),
            _ => Ok(Some(answer.tag.unwrap_or_default())),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let mut keys = Vec::new();
        let mut next = None;
        loop {
            let mut query = Vec::new();
            query.extend(next.take().map(|token| ("continuation-token", token)));
            query.extend([("list-type", "2".to_owned()), ("prefix", prefix.to_owned())]);
            let answer = self.ask("list", Request { method: "GET", query, ..Request::default() })?;
            keys.extend(texts(&answer.body, "Key"));
            next = texts(&answer.body, "NextContinuationToken").into_iter().next();
            if next.is_none() {
                keys.sort();
                return Ok(keys);
            }
        }
    }

    fn delete(&self, key: &str) -> Result<(), StateError> {
        self.ask("delete", Request { method: "DELETE", key: key.to_owned(), ..Request::default() }).map(|_| ())
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
    fn objects_have_urls_that_sign_alike() {
        let of = |bucket: &str, endpoint: Option<&str>| {
            let at = BucketAt::parse(&format!("s3://{bucket}"), "eu-west-2", endpoint.map(str::to_owned)).unwrap();
            let bucket = Bucket::open(at).unwrap();
            let request = Request {
                key: "a/web@staging/x y.json".into(),
                query: vec![("prefix", "a/b".into())],
                ..Request::default()
            };
            bucket.shared.url(&request, "eu-west-2")
        };
        let rest = "a/web%40staging/x%20y.json?prefix=a%2Fb";
        assert_eq!(of("our-states", None), format!("https://our-states.s3.eu-west-2.amazonaws.com/{rest}"));
        assert_eq!(of("our.states", None), format!("https://s3.eu-west-2.amazonaws.com/our.states/{rest}"));
        assert_eq!(of("our-states", Some("http://localhost:1/")), format!("http://localhost:1/our-states/{rest}"));
    }

    #[test]
    fn answers_are_read() {
        let listed = b"<ListBucketResult><Contents><Key>a&amp;b</Key></Contents><Contents><Key>c</Key></Contents></ListBucketResult>";
        assert_eq!(texts(listed, "Key"), ["a&b", "c"]);
        let refused = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        assert_eq!((code(refused).as_str(), message(refused).as_str()), ("AccessDenied", "no"));
        assert_eq!(code(b"not XML <"), "");
    }
}
