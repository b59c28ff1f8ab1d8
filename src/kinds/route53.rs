//! What the Route 53 kinds share: names in their canonical form, zones, listings of records, and changes of a zone's
//! records, which are sent together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_route53::operation::get_hosted_zone::GetHostedZoneOutput;
use aws_sdk_route53::operation::list_resource_record_sets::ListResourceRecordSetsOutput;
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecordSet, RrType};
use tokio::sync::{OnceCell, oneshot};

use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass, Progress};
use crate::graph::Attributes;

/// How many records one page of a listing holds at most ("ListResourceRecordSets": 300).
pub const PAGE: i32 = 300;

/// The id that references use, `Z0123`, of what the API calls `/hostedzone/Z0123`.
pub fn bare_id(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// A domain name as attributes hold it: lower case, without the last dot, `*` as itself, other characters that are no
/// letter, digit, `-`, `_` or `.` as octal escapes ("DNS domain name format").
pub fn canonical_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.trim_end_matches('.').replace("\\052", "*").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'\\' | b'@' => {
                out.push(byte.to_ascii_lowercase().into());
            }
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out
}

/// The name of a record in full: `www` in the zone `myorg.local` is `www.myorg.local`, and `@` is the zone's own name.
/// A name that ends in the zone's name, or in a dot, is full already.
pub fn full_name(name: &str, zone: &str) -> String {
    let zone = canonical_name(zone);
    let canonical = canonical_name(name);
    let within = canonical == zone || canonical.ends_with(&format!(".{zone}"));
    if name == "@" || name.is_empty() {
        zone
    } else if within || name.ends_with('.') {
        canonical
    } else {
        format!("{canonical}.{zone}")
    }
}

