//! The versions of launch templates: listed, made, pruned.

use std::collections::HashMap;

use aws_sdk_ec2::types::{LaunchTemplateVersion, RequestLaunchTemplateData};

use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass, UpdateRequest};

/// How many versions are kept; older ones are deleted when a new one is made.
const VERSIONS_KEPT: usize = 10;

/// How many templates or versions one page holds at most ("DescribeLaunchTemplates"). Said in every call, since an
/// emulator that is not told cuts off after fifteen.
pub const PER_PAGE: i32 = 200;

/// The default version of each of these templates, by template: one paged call for all templates of the account.
///
/// # Errors
/// Of `DescribeLaunchTemplateVersions`.
pub async fn defaults(aws: &Aws, ids: &[&str]) -> Result<HashMap<String, LaunchTemplateVersion>, CloudError> {
    let mut found = HashMap::new();
    if ids.len() > 1 {
        // An emulator that knows no such call answers that a template is not found; then it is asked for each.
        let all = unless_gone(list(aws, None, Some("$Default")).await)?;
        found.extend(all.into_iter().filter_map(|version| Some((version.launch_template_id()?.to_owned(), version))));
        found.retain(|id, _| ids.contains(&id.as_str()));
    }
    for id in ids {
        if !found.contains_key(*id) {
            let default = unless_gone(list(aws, Some(id), Some("$Default")).await)?;
            found.extend(default.into_iter().next().map(|version| ((*id).to_owned(), version)));
        }
    }
    Ok(found)
}

fn unless_gone(
    answer: Result<Vec<LaunchTemplateVersion>, CloudError>,
) -> Result<Vec<LaunchTemplateVersion>, CloudError> {
    match answer {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Versions of one template, or of all templates of the account: without an id, `$Default` asks for each one's default
/// ("DescribeLaunchTemplateVersions").
async fn list(aws: &Aws, id: Option<&str>, which: Option<&str>) -> Result<Vec<LaunchTemplateVersion>, CloudError> {
    let mut versions = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ec2:DescribeLaunchTemplateVersions", || {
                aws.ec2
                    .describe_launch_template_versions()
                    .set_launch_template_id(id.map(str::to_owned))
                    .set_versions(which.map(|which| vec![which.to_owned()]))
                    .max_results(PER_PAGE)
                    .set_next_token(next.clone())
                    .send()
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        versions.extend(page.launch_template_versions.unwrap_or_default());
        if next.is_none() {
            return Ok(versions);
        }
    }
}

/// Makes a version and gives its number; the token answers the same one when the call is sent again.
///
/// # Errors
/// Of `CreateLaunchTemplateVersion`.
pub async fn make(aws: &Aws, request: &UpdateRequest, data: RequestLaunchTemplateData) -> Result<i64, CloudError> {
    let answer = aws
        .calls
        .write("ec2:CreateLaunchTemplateVersion", || {
            aws.ec2
                .create_launch_template_version()
                .client_token(&request.token)
                .launch_template_id(&request.id)
                .launch_template_data(data.clone())
                .send()
        })
        .await?;
    answer.launch_template_version().and_then(LaunchTemplateVersion::version_number).ok_or_else(|| {
        CloudError::unexpected("ec2:CreateLaunchTemplateVersion", "the new version came back without its number")
    })
}

/// Deletes all but the newest versions. The change itself is made by now, and the next one tidies up what this one
/// could not: so a failure is no error, and the call is sent once.
pub async fn prune(aws: &Aws, id: &str, default: i64) {
    // Numbers only grow: up to this one there is nothing to look for.
    if default <= VERSIONS_KEPT as i64 {
        return;
    }
    let Ok(versions) = list(aws, Some(id), None).await else { return };
    let numbers = versions.iter().filter_map(LaunchTemplateVersion::version_number).collect();
    let old: Vec<String> = surplus(numbers, default).iter().map(i64::to_string).collect();
    // 200 a call ("DeleteLaunchTemplateVersions").
    for chunk in old.chunks(200) {
        let deleted = aws.calls.create("ec2:DeleteLaunchTemplateVersions", || {
            aws.ec2.delete_launch_template_versions().launch_template_id(id).set_versions(Some(chunk.to_vec())).send()
        });
        if deleted.await.is_err() {
            return;
        }
    }
}

/// The versions that are not among the newest, nor the default one.
fn surplus(mut numbers: Vec<i64>, default: i64) -> Vec<i64> {
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.into_iter().skip(VERSIONS_KEPT).filter(|number| *number != default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_versions_and_the_default_one_are_kept() {
        assert_eq!(surplus((1..=12).collect(), 12), [2, 1]);
        assert_eq!(surplus((1..=12).collect(), 1), [2]);
        assert!(surplus((1..=10).collect(), 10).is_empty());
    }
}
