//! The releases of a service: the revisions of its family that can be gone back to.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde::Serialize;

use super::{Service, Status, moment, revision_of, tasks};
use crate::aws::Aws;
use crate::cloud::CloudError;
use crate::kinds::revisions;

/// A revision of a service's family.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Release {
    /// Its number.
    pub revision: u64,
    /// Its ARN.
    pub arn: String,
    /// When it was registered, RFC 3339.
    pub registered: Option<String>,
    /// Images by container.
    pub images: BTreeMap<String, String>,
    /// What the images' names stand for, by container: as the image says, or as tasks that run it found.
    pub image_digests: BTreeMap<String, String>,
    /// The digest of all that the revision says; the same for revisions that are the same.
    pub digest: Option<String>,
    /// How many tasks of it run.
    pub running: usize,
    /// Whether it is what the service is set to.
    pub current: bool,
}

/// The ARNs of the active revisions of a service's family, newest first.
///
/// # Errors
/// Of `ListTaskDefinitions`.
pub async fn release_numbers(aws: &Aws, service: &Service<'_>) -> Result<Vec<String>, CloudError> {
    revisions::newest(aws, service.family()).await
}

/// The releases of a service, newest first, at most so many. `set_to` is the revision that it is set to.
///
/// # Errors
/// Of the calls that it takes.
pub async fn releases(aws: &Aws, service: &Service<'_>, set_to: &str, most: usize) -> Result<Vec<Release>, CloudError> {
    let newest: Vec<String> = release_numbers(aws, service).await?.into_iter().take(most).collect();
    let running = tasks(aws, service.cluster(), service.name(), Status::Running).await?;
    let described = try_join_all(newest.iter().map(|arn| revisions::describe(aws, arn))).await?;
    let mut out = Vec::new();
    for (arn, (revision, tags)) in newest.iter().zip(described).filter_map(|(arn, one)| Some((arn, one?))) {
        let number = revision_of(arn).unwrap_or_default();
        let own = || running.iter().filter(|task| task.revision == Some(number) && task.status == "RUNNING");
        let images: BTreeMap<String, String> = revision
            .container_definitions()
            .iter()
            .map(|one| (one.name().unwrap_or_default().to_owned(), one.image().unwrap_or_default().to_owned()))
            .collect();
        let said = images.iter().filter_map(|(name, image)| Some((name.clone(), image.split_once('@')?.1.to_owned())));
        let found = own().flat_map(|task| &task.containers);
        let found = found.filter_map(|one| Some((one.name.clone(), one.digest.clone()?)));
        out.push(Release {
            revision: number,
            arn: arn.clone(),
            registered: moment(revision.registered_at()),
            image_digests: found.chain(said).collect(),
            images,
            digest: tags.get(revisions::DIGEST_TAG).cloned(),
            running: own().count(),
            current: arn == set_to,
        });
    }
    Ok(out)
}
