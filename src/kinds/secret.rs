//! `secret`: a secret value in Secrets Manager.

use async_trait::async_trait;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry, Tag};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Actions, Kind, Tags, create_tags, gone_is_fine, in_order, is_owned, owned, spec, tag_changes, text, typed,
};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, STACK_TAG,
    UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, template};

/// A secret value in Secrets Manager, kept encrypted. Rotation is whoever's the value is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its name, or its path: `"web/database"`. Made from stack and address unless given.
    #[serde(default)]
    pub name: String,
    /// The value: `"${vars.password}"`, of a variable with `secret = true`. JSON in it can be read key by key.
    pub value: String,
    /// The key that it is encrypted with, by id, ARN or alias. The account's own key for secrets unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Days in which it can be had back after it was deleted, 7 to 30; 0: it is gone at once.
    #[serde(default = "seven")]
    pub recovery_days: u32,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

fn seven() -> u32 {
    7
}

/// The longest name ("CreateSecret").
const LONGEST: usize = 512;

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(name) = attributes.get("name").filter(|name| !template::is_unknown(name)).and_then(Value::as_str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
        if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            let help = "names of secrets have letters, digits and / _ + = . @ -";
            problems.push(Problem::at("name", format!("`{name}` holds `{bad}`")).help(help));
        }
        if name.len() > LONGEST {
            problems.push(Problem::at("name", format!("it has more than {LONGEST} characters")).help("shorten it"));
        }
        // AWS puts a hyphen and six characters behind the name: "CreateSecret" warns of such an end.
        let ends_as_arns_do = name.rsplit_once('-').is_some_and(|(_, end)| {
            end.len() == 6
                && end.chars().all(|c| c.is_ascii_alphanumeric())
                && end.chars().any(|c| c.is_ascii_uppercase())
        });
        if ends_as_arns_do {
            let message = format!("`{name}` ends as the ARNs of secrets do, which makes for mistakes");
            problems.push(Problem::at("name", message).help("end it otherwise than with a hyphen and six characters"));
        }
    }
    if let Some(days) = attributes.get("recovery_days").and_then(Value::as_u64)
        && days != 0
        && !(7..=30).contains(&days)
    {
        let message = format!("{days} days: AWS keeps what was deleted for 7 to 30");
        problems.push(Problem::at("recovery_days", message).help("write 0 to have it deleted at once"));
    }
    if text(attributes, "description").chars().count() > 2048 {
        problems.push(Problem::at("description", "it has more than 2048 characters").help("shorten it"));
    }
    problems
}

/// The kind `secret`.
pub struct SecretKind;

