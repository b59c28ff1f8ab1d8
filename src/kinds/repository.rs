//! `repository`: where container images are kept (ECR).

use async_trait::async_trait;
use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType, ImageScanningConfiguration, ImageTagMutability,
    Repository as EcrRepository, Tag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{JsonDocument, check_json};
use super::{
    Actions, During, Kind, Tags, Taking, create_tags, gone_is_fine, in_order, is_owned, owned, spec, tag_changes,
    tags_of, text, typed, untyped,
};
use crate::aws::{Aws, facts};
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope, template};

/// A repository of container images (ECR).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Its name, in lower case: `"shop/web"`. Left out: made of the names of stack and block.
    #[serde(default)]
    pub name: String,
    /// Whether images are scanned for known vulnerabilities when they are pushed.
    #[serde(default = "yes")]
    pub scan_on_push: bool,
    /// Whether a tag, once pushed, stays with its image.
    #[serde(default)]
    pub immutable_tags: bool,
    /// The lifecycle policy: which images expire, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "json"))]
    pub lifecycle: Option<JsonDocument>,
    /// How many images are kept: the oldest expire. Short for a `lifecycle` that says just this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_images: Option<u32>,
    /// The ARN of the KMS key that encrypts it, instead of a key of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Whether deleting it deletes the images in it too.
    #[serde(default)]
    pub force_delete: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

fn yes() -> bool {
    true
}

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut repository: Repository =
        serde_json::from_value(Value::Object(attributes)).map_err(|e| Problem::at("", e.to_string()))?;
    if let Some(count) = repository.keep_images.take() {
        repository.lifecycle.get_or_insert_with(|| keep(count));
    }
    Ok(untyped(&repository))
}

/// A lifecycle policy that keeps the newest images.
fn keep(count: u32) -> JsonDocument {
    let rule = json!({
        "rulePriority": 1,
        "description": format!("Keep the newest {count}"),
        "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count },
        "action": { "type": "expire" },
    });
    JsonDocument::new(&json!({ "rules": [rule] }).to_string())
}

/// What is wrong with a name ("CreateRepository": repositoryName).
fn check_name(name: &str) -> Option<Problem> {
    if let Some(bad) = name.chars().find(char::is_ascii_uppercase) {
        let problem = Problem::at("name", format!("`{name}` holds the capital `{bad}`"));
        return Some(problem.help(format!("ECR takes lower case: \"{}\"", name.to_lowercase())));
    }
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part_is_fine = |part: &str| {
        let ends = part.starts_with(alphanumeric) && part.ends_with(alphanumeric);
        let separators = part.split(alphanumeric).filter(|between| !between.is_empty());
        ends && separators
            .into_iter()
            .all(|between| matches!(between, "." | "_" | "-" | "__") || between.chars().all(|c| c == '-'))
    };
    if name.len() < 2 || name.len() > 256 || !name.split('/').all(part_is_fine) {
        let problem = Problem::at("name", format!("`{name}` is no name of a repository"));
        return Some(problem.help(
            "it has 2 to 256 characters, parts parted by slashes, each of lower-case letters and digits with . _ - between",
        ));
    }
    None
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(name) = attributes.get("name").filter(|name| !template::is_unknown(name)).and_then(Value::as_str)
        && !name.is_empty()
    {
        problems.extend(check_name(name));
    }
    if let Some(lifecycle) = attributes.get("lifecycle") {
        check_json(lifecycle, &["lifecycle"], &mut problems);
        if attributes.contains_key("keep_images") {
            problems
                .push(Problem::at("keep_images", "`lifecycle` says which images are kept").help("keep one of the two"));
        }
    }
    if attributes.get("keep_images").and_then(Value::as_u64) == Some(0) {
        problems.push(Problem::at("keep_images", "a repository that keeps no image").help("keep one at least"));
    }
    problems
}

/// The kind `repository`.
pub struct RepositoryKind;

