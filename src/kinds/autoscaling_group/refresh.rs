//! Instance refreshes: running instances are replaced by ones of the new launch template.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_autoscaling::types::{InstanceRefresh as Refresh, InstanceRefreshStatus, RefreshPreferences};

use super::attributes::InstanceRefresh;
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass, Progress};
use crate::graph::Attributes;

/// The refreshes that updates of this process started, by group: what `poll` has to wait for. An update that starts
/// none has nothing to wait for, whatever else goes on in the group.
#[derive(Default)]
pub struct Started {
    by_group: Mutex<HashMap<String, String>>,
}

impl Started {
    fn get(&self, group: &str) -> Option<String> {
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    /// Starts a refresh of a group to what the group is set to by now.
    ///
    /// # Errors
    /// [`ErrorClass::NotYet`] while an earlier refresh is being cancelled; those of `StartInstanceRefresh`.
    pub async fn start(&self, aws: &Aws, group: &str, how: &InstanceRefresh) -> Result<(), CloudError> {
        let started = aws
            .calls
            .write("autoscaling:StartInstanceRefresh", || {
                aws.autoscaling
                    .start_instance_refresh()
                    .auto_scaling_group_name(group)
                    .preferences(preferences(how))
                    .send()
            })
            .await;
        let id = match started {
            Ok(answer) => answer.instance_refresh_id.unwrap_or_default(),
            Err(error) if error.code == "InstanceRefreshInProgress" => return self.make_way(aws, group).await,
            Err(error) => return Err(error),
        };
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned(), id);
        Ok(())
    }

    /// Another refresh runs. One of this very update is what is wanted; an older one replaces instances by what is
    /// outdated now, and has to go first.
    async fn make_way(&self, aws: &Aws, group: &str) -> Result<(), CloudError> {
        let running = describe(aws, group, None).await?.into_iter().find(|refresh| !is_over(refresh));
        let Some(running) = running else {
            return Err(not_yet(group, "is ending"));
        };
        if running.instance_refresh_id.is_some() && running.instance_refresh_id == self.get(group) {
            return Ok(());
        }
        let cancelled = aws
            .calls
            .write("autoscaling:CancelInstanceRefresh", || {
                aws.autoscaling.cancel_instance_refresh().auto_scaling_group_name(group).send()
            })
            .await;
        match cancelled {
            Err(error) if error.code != "ActiveInstanceRefreshNotFound" => Err(error),
            _ => Err(not_yet(group, "is being cancelled")),
        }
    }

    /// How far the refresh is that was started for a group.
    ///
    /// # Errors
    /// Where it failed, with AWS's reason.
    pub async fn watch(&self, aws: &Aws, group: &str) -> Result<Progress, CloudError> {
        let Some(id) = self.get(group) else { return Ok(Progress::Done(Attributes::new())) };
        let found = describe(aws, group, Some(&id)).await?;
        let progress = progress(group, found.first());
        if !matches!(progress, Ok(Progress::Pending(_))) {
            self.by_group.lock().unwrap_or_else(PoisonError::into_inner).remove(group);
        }
        progress
    }
}

fn preferences(how: &InstanceRefresh) -> RefreshPreferences {
    RefreshPreferences::builder()
        .min_healthy_percentage(how.min_healthy_percent)
        .set_max_healthy_percentage(how.max_healthy_percent)
        .set_instance_warmup(how.warmup_seconds)
        .skip_matching(how.skip_matching)
        // Instances of a capacity provider are protected from scale-in while tasks run on them; a refresh that waited
        // for their protection to end would wait for an hour and then fail ("RefreshPreferences").
        .scale_in_protected_instances(aws_sdk_autoscaling::types::ScaleInProtectedInstances::Refresh)
        .build()
}

async fn describe(aws: &Aws, group: &str, id: Option<&str>) -> Result<Vec<Refresh>, CloudError> {
    let ids = id.map(|id| vec![id.to_owned()]);
    // The newest come first; what runs is among them, so one page is enough.
    let page = aws
        .calls
        .read("autoscaling:DescribeInstanceRefreshes", || {
            aws.autoscaling
                .describe_instance_refreshes()
                .auto_scaling_group_name(group)
                .set_instance_refresh_ids(ids.clone())
                .send()
        })
        .await?;
    Ok(page.instance_refreshes.unwrap_or_default())
}

fn is_over(refresh: &Refresh) -> bool {
    use InstanceRefreshStatus::{Cancelled, Failed, RollbackFailed, RollbackSuccessful, Successful};
    matches!(refresh.status(), Some(Successful | Failed | Cancelled | RollbackSuccessful | RollbackFailed))
}

fn progress(group: &str, refresh: Option<&Refresh>) -> Result<Progress, CloudError> {
    let Some(refresh) = refresh else { return Ok(Progress::Pending("instance refresh starts".into())) };
    let percent = refresh.percentage_complete().unwrap_or_default();
    if !is_over(refresh) {
        return Ok(Progress::Pending(format!("instance refresh {percent} %")));
    }
    let status = refresh.status().map_or("", InstanceRefreshStatus::as_str);
    if status == InstanceRefreshStatus::Successful.as_str() {
        return Ok(Progress::Done(Attributes::new()));
    }
    let reason = refresh.status_reason().unwrap_or("AWS gives no reason");
    let message = format!("the instance refresh of `{group}` ended as {status} at {percent} %: {reason}");
    Err(CloudError::new(ErrorClass::Refused, "autoscaling:StartInstanceRefresh", status, message)
        .help("mend what the reason says, change the launch template (which starts a new refresh), and apply again"))
}

fn not_yet(group: &str, what: &str) -> CloudError {
    let message = format!("an earlier instance refresh of `{group}` {what}");
    CloudError::new(ErrorClass::NotYet, "autoscaling:StartInstanceRefresh", "InstanceRefreshInProgress", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_is_told_by_percent_and_a_failed_one_by_its_reason() {
        let refresh =
            |status| Refresh::builder().status(status).percentage_complete(40).status_reason("no capacity").build();
        let told = |status| progress("web", Some(&refresh(status)));
        assert_eq!(told(InstanceRefreshStatus::InProgress), Ok(Progress::Pending("instance refresh 40 %".into())));
        assert_eq!(told(InstanceRefreshStatus::Successful), Ok(Progress::Done(Attributes::new())));
        for status in [InstanceRefreshStatus::Failed, InstanceRefreshStatus::Cancelled] {
            let error = told(status).unwrap_err();
            assert!(error.is(ErrorClass::Refused) && error.message.contains("no capacity"), "{error}");
        }
    }
}