#[async_trait]
impl Kind for SecretKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name"],
            outputs: &["arn"],
            secrets: &["value"],
            write_only: &["recovery_days"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: LONGEST }),
            check,
            typical_seconds: 1,
            ..spec::<Secret>("secret", "secret")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["secretsmanager:DescribeSecret", "secretsmanager:ListSecrets"],
            create: &[
                "secretsmanager:CreateSecret",
                "secretsmanager:TagResource",
                "secretsmanager:RestoreSecret",
                "secretsmanager:UpdateSecret",
                "secretsmanager:DescribeSecret",
            ],
            update: &["secretsmanager:UpdateSecret", "secretsmanager:TagResource", "secretsmanager:UntagResource"],
            delete: &["secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        // Lists of secrets are minutes behind; each one's own description is not.
        let each = wanted.iter().map(|known| async {
            let found = describe(aws, &known.id).await?.filter(is_there);
            Ok::<_, CloudError>(found.map(|found| observe(&found, &known.attributes)))
        });
        Ok(in_order(wanted, try_join_all(each).await?.into_iter().flatten().collect()))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let found = listed(aws).await?;
        Ok(found
            .iter()
            .filter(|one| one.deleted_date().is_none())
            .filter_map(|one| owned::claimed(&aws.scope, one.name()?, &tags_of(one.tags())))
            .collect())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let found = describe(aws, text(wanted, "name")).await?.filter(is_there);
        let found = found.filter(|found| is_owned(wanted, &tags_of(found.tags())));
        Ok(found.map(|found| observe(&found, wanted)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let secret: Secret = typed(&request.attributes)?;
        let value = aws.reveal(&secret.value)?;
        let call = aws
            .secrets
            .create_secret()
            .name(&secret.name)
            .client_request_token(&request.token)
            .secret_string(value)
            .set_kms_key_id(secret.kms_key.clone())
            .set_description(secret.description.clone())
            .set_tags(Some(secret_tags(&create_tags(request))));
        match aws.calls.create("secretsmanager:CreateSecret", || call.clone().send()).await {
            Ok(answer) => Ok(Created { id: secret.name, outputs: outputs(answer.arn()) }),
            Err(error) if error.is(ErrorClass::Exists) || error.code == "InvalidRequestException" => {
                self.take_back(aws, request, &secret, error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let secret: Secret = typed(&request.after)?;
        if request.changed.iter().any(|name| name != "tags" && name != "recovery_days") {
            let value = request.changed.contains("value").then(|| aws.reveal(&secret.value)).transpose()?;
            put(aws, &request.id, &secret, value, &request.token).await?;
        }
        if request.changed.contains("tags") {
            let (set, removed) = tag_changes(request);
            tag(aws, &request.id, &set).await?;
            if !removed.is_empty() {
                let call =
                    || aws.secrets.untag_resource().secret_id(&request.id).set_tag_keys(Some(removed.clone())).send();
                aws.calls.write("secretsmanager:UntagResource", call).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let secret: Secret = typed(&known.attributes)?;
        let call = aws.secrets.delete_secret().secret_id(&known.id);
        let call = match secret.recovery_days {
            0 => call.force_delete_without_recovery(true),
            days => call.recovery_window_in_days(i64::from(days)),
        };
        let deleted = aws.calls.write("secretsmanager:DeleteSecret", || call.clone().send()).await;
        match gone_is_fine(deleted.map(|_| ())) {
            // One that was deleted already cannot be deleted again.
            Err(error) if error.code == "InvalidRequestException" => match describe(aws, &known.id).await? {
                Some(found) if is_there(&found) => Err(error),
                _ => Ok(()),
            },
            other => other,
        }
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase != Phase::Deleted {
            return Ok(Progress::Done(Attributes::new()));
        }
        Ok(match describe(aws, &known.id).await?.filter(is_there) {
            Some(_) => Progress::Pending("the secret to be gone".into()),
            None => Progress::Done(Attributes::new()),
        })
    }
}

impl SecretKind {
    /// What has the name already, if it is this resource's: one whose create was answered otherwise, or one that was
    /// deleted and can still be had back.
    async fn take_back(
        &self,
        aws: &Aws,
        request: &CreateRequest,
        secret: &Secret,
        error: CloudError,
    ) -> Result<Created, CloudError> {
        let Some(found) = describe(aws, &secret.name).await? else { return Err(error) };
        if !is_owned(&request.attributes, &tags_of(found.tags())) {
            return Err(match is_there(&found) {
                true => error,
                false => {
                    error.help("somebody deleted a secret of this name, and AWS still keeps it: give another name")
                }
            });
        }
        if !is_there(&found) {
            let call = || aws.secrets.restore_secret().secret_id(&secret.name).send();
            aws.calls.write("secretsmanager:RestoreSecret", call).await?;
        }
        put(aws, &secret.name, secret, Some(aws.reveal(&secret.value)?), &request.token).await?;
        tag(aws, &secret.name, &create_tags(request)).await?;
        Ok(Created { id: secret.name.clone(), outputs: outputs(found.arn()) })
    }
}

/// Changes what a secret is, and its value where one is given.
async fn put(aws: &Aws, id: &str, secret: &Secret, value: Option<&str>, token: &str) -> Result<(), CloudError> {
    let call = aws
        .secrets
        .update_secret()
        .secret_id(id)
        .client_request_token(token)
        .set_secret_string(value.map(str::to_owned))
        .set_kms_key_id(secret.kms_key.clone())
        .description(secret.description.as_deref().unwrap_or_default());
    aws.calls.write("secretsmanager:UpdateSecret", || call.clone().send()).await?;
    Ok(())
}

async fn tag(aws: &Aws, id: &str, tags: &Tags) -> Result<(), CloudError> {
    if !tags.is_empty() {
        let call = || aws.secrets.tag_resource().secret_id(id).set_tags(Some(secret_tags(tags))).send();
        aws.calls.write("secretsmanager:TagResource", call).await?;
    }
    Ok(())
}

/// A secret without its value, which nothing here ever asks for.
async fn describe(aws: &Aws, id: &str) -> Result<Option<DescribeSecretOutput>, CloudError> {
    match aws.calls.read("secretsmanager:DescribeSecret", || aws.secrets.describe_secret().secret_id(id).send()).await {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        found => found.map(Some),
    }
}

/// What of the account carries the stack's tag.
async fn listed(aws: &Aws) -> Result<Vec<SecretListEntry>, CloudError> {
    let by = |key: FilterNameStringType, value: &str| Filter::builder().key(key).values(value).build();
    let of_stack = by(FilterNameStringType::TagKey, STACK_TAG);
    let mut found = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let call = || {
            let call = aws.secrets.list_secrets().filters(of_stack.clone()).max_results(100);
            call.set_next_token(next.clone()).send()
        };
        let page = aws.calls.read("secretsmanager:ListSecrets", call).await?;
        found.extend(page.secret_list.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// Whether it is more than what AWS keeps of a deleted one.
fn is_there(found: &DescribeSecretOutput) -> bool {
    found.deleted_date().is_none()
}

fn outputs(arn: Option<&str>) -> Attributes {
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

fn observe(found: &DescribeSecretOutput, last: &Attributes) -> Observed {
    let name = found.name().unwrap_or_default();
    let tags = tags_of(found.tags());
    let mut attributes = Attributes::from_iter([("name".to_owned(), json!(name)), ("tags".to_owned(), json!(tags))]);
    let description = found.description().filter(|text| !text.is_empty());
    if description.is_some() || last.contains_key("description") {
        attributes.insert("description".to_owned(), json!(description));
    }
    // The account's own key is what a secret has where none was given.
    if last.contains_key("kms_key") {
        attributes.insert("kms_key".to_owned(), json!(found.kms_key_id()));
    }
    Observed { id: name.to_owned(), attributes, outputs: outputs(found.arn()) }
}

fn tags_of(tags: &[Tag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()))).collect()
}

fn secret_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told() {
        let told = |more: Value| {
            let mut attributes =
                json!({ "name": "web/login", "value": "(secret login)" }).as_object().cloned().unwrap();
            attributes.extend(more.as_object().cloned().unwrap());
            check(&attributes).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(told(json!({})), Vec::<String>::new());
        assert_eq!(told(json!({ "recovery_days": 0 })), Vec::<String>::new());
        assert_eq!(told(json!({ "recovery_days": 3 })), ["3 days: AWS keeps what was deleted for 7 to 30"]);
        assert_eq!(told(json!({ "name": "web login" })), ["`web login` holds ` `"]);
        assert_eq!(
            told(json!({ "name": "web-AbCdEf" })),
            ["`web-AbCdEf` ends as the ARNs of secrets do, which makes for mistakes"]
        );
    }
}