#[async_trait]
impl Kind for RepositoryKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "kms_key"],
            outputs: &["arn", "url"],
            write_only: &["force_delete"],
            documents: &["lifecycle"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: 256 }),
            canonical,
            check,
            predict,
            typical_seconds: 1,
            ..spec::<Repository>("repository", "image repository")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:ListTagsForResource"],
            create: &[
                "ecr:CreateRepository",
                "ecr:TagResource",
                "ecr:DescribeRepositories",
                "ecr:GetLifecyclePolicy",
                "ecr:ListTagsForResource",
                "ecr:PutLifecyclePolicy",
                "ecr:PutImageScanningConfiguration",
                "ecr:PutImageTagMutability",
            ],
            update: &[
                "ecr:PutImageScanningConfiguration",
                "ecr:PutImageTagMutability",
                "ecr:PutLifecyclePolicy",
                "ecr:DeleteLifecyclePolicy",
                "ecr:TagResource",
                "ecr:UntagResource",
            ],
            delete: &["ecr:DeleteRepository"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ecr:PutImageScanningConfiguration" => taking.changes(&["scan_on_push"]),
            "ecr:PutImageTagMutability" => taking.changes(&["immutable_tags"]),
            "ecr:PutLifecyclePolicy" => taking.gains("lifecycle"),
            "ecr:DeleteLifecyclePolicy" => taking.loses("lifecycle") && !taking.has("lifecycle"),
            "ecr:DescribeRepositories" | "ecr:GetLifecyclePolicy" | "ecr:ListTagsForResource" => {
                taking.during == During::Read
            }
            _ => taking.takes(call),
        }
    }

    /// A hundred repositories a call; lifecycle policies and tags have no batch form and are read one by one.
    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut there = Vec::with_capacity(wanted.len());
        for chunk in wanted.chunks(100) {
            let names: Vec<String> = chunk.iter().map(|known| known.id.clone()).collect();
            match describe(aws, Some(names)).await {
                Ok(found) => there.extend(found),
                // One that is gone makes the whole call fail; then all are listed, once.
                Err(error) if error.is(ErrorClass::NotFound) => {
                    there = describe(aws, None).await?;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let found = there.iter().filter_map(|repository| {
            let known = wanted.iter().find(|known| Some(known.id.as_str()) == repository.repository_name())?;
            Some(observe(aws, repository, &known.attributes))
        });
        let found = futures_util::future::try_join_all(found).await?;
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let arns = describe(aws, None).await?.into_iter().filter_map(|repository| repository.repository_arn).collect();
        let mut claimed =
            owned::claimed_by_one(aws, arns, |arn| async move { Ok(tags(aws, &arn).await?.unwrap_or_default()) })
                .await?;
        // A repository's id is its name: what stands behind the first slash of its ARN.
        for one in &mut claimed {
            one.id = one.id.split_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
        }
        Ok(claimed)
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let found = match describe(aws, Some(vec![text(wanted, "name").to_owned()])).await {
            Ok(found) => found,
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(repository) = found.first() else { return Ok(None) };
        let observed = observe(aws, repository, wanted).await?;
        let ours = is_owned(wanted, &tags_of(&observed.attributes));
        Ok(ours.then_some(observed))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let repository: Repository = typed(&request.attributes)?;
        let encryption = repository
            .kms_key
            .as_ref()
            .map(|key| EncryptionConfiguration::builder().encryption_type(EncryptionType::Kms).kms_key(key).build());
        let encryption =
            encryption.transpose().map_err(|e| CloudError::unexpected("ecr:CreateRepository", e.to_string()))?;
        let tags = ecr_tags(&create_tags(request));
        let made = aws
            .calls
            .create("ecr:CreateRepository", || {
                aws.ecr
                    .create_repository()
                    .repository_name(&repository.name)
                    .image_scanning_configuration(scanning(&repository))
                    .image_tag_mutability(mutability(&repository))
                    .set_encryption_configuration(encryption.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await;
        match made {
            Ok(answer) => {
                let outputs = answer.repository().map(outputs).unwrap_or_default();
                Ok(Created { id: repository.name, outputs })
            }
            Err(error) if error.is(ErrorClass::Exists) => {
                let found = self.find(aws, &Lost { request: request.clone() }).await?;
                let Some(found) = found else { return Err(error) };
                set_scanning(aws, &repository).await?;
                set_mutability(aws, &repository).await?;
                Ok(Created { id: found.id, outputs: found.outputs })
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(&self, aws: &Aws, _id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let repository: Repository = typed(&request.attributes)?;
        if repository.lifecycle.is_some() { set_lifecycle(aws, &repository).await } else { Ok(()) }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let repository: Repository = typed(&request.after)?;
        if request.changed.contains("scan_on_push") {
            set_scanning(aws, &repository).await?;
        }
        if request.changed.contains("immutable_tags") {
            set_mutability(aws, &repository).await?;
        }
        if request.changed.contains("lifecycle") {
            set_lifecycle(aws, &repository).await?;
        }
        if request.changed.contains("tags") {
            let arn = text(&request.outputs, "arn");
            let (set, removed) = tag_changes(request);
            if !set.is_empty() {
                let tags = ecr_tags(&set);
                let call = || aws.ecr.tag_resource().resource_arn(arn).set_tags(Some(tags.clone())).send();
                aws.calls.write("ecr:TagResource", call).await?;
            }
            if !removed.is_empty() {
                let call = || aws.ecr.untag_resource().resource_arn(arn).set_tag_keys(Some(removed.clone())).send();
                aws.calls.write("ecr:UntagResource", call).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let force = known.attributes.get("force_delete").and_then(Value::as_bool).unwrap_or_default();
        let call = || aws.ecr.delete_repository().repository_name(&known.id).force(force).send();
        let deleted = aws.calls.write("ecr:DeleteRepository", call).await;
        gone_is_fine(deleted.map(|_| ())).map_err(|error| match error.code.as_str() {
            "RepositoryNotEmptyException" => {
                error.help("delete the images that are to go, or set `force_delete = true`, apply, and delete then")
            }
            _ => error,
        })
    }
}

fn predict(attributes: &Attributes, scope: &Scope) -> Attributes {
    let name = text(attributes, "name");
    let (Some(account), false) = (&scope.account, name.is_empty() || name.contains("${")) else {
        return Attributes::new();
    };
    let Scope { partition, region, .. } = scope;
    let host = format!("{account}.dkr.ecr.{region}.{}", facts::dns_suffix(partition));
    Attributes::from_iter([
        ("arn".to_owned(), json!(format!("arn:{partition}:ecr:{region}:{account}:repository/{name}"))),
        ("url".to_owned(), json!(format!("{host}/{name}"))),
    ])
}

fn outputs(repository: &EcrRepository) -> Attributes {
    Attributes::from_iter([
        ("arn".to_owned(), json!(repository.repository_arn())),
        ("url".to_owned(), json!(repository.repository_uri())),
    ])
}

async fn observe(aws: &Aws, repository: &EcrRepository, last: &Attributes) -> Result<Observed, CloudError> {
    let name = repository.repository_name().unwrap_or_default();
    let mut attributes = Attributes::from_iter([("name".to_owned(), json!(name))]);
    if let Some(scanning) = repository.image_scanning_configuration() {
        attributes.insert("scan_on_push".into(), json!(scanning.scan_on_push));
    }
    if let Some(mutability) = repository.image_tag_mutability() {
        attributes.insert("immutable_tags".into(), json!(*mutability == ImageTagMutability::Immutable));
    }
    let key = repository.encryption_configuration().and_then(EncryptionConfiguration::kms_key);
    // ECR answers with the key's ARN, in whichever way the key was given.
    if last.get("kms_key").and_then(Value::as_str).is_none_or(|last| last.starts_with("arn:"))
        && (key.is_some() || last.contains_key("kms_key"))
    {
        attributes.insert("kms_key".into(), json!(key));
    }
    let arn = repository.repository_arn().unwrap_or_default();
    let (lifecycle, tags) = tokio::try_join!(lifecycle(aws, name), tags(aws, arn))?;
    attributes.extend(tags.map(|tags| ("tags".to_owned(), json!(tags))));
    if lifecycle.is_some() || last.contains_key("lifecycle") {
        attributes.insert("lifecycle".into(), json!(lifecycle));
    }
    Ok(Observed { id: name.to_owned(), attributes, outputs: outputs(repository) })
}

/// A repository's tags; `None` where it went meanwhile.
async fn tags(aws: &Aws, arn: &str) -> Result<Option<Tags>, CloudError> {
    let call = || aws.ecr.list_tags_for_resource().resource_arn(arn).send();
    match aws.calls.read("ecr:ListTagsForResource", call).await {
        Ok(answer) => Ok(Some(answer.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect())),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn lifecycle(aws: &Aws, name: &str) -> Result<Option<JsonDocument>, CloudError> {
    let call = || aws.ecr.get_lifecycle_policy().repository_name(name).send();
    match aws.calls.read("ecr:GetLifecyclePolicy", call).await {
        Ok(answer) => Ok(answer.lifecycle_policy_text().map(JsonDocument::new)),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// These repositories, or all.
async fn describe(aws: &Aws, names: Option<Vec<String>>) -> Result<Vec<EcrRepository>, CloudError> {
    let mut repositories = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ecr:DescribeRepositories", || {
                // A call that names repositories is not paged.
                let most = names.is_none().then_some(1000);
                let call = aws.ecr.describe_repositories().set_repository_names(names.clone()).set_max_results(most);
                call.set_next_token(next.clone()).send()
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        repositories.extend(page.repositories.unwrap_or_default());
        if next.is_none() {
            return Ok(repositories);
        }
    }
}

fn ecr_tags(tags: &Tags) -> Vec<Tag> {
    // Both parts are given, so the builder cannot fail.
    tags.iter().filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok()).collect()
}

fn scanning(repository: &Repository) -> ImageScanningConfiguration {
    ImageScanningConfiguration::builder().scan_on_push(repository.scan_on_push).build()
}

fn mutability(repository: &Repository) -> ImageTagMutability {
    if repository.immutable_tags { ImageTagMutability::Immutable } else { ImageTagMutability::Mutable }
}

async fn set_scanning(aws: &Aws, repository: &Repository) -> Result<(), CloudError> {
    let call = || {
        let call = aws.ecr.put_image_scanning_configuration().repository_name(&repository.name);
        call.image_scanning_configuration(scanning(repository)).send()
    };
    aws.calls.write("ecr:PutImageScanningConfiguration", call).await.map(|_| ())
}

async fn set_mutability(aws: &Aws, repository: &Repository) -> Result<(), CloudError> {
    let call = || {
        let call = aws.ecr.put_image_tag_mutability().repository_name(&repository.name);
        call.image_tag_mutability(mutability(repository)).send()
    };
    aws.calls.write("ecr:PutImageTagMutability", call).await.map(|_| ())
}

async fn set_lifecycle(aws: &Aws, repository: &Repository) -> Result<(), CloudError> {
    let name = &repository.name;
    match &repository.lifecycle {
        Some(policy) => {
            let call =
                || aws.ecr.put_lifecycle_policy().repository_name(name).lifecycle_policy_text(policy.as_str()).send();
            aws.calls.write("ecr:PutLifecyclePolicy", call).await.map(|_| ())
        }
        None => {
            let call = || aws.ecr.delete_lifecycle_policy().repository_name(name).send();
            gone_is_fine(aws.calls.write("ecr:DeleteLifecyclePolicy", call).await.map(|_| ()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_ecr_takes() {
        for name in ["web", "shop/web", "a-b.c_d", "a__b", "a--b", "0/1"] {
            assert_eq!(check_name(name), None, "{name}");
        }
        for name in ["eHa", "a", "-web", "web-", "shop//web", "a..b", "a b", "/web"] {
            assert!(check_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_number_of_images_is_a_lifecycle() {
        let attributes = json!({ "name": "web", "keep_images": 10 }).as_object().cloned().unwrap();
        let canonical = canonical(attributes).unwrap();
        assert!(text(&canonical, "lifecycle").contains("\"countNumber\": 10"));
        assert!(!canonical.contains_key("keep_images"));
    }
}
