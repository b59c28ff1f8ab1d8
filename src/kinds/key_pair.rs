//! `key_pair`: a public key that instances let in over SSH.

use async_trait::async_trait;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{Filter, KeyPairInfo, ResourceType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, Tags, canonical, ec2, gone_is_fine, in_order, owned, spec, text, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, KindSpec, Naming, Problem, ReplaceOrder, template};

/// The longest name ("ImportKeyPair").
const LONGEST: usize = 255;
const RSA: &str = "ssh-rsa";
const ED25519: &str = "ssh-ed25519";
/// The sizes of RSA keys that EC2 takes, in bits ("Create a key pair using a third-party tool").
const RSA_BITS: [usize; 3] = [1024, 2048, 4096];

/// A public key that instances let in over SSH. Private keys stay with those who made them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// Its name, unique in the region; made from the stack's and its own if there is none.
    #[serde(default)]
    pub name: String,
    /// The public key, as in a `.pub` file of OpenSSH: `"ssh-ed25519 AAAA…"`, or the name of such a file.
    #[schemars(extend("x-file" = "text"))]
    pub public_key: String,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// A key without its comment, which EC2 does not keep.
fn bare_key(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The kind `key_pair`.
pub struct KeyPairKind;

#[async_trait]
impl Kind for KeyPairKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "public_key"],
            outputs: &["fingerprint"],
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: LONGEST }),
            canonical: |attributes| {
                let attributes = canonical::<KeyPair>(attributes)?;
                let Ok(mut pair) = typed::<KeyPair>(&attributes) else { return Ok(attributes) };
                if !template::is_unknown(&json!(pair.public_key)) {
                    pair.public_key = bare_key(&pair.public_key);
                }
                Ok(untyped(&pair))
            },
            check,
            typical_seconds: 1,
            ..spec::<KeyPair>("key_pair", "key pair")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeKeyPairs", "ec2:DescribeTags"],
            create: &["ec2:ImportKeyPair", "ec2:CreateTags"],
            update: &["ec2:CreateTags", "ec2:DeleteTags"],
            delete: &["ec2:DescribeKeyPairs", "ec2:DeleteKeyPair"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("key-pair-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "key-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, ec2::by_token(&lost.request.token)).await?;
        Ok(found.iter().find(|one| ec2::has_token(one.tags(), &lost.request.token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let pair: KeyPair = typed(&request.attributes)?;
        let call = aws
            .ec2
            .import_key_pair()
            .key_name(&pair.name)
            .public_key_material(Blob::new(pair.public_key))
            .tag_specifications(ec2::tag_specification(ResourceType::KeyPair, request));
        let answer = aws.calls.create("ec2:ImportKeyPair", || call.clone().send()).await?;
        let id = answer.key_pair_id().unwrap_or_default();
        Ok(Created { id: id.to_owned(), outputs: outputs(id, answer.key_fingerprint()) })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // By the name that the id has now: another key of the same name is not touched, and emulated clouds know names
        // only.
        let found = describe(aws, ec2::filter("key-pair-id", &known.id)).await?;
        let Some(pair) = ec2::of_id(found, &known.id, |one| one.key_pair_id()) else { return Ok(()) };
        let name = pair.key_name().unwrap_or_default();
        let deleted =
            aws.calls.write("ec2:DeleteKeyPair", || aws.ec2.delete_key_pair().key_name(name).send()).await.map(|_| ());
        gone_is_fine(deleted)
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = text(attributes, "name");
    if name.chars().count() > LONGEST || !name.is_ascii() {
        problems.push(
            Problem::at("name", "the name of a key pair has at most 255 characters, all of them ASCII")
                .help("choose another name"),
        );
    }
    if let Some(key) = attributes.get("public_key").filter(|key| !template::is_unknown(key))
        && let Err((message, help)) = check_key(key.as_str().unwrap_or_default())
    {
        problems.push(Problem::at("public_key", message).help(help));
    }
    problems
}

/// What is wrong with a public key, and what to do. The key itself is never in the message: it may be a private one.
fn check_key(key: &str) -> Result<(), (String, &'static str)> {
    const HOW: &str = "give the content or the name of a .pub file, as `ssh-keygen -t ed25519` makes it";
    if key.contains("PRIVATE KEY") {
        return Err((
            "this is a private key".into(),
            "give the public half, the file that ends in .pub; never put a private key into a stack or its folder",
        ));
    }
    let mut words = key.split_whitespace();
    let algorithm = match words.next() {
        Some(one @ (RSA | ED25519)) => one,
        Some(other) if other.starts_with("ecdsa-") || other.starts_with("sk-") || other == "ssh-dss" => {
            return Err((format!("EC2 takes no keys of type `{other}`"), "make an ED25519 or RSA key"));
        }
        _ => return Err(("this is no public key in OpenSSH's format".into(), HOW)),
    };
    let broken = || ("the public key is damaged".to_owned(), HOW);
    let blob = words.next().and_then(|text| BASE64.decode(text).ok()).ok_or_else(broken)?;
    // RFC 4253, 6.6: the algorithm's name, then its numbers, each behind its length in four bytes.
    let mut fields = Vec::new();
    let mut rest = blob.as_slice();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| broken())?;
        let (field, tail) = tail.split_at_checked(length).ok_or_else(broken)?;
        fields.push(field);
        rest = tail;
    }
    match (algorithm, fields.as_slice()) {
        (ED25519, [name, point]) if *name == ED25519.as_bytes() && point.len() == 32 => Ok(()),
        (RSA, [name, _, modulus]) if *name == RSA.as_bytes() => {
            let digits: Vec<u8> = modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
            let bits = digits.len() * 8 - digits.first().map_or(0, |first| first.leading_zeros() as usize);
            if RSA_BITS.contains(&bits) {
                return Ok(());
            }
            Err((format!("EC2 takes no RSA keys of {bits} bits"), "make one of 2048 or 4096 bits, or an ED25519 key"))
        }
        _ => Err(broken()),
    }
}

/// `DescribeKeyPairs` has no pages.
async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<KeyPairInfo>, CloudError> {
    let call = aws.ec2.describe_key_pairs().include_public_key(true).filters(filter);
    Ok(aws.calls.read("ec2:DescribeKeyPairs", || call.clone().send()).await?.key_pairs.unwrap_or_default())
}

fn outputs(id: &str, fingerprint: Option<&str>) -> Attributes {
    Attributes::from_iter([("id".into(), json!(id)), ("fingerprint".into(), json!(fingerprint))])
}

fn observe(pair: &KeyPairInfo) -> Observed {
    let id = pair.key_pair_id().unwrap_or_default();
    let mut attributes = Attributes::from_iter([("name".into(), json!(pair.key_name()))]);
    // Not an empty set of tags, but none at all: an emulated cloud keeps none of key pairs, and that is no drift.
    if let Some(tags) = &pair.tags {
        attributes.insert("tags".into(), ec2::tags(tags));
    }
    if let Some(key) = pair.public_key().filter(|key| !key.is_empty()) {
        attributes.insert("public_key".into(), json!(bare_key(key)));
    }
    Observed { id: id.to_owned(), attributes, outputs: outputs(id, pair.key_fingerprint()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@home";

    #[test]
    fn keys_are_checked() {
        assert_eq!(check_key(KEY), Ok(()));
        let rsa = |bits: usize| {
            let mut blob = Vec::new();
            let mut modulus = vec![0xff_u8; bits / 8];
            modulus.insert(0, 0);
            for field in [RSA.as_bytes(), &[1, 0, 1], &modulus] {
                blob.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
                blob.extend(field);
            }
            format!("ssh-rsa {}", BASE64.encode(blob))
        };
        assert_eq!(check_key(&rsa(4096)), Ok(()));
        for (key, message) in [
            (rsa(3072).as_str(), "EC2 takes no RSA keys of 3072 bits"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "this is a private key"),
            ("ecdsa-sha2-nistp256 AAAA", "EC2 takes no keys of type `ecdsa-sha2-nistp256`"),
            ("keys/me.pub", "this is no public key in OpenSSH's format"),
            (&KEY[..40], "the public key is damaged"),
            ("ssh-rsa", "the public key is damaged"),
        ] {
            assert_eq!(check_key(key).unwrap_err().0, message);
        }
        assert_eq!(bare_key(KEY).split(' ').count(), 2);
    }
}
