//! The revisions of a family: registered, told apart by a digest, listed, retired.

use std::collections::HashSet;

use aws_sdk_ecs::types::{SortOrder, TaskDefinition as Revision, TaskDefinitionField, TaskDefinitionStatus};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{TaskDefinition, observe, request};
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass, STACK_TAG};
use crate::kinds::{Tags, ecs, gone_is_fine, untyped};

/// The tag that holds the digest of a revision's canonical form.
pub const DIGEST_TAG: &str = "cofferdam:digest";

/// How many revisions of a family are looked at to find one.
pub const LOOKED_AT: usize = 5;

/// How many inactive revisions of a family are looked at for what a run deregistered and did not come to delete.
const INACTIVE_LOOKED_AT: usize = 100;

/// How many inactive revisions one delete call takes ("DeleteTaskDefinitions").
const DELETED_A_CALL: usize = 10;

/// A digest of everything that a revision holds; tags and the keep rule are none of it.
pub fn digest(definition: &TaskDefinition) -> String {
    let mut attributes = untyped(definition);
    attributes.retain(|name, _| !matches!(name.as_str(), "tags" | "keep_revisions"));
    let digest = Sha256::digest(Value::Object(attributes).to_string());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a revision holds what this definition says. Its digest says so; where it has none, or one that another version
/// made, its contents do.
pub fn is(revision: &Revision, tags: &Tags, aws: &Aws, definition: &TaskDefinition) -> bool {
    let wanted = digest(definition);
    tags.get(DIGEST_TAG) == Some(&wanted) || {
        let mut found = observe::definition(revision, &aws.scope.region);
        found.normalize();
        digest(&found) == wanted
    }
}

/// Registers a revision. The call makes one each time it is sent: where its answer is lost, it is not sent again.
pub async fn register(aws: &Aws, definition: &TaskDefinition, tags: &Tags) -> Result<Revision, CloudError> {
    let mut tags = tags.clone();
    tags.insert(DIGEST_TAG.to_owned(), digest(definition));
    let call = request::register(aws, definition)?.set_tags(Some(ecs::ecs_tags(&tags)));
    let answer = aws.calls.create("ecs:RegisterTaskDefinition", || call.clone().send()).await?;
    answer
        .task_definition
        .ok_or_else(|| CloudError::unexpected("ecs:RegisterTaskDefinition", "the answer holds no task definition"))
}

/// An active revision by ARN, or the newest of a family, with its tags. A revision that was deregistered stays visible by
/// its ARN, and is none of these.
pub async fn describe(aws: &Aws, id: &str) -> Result<Option<(Revision, Tags)>, CloudError> {
    let active = |(revision, _): &(Revision, Tags)| revision.status() == Some(&TaskDefinitionStatus::Active);
    Ok(described(aws, id).await?.filter(active))
}

async fn described(aws: &Aws, id: &str) -> Result<Option<(Revision, Tags)>, CloudError> {
    let found = aws
        .calls
        .read("ecs:DescribeTaskDefinition", || {
            aws.ecs.describe_task_definition().task_definition(id).include(TaskDefinitionField::Tags).send()
        })
        .await;
    let answer = match found {
        Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
        other => other?,
    };
    let tags = answer.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()))).collect();
    Ok(answer.task_definition.map(|revision| (revision, tags)))
}

/// The newest active revision of a family that is wanted by its tags. Anybody may register revisions of a family: where
/// the newest is somebody else's, some before it are looked at.
pub async fn newest_of(
    aws: &Aws,
    family: &str,
    is_wanted: impl Fn(&Tags) -> bool,
) -> Result<Option<(Revision, Tags)>, CloudError> {
    let Some((revision, tags)) = describe(aws, family).await? else { return Ok(None) };
    if is_wanted(&tags) {
        return Ok(Some((revision, tags)));
    }
    let seen = revision.task_definition_arn().unwrap_or_default();
    let older = newest(aws, family).await?;
    first_of(aws, older.iter().filter(|arn| *arn != seen), is_wanted).await
}

/// Whether one of the newest revisions of a family that were deregistered is wanted by its tags.
pub async fn was_of(aws: &Aws, family: &str, is_wanted: impl Fn(&Tags) -> bool) -> Result<bool, CloudError> {
    let old = of_family(aws, family, TaskDefinitionStatus::Inactive).await?;
    Ok(first_of(aws, old.iter(), is_wanted).await?.is_some())
}

async fn first_of(
    aws: &Aws,
    arns: impl Iterator<Item = &String>,
    is_wanted: impl Fn(&Tags) -> bool,
) -> Result<Option<(Revision, Tags)>, CloudError> {
    for arn in arns.take(LOOKED_AT) {
        if let Some((revision, tags)) = described(aws, arn).await?
            && is_wanted(&tags)
        {
            return Ok(Some((revision, tags)));
        }
    }
    Ok(None)
}