/// A zone with its networks and name servers; `None` where it is gone.
///
/// # Errors
/// Of `GetHostedZone`.
pub async fn zone(aws: &Aws, id: &str) -> Result<Option<GetHostedZoneOutput>, CloudError> {
    match aws.calls.read("route53:GetHostedZone", || aws.route53.get_hosted_zone().id(id).send()).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of zones that were asked for, each once.
#[derive(Default)]
struct ZoneNames(Mutex<HashMap<String, Arc<OnceCell<String>>>>);

/// The name of a zone; asked once a zone.
///
/// # Errors
/// Of `GetHostedZone`, and where there is no such zone.
pub async fn zone_name(aws: &Aws, id: &str) -> Result<String, CloudError> {
    let names = aws.once(|| async { Ok(ZoneNames::default()) }).await?;
    let slot = names.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default().clone();
    let name = slot
        .get_or_try_init(|| async {
            let found = zone(aws, id).await?.and_then(|answer| answer.hosted_zone);
            found.map(|zone| canonical_name(&zone.name)).ok_or_else(|| {
                let message = format!("there is no hosted zone `{id}`");
                CloudError::new(ErrorClass::NotFound, "route53:GetHostedZone", "NoSuchHostedZone", message)
            })
        })
        .await?;
    Ok(name.clone())
}

/// A page of a zone's records, beginning with the first one at or after this name, type and set identifier.
///
/// # Errors
/// Of `ListResourceRecordSets`.
pub async fn records_from(
    aws: &Aws,
    zone: &str,
    start: Option<(&str, &RrType, Option<&str>)>,
) -> Result<ListResourceRecordSetsOutput, CloudError> {
    let (name, kind, set) = match start {
        Some((name, kind, set)) => (Some(name.to_owned()), Some(kind.clone()), set.map(str::to_owned)),
        None => (None, None, None),
    };
    aws.calls
        .read("route53:ListResourceRecordSets", || {
            aws.route53
                .list_resource_record_sets()
                .hosted_zone_id(zone)
                .set_start_record_name(name.clone())
                .set_start_record_type(kind.clone())
                .set_start_record_identifier(set.clone())
                .max_items(PAGE)
                .send()
        })
        .await
}

/// Every record of a zone but the two that it always has, the name servers and the authority of its own name.
///
/// # Errors
/// Of `ListResourceRecordSets`.
pub async fn own_records(aws: &Aws, zone: &str, zone_name: &str) -> Result<Vec<ResourceRecordSet>, CloudError> {
    let mut all = Vec::new();
    let mut page = records_from(aws, zone, None).await?;
    loop {
        all.extend(page.resource_record_sets.into_iter().filter(|record| {
            let apex = canonical_name(&record.name) == canonical_name(zone_name);
            !(apex && matches!(record.r#type, RrType::Ns | RrType::Soa))
        }));
        match (page.is_truncated, page.next_record_name, page.next_record_type) {
            (true, Some(name), Some(kind)) => {
                page = records_from(aws, zone, Some((&name, &kind, page.next_record_identifier.as_deref()))).await?;
            }
            _ => return Ok(all),
        }
    }
}

/// How many records one call changes at most. A call takes 1000 values, and counts one that is upserted twice
/// ("Quotas on ChangeResourceRecordSets API requests").
const BATCH_VALUES: usize = 450;

/// Sends changes of one zone's records; all of them are made or none. Gives the id of the change.
///
/// # Errors
/// Of `ChangeResourceRecordSets`.
pub async fn change_records(aws: &Aws, zone: &str, changes: &[Change]) -> Result<String, CloudError> {
    let batch = ChangeBatch::builder()
        .set_changes(Some(changes.to_vec()))
        .build()
        .map_err(|e| CloudError::unexpected("route53:ChangeResourceRecordSets", e.to_string()))?;
    let answer = aws
        .calls
        .write("route53:ChangeResourceRecordSets", || {
            aws.route53.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch.clone()).send()
        })
        .await?;
    Ok(answer.change_info.map(|info| bare_id(&info.id).to_owned()).unwrap_or_default())
}

/// Removes these records from a zone.
///
/// # Errors
/// Of `ChangeResourceRecordSets`.
pub async fn remove_records(aws: &Aws, zone: &str, records: Vec<ResourceRecordSet>) -> Result<(), CloudError> {
    let changes =
        records.into_iter().map(|record| change_of(ChangeAction::Delete, record)).collect::<Result<Vec<_>, _>>()?;
    for chunk in chunks(&changes) {
        change_records(aws, zone, chunk).await?;
    }
    Ok(())
}

/// A change of one record.
///
/// # Errors
/// None in practice: everything that the builder needs is given.
pub fn change_of(action: ChangeAction, record: ResourceRecordSet) -> Result<Change, CloudError> {
    Change::builder()
        .action(action)
        .resource_record_set(record)
        .build()
        .map_err(|e| CloudError::unexpected("route53:ChangeResourceRecordSets", e.to_string()))
}

fn values(change: &Change) -> usize {
    change.resource_record_set().map_or(1, |record| record.resource_records().len().max(1))
}

/// Changes in groups of which each fits into one call.
fn chunks(changes: &[Change]) -> Vec<&[Change]> {
    let mut out = Vec::new();
    let (mut from, mut size) = (0, 0);
    for (at, change) in changes.iter().enumerate() {
        if at > from && size + values(change) > BATCH_VALUES {
            out.push(&changes[from..at]);
            (from, size) = (at, 0);
        }
        size += values(change);
    }
    if from < changes.len() {
        out.push(&changes[from..]);
    }
    out
}

/// How long the first change of a zone waits for others to go with it. Route 53 takes five calls a second from an
/// account, and one change of a zone at a time; a hundred records sent one by one would take most of a minute.
const GATHER: Duration = Duration::from_millis(25);

type Answer = oneshot::Sender<Result<String, CloudError>>;

/// Changes of records that wait to be sent, by zone; and those that were sent and are not everywhere yet.
#[derive(Default)]
pub struct Changes {
    waiting: Mutex<HashMap<String, Vec<(Change, Answer)>>>,
    sent: Mutex<HashMap<String, String>>,
    in_sync: Mutex<std::collections::HashSet<String>>,
}

impl Changes {
    /// Changes one record, in one call with the others of its zone that are changed at the same time.
    ///
    /// # Errors
    /// Of `ChangeResourceRecordSets` for this record.
    pub async fn submit(&self, aws: &Aws, zone: &str, change: Change) -> Result<String, CloudError> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            let first = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let queue = waiting.entry(zone.to_owned()).or_default();
                queue.push((change.clone(), answer));
                queue.len() == 1
            };
            if first {
                tokio::time::sleep(GATHER).await;
                self.send(aws, zone).await;
            }
            // Whoever gathered may have been cancelled: then what it left is sent by the first who notices.
            loop {
                match tokio::time::timeout(GATHER * 4, &mut answered).await {
                    Ok(Ok(result)) => return result,
                    Ok(Err(_)) => break,
                    Err(_) => self.send(aws, zone).await,
                }
            }
        }
    }

    /// Sends what waits for a zone.
    async fn send(&self, aws: &Aws, zone: &str) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(zone).unwrap_or_default();
        let (changes, answers): (Vec<Change>, Vec<Answer>) = waiting.into_iter().unzip();
        let mut answers = answers.into_iter();
        for chunk in chunks(&changes) {
            let sent = change_records(aws, zone, chunk).await;
            // One bad record spoils its whole call: each is then sent by itself, to find the one.
            let alone = chunk.len() > 1 && sent.as_ref().is_err_and(|error| error.is(ErrorClass::Refused));
            for (change, answer) in chunk.iter().zip(answers.by_ref()) {
                let result = match alone {
                    true => change_records(aws, zone, std::slice::from_ref(change)).await,
                    false => sent.clone(),
                };
                // Whoever asked may be gone; the change is made nevertheless.
                let _ = answer.send(result);
            }
        }
    }

    /// Remembers which change brought a resource to where it shall be, for [`Changes::poll`].
    pub fn remember(&self, id: &str, change: String) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), change);
    }

    /// Whether the last change of a resource has reached all name servers. What an earlier run changed is taken as done:
    /// it takes Route 53 a minute at most.
    ///
    /// # Errors
    /// Of `GetChange`.
    pub async fn poll(&self, aws: &Aws, id: &str) -> Result<Progress, CloudError> {
        let lock =
            |set: &Mutex<HashMap<String, String>>| set.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let done = Ok(Progress::Done(Attributes::new()));
        let Some(change) = lock(&self.sent).filter(|change| !change.is_empty()) else { return done };
        // Many records share one change; it is asked for until it is through, and then no more.
        if self.in_sync.lock().unwrap_or_else(PoisonError::into_inner).contains(&change) {
            return done;
        }
        let answer = aws.calls.read("route53:GetChange", || aws.route53.get_change().id(&change).send()).await;
        match answer {
            Ok(answer) if answer.change_info().is_none_or(|info| info.status == ChangeStatus::Insync) => {}
            Ok(_) => return Ok(Progress::Pending("the change to reach all name servers".to_owned())),
            // Route 53 forgets changes after a while.
            Err(error) if error.code == "NoSuchChange" => {}
            Err(error) => return Err(error),
        }
        self.in_sync.lock().unwrap_or_else(PoisonError::into_inner).insert(change);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for name in ["*.MyOrg.local.", "\\052.myorg.local", "*.myorg.local"] {
            assert_eq!(canonical_name(name), "*.myorg.local");
        }
        assert_eq!(canonical_name("0/25.2.0.192.in-addr.arpa."), "0\\05725.2.0.192.in-addr.arpa");
        assert_eq!(canonical_name("0\\05725.2.0.192.in-addr.arpa"), "0\\05725.2.0.192.in-addr.arpa");
    }

    #[test]
    fn names_are_joined_to_the_zone() {
        let full = |name| full_name(name, "myorg.local.");
        assert_eq!(full("www"), "www.myorg.local");
        assert_eq!(full("@"), "myorg.local");
        assert_eq!(full("a.b"), "a.b.myorg.local");
        assert_eq!(full("WWW.myorg.local"), "www.myorg.local");
        assert_eq!(full("notmyorg.local"), "notmyorg.local.myorg.local");
        assert_eq!(full("www.other.org."), "www.other.org");
    }
}
