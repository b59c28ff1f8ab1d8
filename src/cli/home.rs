//! What holds the states of all stacks: a directory, or a bucket that teams share.

use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use super::options::{CloudName, StackOptions};
use crate::aws::bucket::{Bucket, BucketAt};
use crate::state::{Directories, Home, ObjectHome};

/// Where a stack's state is kept: in the bucket that it names, or in the state directory. What is in the local cloud
/// concerns nobody else, and always stays in the directory.
///
/// # Errors
/// Where the bucket's URL is none.
pub fn of_stack(options: &StackOptions, url: Option<&str>, region: &str) -> Result<Arc<dyn Home>, Failure> {
    match url.filter(|_| options.cloud == CloudName::Aws) {
        Some(url) => bucket(url, region),
        None => Ok(directory(options)),
    }
}

/// The state directory.
pub fn directory(options: &StackOptions) -> Arc<dyn Home> {
    Arc::new(Directories::new(&options.state_directory()))
}

/// The place that somebody names: a directory, or a bucket's URL.
///
/// # Errors
/// Where it is neither.
pub fn named(place: &str, region: &str) -> Result<Arc<dyn Home>, Failure> {
    match place.contains("://") {
        true => bucket(place, region),
        false => Ok(Arc::new(Directories::new(Path::new(place)))),
    }
}

fn bucket(url: &str, region: &str) -> Result<Arc<dyn Home>, Failure> {
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = named("AWS_ENDPOINT_URL_S3").or_else(|| named("AWS_ENDPOINT_URL"));
    let at = BucketAt::parse(url, region, endpoint)
        .map_err(|why| Failure::new(why).help("write it as s3://bucket/prefix"))?;
    let prefix = at.prefix.clone();
    let bucket = Bucket::open(at).map_err(|e| Failure::new(format!("cannot reach {url}: {e}")))?;
    Ok(Arc::new(ObjectHome::new(Arc::new(bucket), &prefix)))
}
