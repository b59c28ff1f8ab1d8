//! What holds the states of all stacks: a directory, or a bucket that teams share.

use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::failure::Failure;
use super::options::{CloudName, StackOptions};
use crate::aws::bucket::{Bucket, BucketAt};
use crate::plan::Plan;
use crate::stack::StateAt;
use crate::state::{Directories, Home, Keys, ObjectHome, Opener, SealedHome};

/// Where a stack's state is kept: in the bucket that it names, or in the state directory; encrypted if it says so. What is
/// in the local cloud concerns nobody else, and always stays in the directory, in plain.
///
/// # Errors
/// Where the bucket's URL is none, or the user's keys cannot be read.
pub fn of_stack(options: &StackOptions, at: &StateAt, region: &str) -> Result<Arc<dyn Home>, Failure> {
    match at.url.as_deref().filter(|_| options.cloud == CloudName::Aws) {
        Some(url) => encrypted(bucket(url, region)?, options, at),
        None => directory(options, at),
    }
}

/// The state directory.
///
/// # Errors
/// Where the user's keys cannot be read.
pub fn directory(options: &StackOptions, at: &StateAt) -> Result<Arc<dyn Home>, Failure> {
    encrypted(Arc::new(Directories::new(&options.state_directory())), options, at)
}

/// The place that somebody names: a directory, or a bucket's URL.
///
/// # Errors
/// Where it is neither, or the user's keys cannot be read.
pub fn named(place: &str, options: &StackOptions, at: &StateAt, region: &str) -> Result<Arc<dyn Home>, Failure> {
    let home: Arc<dyn Home> = match place.contains("://") {
        true => bucket(place, region)?,
        false => Arc::new(Directories::new(Path::new(place))),
    };
    encrypted(home, options, at)
}

/// The same place, to read in plain what was encrypted there for somebody whom the stack names no more.
///
/// # Errors
/// Where the user's keys cannot be read.
pub fn once_encrypted(home: Arc<dyn Home>) -> Result<Arc<dyn Home>, Failure> {
    Ok(Arc::new(SealedHome::new(home, Arc::new(Keys::only_open(opener()?)))))
}

/// The keys that encrypt what a stack has kept, and open it; `None` where it is kept in plain.
///
/// # Errors
/// Where the user's identity file cannot be read.
pub fn keys(options: &StackOptions, at: &StateAt) -> Result<Option<Keys>, Failure> {
    let Some(encrypt) = at.encrypt.clone().filter(|_| options.cloud == CloudName::Aws) else { return Ok(None) };
    Ok(Some(Keys::new(encrypt, opener()?)))
}

/// A saved plan, encrypted or not.
///
/// # Errors
/// Where there is none in the file, or it is encrypted for somebody else.
pub fn saved_plan(path: &Path) -> Result<Plan, Failure> {
    Ok(Plan::load(path, &opener()?)?)
}

/// What the user opens encrypted states and plans with.
fn opener() -> Result<Opener, Failure> {
    let identities = variable(IDENTITY).map(|path| {
        let text = std::fs::read_to_string(&path).map(SecretString::from);
        text.map_err(|e| {
            Failure::new(format!("cannot read {path}: {e}"))
                .help(format!("{IDENTITY} is to name an identity file of age, as `age-keygen` writes it"))
        })
    });
    let identities = identities.transpose()?;
    let passphrase = variable(PASSPHRASE).map(SecretString::from);
    Opener::new(identities.as_ref().map(ExposeSecret::expose_secret), passphrase).map_err(|why| {
        Failure::new(format!("the file that {IDENTITY} names is no identity file of age: {why}"))
            .help("`age-keygen -o FILE` makes one")
    })
}

const IDENTITY: &str = "COFFERDAM_STATE_IDENTITY";
const PASSPHRASE: &str = "COFFERDAM_STATE_PASSPHRASE";

fn encrypted(home: Arc<dyn Home>, options: &StackOptions, at: &StateAt) -> Result<Arc<dyn Home>, Failure> {
    Ok(match keys(options, at)? {
        Some(keys) => Arc::new(SealedHome::new(home, Arc::new(keys))),
        None => home,
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn bucket(url: &str, region: &str) -> Result<Arc<dyn Home>, Failure> {
    let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    let at = BucketAt::parse(url, region, endpoint)
        .map_err(|why| Failure::new(why).help("write it as s3://bucket/prefix"))?;
    let prefix = at.prefix.clone();
    let bucket = Bucket::open(at).map_err(|e| Failure::new(format!("cannot reach {url}: {e}")))?;
    Ok(Arc::new(ObjectHome::new(Arc::new(bucket), &prefix)))
}