/// Which of these revisions are active. There is no call that describes many: revisions of the whole account are listed
/// by hundreds, as far as that takes fewer calls than asking for each.
pub async fn listed(aws: &Aws, arns: &[&str]) -> Result<HashSet<String>, CloudError> {
    let mut found = HashSet::new();
    if arns.len() < 2 {
        return Ok(found);
    }
    let mut next = None;
    for _ in 0..arns.len() {
        let page = aws
            .calls
            .read("ecs:ListTaskDefinitions", || {
                aws.ecs
                    .list_task_definitions()
                    .status(TaskDefinitionStatus::Active)
                    .sort(SortOrder::Desc)
                    .set_next_token(next.clone())
                    .send()
            })
            .await?;
        found.extend(page.task_definition_arns().iter().filter(|arn| arns.contains(&arn.as_str())).cloned());
        next = page.next_token;
        if next.is_none() || found.len() == arns.len() {
            break;
        }
    }
    Ok(found)
}

/// The families that have active revisions.
pub async fn families(aws: &Aws) -> Result<Vec<String>, CloudError> {
    use aws_sdk_ecs::types::TaskDefinitionFamilyStatus::Active;
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || aws.ecs.list_task_definition_families().status(Active).set_next_token(next.clone()).send();
        let page = aws.calls.read("ecs:ListTaskDefinitionFamilies", call).await?;
        found.extend(page.families.unwrap_or_default());
        next = page.next_token.filter(|token: &String| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// The active revisions of a family, newest first, by ARN.
pub async fn newest(aws: &Aws, family: &str) -> Result<Vec<String>, CloudError> {
    of_family(aws, family, TaskDefinitionStatus::Active).await
}

async fn of_family(aws: &Aws, family: &str, status: TaskDefinitionStatus) -> Result<Vec<String>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ecs:ListTaskDefinitions", || {
                aws.ecs
                    .list_task_definitions()
                    .family_prefix(family)
                    .status(status.clone())
                    .sort(SortOrder::Desc)
                    .set_next_token(next.clone())
                    .send()
            })
            .await?;
        found.extend(page.task_definition_arns.unwrap_or_default());
        next = page.next_token;
        if next.is_none() {
            break;
        }
    }
    // Emulators take the family as a mere prefix, and sort otherwise.
    let revision = |arn: &str| {
        let (name, number) = arn.rsplit('/').next()?.rsplit_once(':')?;
        (name == family).then(|| number.parse::<u64>().ok()).flatten()
    };
    found.retain(|arn| revision(arn).is_some());
    found.sort_by_key(|arn| std::cmp::Reverse(revision(arn)));
    Ok(found)
}

/// Deregisters all but the newest revisions that were made by this tool and deletes what is deregistered; what somebody else
/// registered in the family stays. Tasks of a revision run on, and services that use it go on using it, until they are
/// updated ("DeregisterTaskDefinition").
pub async fn retire(aws: &Aws, family: &str, keep: usize) -> Result<(), CloudError> {
    let active = newest(aws, family).await?;
    let old: Vec<String> = match active.len() > keep {
        true => made(aws, &active).await?.into_iter().skip(keep).collect(),
        false => Vec::new(),
    };
    for arn in &old {
        let deregistered = aws
            .calls
            .write("ecs:DeregisterTaskDefinition", || aws.ecs.deregister_task_definition().task_definition(arn).send())
            .await;
        gone_is_fine(deregistered.map(|_| ()))?;
    }
    // What was deregistered before a crash is deleted, too.
    let inactive = match keep {
        0 => {
            let mut inactive = of_family(aws, family, TaskDefinitionStatus::Inactive).await?;
            inactive.truncate(INACTIVE_LOOKED_AT);
            made(aws, &inactive).await?
        }
        _ => old,
    };
    for some in inactive.chunks(DELETED_A_CALL) {
        let call = || aws.ecs.delete_task_definitions().set_task_definitions(Some(some.to_vec())).send();
        aws.calls.write("ecs:DeleteTaskDefinitions", call).await?;
    }
    Ok(())
}

/// Which of these revisions this tool made, by their tags: in whatever stack and under whatever address.
async fn made(aws: &Aws, arns: &[String]) -> Result<Vec<String>, CloudError> {
    let mut made = Vec::new();
    for arn in arns {
        if described(aws, arn).await?.is_some_and(|(_, tags)| tags.contains_key(STACK_TAG)) {
            made.push(arn.clone());
        }
    }
    Ok(made)
}
