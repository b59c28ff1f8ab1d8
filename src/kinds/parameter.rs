//! `parameter`: a value in Systems Manager's Parameter Store, open or secret.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_ssm::types::{
    ParameterMetadata, ParameterStringFilter, ParameterTier, ParameterType as SsmType, ResourceTypeForTagging, Tag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Actions, Kind, Tags, create_tags, gone_is_fine, in_order, is_owned, names, owned, spec, tag_changes, text, typed,
    untyped,
};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, STACK_TAG, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope, template};

/// A value in the Parameter Store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name, or its path: `"/web/database/host"`. Made from stack and address unless given.
    #[serde(default)]
    pub name: String,
    /// The value, open for everybody who may read parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A secret value, which is kept encrypted: `secret = "${vars.password}"`, of a variable with `secret = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What the value is; it follows from which of `value` and `secret` is given, but for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ParameterType>,
    /// The key that a secret is encrypted with, by id, ARN or alias. The account's own key for parameters unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How much it may hold: 4 KB as `standard`, 8 KB as `advanced`, which costs by the month.
    #[serde(default)]
    pub tier: Tier,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What the value of a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterType {
    /// A text.
    String,
    /// Texts, parted by commas.
    StringList,
    /// A text that is kept encrypted.
    Secure,
}

/// How much a parameter may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// 4 KB.
    #[default]
    Standard,
    /// 8 KB.
    Advanced,
}

/// The longest name that is taken with its path, so that the ARN stays within 1011 characters ("PutParameter").
const LONGEST: usize = 900;
/// How many parameters one call reads ("GetParameters": 10), and how many names one filter takes ("DescribeParameters": 50).
const PER_GET: usize = 10;
const PER_FILTER: usize = 50;

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut parameter: Parameter =
        serde_json::from_value(Value::Object(attributes)).map_err(|e| Problem::at("", e.to_string()))?;
    let given = if parameter.secret.is_some() { ParameterType::Secure } else { ParameterType::String };
    parameter.r#type.get_or_insert(given);
    Ok(untyped(&parameter))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let has = |name: &str| attributes.contains_key(name);
    match (has("value"), has("secret")) {
        (true, true) => problems.push(
            Problem::at("secret", "`value` and `secret` exclude each other").help("a value is open, or it is secret"),
        ),
        (false, false) => problems.push(
            Problem::at("", "a parameter without a value")
                .help("give `value`, or `secret`, which takes a secret variable"),
        ),
        _ => {}
    }
    match (text(attributes, "type"), has("secret")) {
        ("secure", false) if has("value") => problems.push(
            Problem::at("value", "a secure parameter's value would stand in the stack")
                .help("declare a secret variable, and give it as `secret` in place of `value`"),
        ),
        ("string" | "string-list", true) => {
            problems.push(Problem::at("type", "what holds a secret is kept encrypted").help("leave `type` out"))
        }
        _ => {}
    }
    if has("kms_key") && !has("secret") {
        problems.push(Problem::at("kms_key", "an open value is not encrypted").help("leave `kms_key` out"));
    }
    if let Some(name) = attributes.get("name").filter(|name| !template::is_unknown(name)).and_then(Value::as_str) {
        problems.extend(check_name(name));
    }
    let most = if text(attributes, "tier") == "advanced" { 8192 } else { 4096 };
    if let Some(value) = attributes.get("value").filter(|value| !template::is_unknown(value)).and_then(Value::as_str) {
        if value.is_empty() {
            problems.push(Problem::at("value", "an empty value").help("AWS takes one character at least"));
        }
        if value.len() > most {
            problems.push(
                Problem::at("value", format!("it has {} bytes, and {most} are taken", value.len()))
                    .help("set tier = \"advanced\" for up to 8192, or keep it elsewhere"),
            );
        }
    }
    if text(attributes, "description").chars().count() > 1024 {
        problems.push(Problem::at("description", "it has more than 1024 characters").help("shorten it"));
    }
    problems
}

fn check_name(name: &str) -> Option<Problem> {
    if name.is_empty() {
        return None;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
        return Some(
            Problem::at("name", format!("`{name}` holds `{bad}`"))
                .help("names of parameters have letters, digits and _ . - /"),
        );
    }
    if name.len() > LONGEST {
        return Some(Problem::at("name", format!("it has more than {LONGEST} characters")).help("shorten it"));
    }
    let lower = name.trim_start_matches('/').to_ascii_lowercase();
    if lower.starts_with("aws") || lower.starts_with("ssm") {
        return Some(
            Problem::at("name", format!("`{name}` begins with what is AWS's")).help("begin with something else"),
        );
    }
    if name.contains('/') && !name.starts_with('/') {
        return Some(Problem::at("name", "a path begins with a slash").help(format!("write \"/{name}\"")));
    }
    None
}

/// The kind `parameter`.
pub struct ParameterKind;

#[async_trait]
impl Kind for ParameterKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            // "PutParameter": the type of what exists cannot change.
            replace_on: &["name", "type"],
            outputs: &["arn", "version"],
            outputs_changed_by_update: &["version"],
            secrets: &["secret"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: LONGEST }),
            canonical,
            check,
            predict: |attributes, scope| {
                names::predicted_arn(attributes, |name| scope.account.as_ref().map(|_| arn(scope, name)))
            },
            typical_seconds: 1,
            ..spec::<Parameter>("parameter", "parameter")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ssm:DescribeParameters", "ssm:GetParameters", "ssm:ListTagsForResource"],
            create: &["ssm:PutParameter", "ssm:AddTagsToResource"],
            update: &["ssm:PutParameter", "ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"],
            delete: &["ssm:DeleteParameter"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = describe(aws, &names).await?;
        let values = values(aws, &found).await?;
        let observed = found.iter().map(|one| {
            let last = wanted.iter().find(|known| Some(known.id.as_str()) == one.name()).map(|known| &known.attributes);
            observe(&aws.scope, one, values.get(one.name().unwrap_or_default()), last)
        });
        Ok(in_order(wanted, observed.collect()))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let of_stack = listed(aws, &format!("tag:{STACK_TAG}"), vec![aws.scope.stack.clone()]).await?;
        // Emulated clouds may pass over the filter, so that tags are compared again.
        let names = of_stack.into_iter().filter_map(|one| one.name).collect();
        owned::claimed_by_one(aws, names, |name| async move { tags(aws, &name).await }).await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let name = text(wanted, "name");
        let found = describe(aws, &[name.to_owned()]).await?;
        let Some(one) = found.first() else { return Ok(None) };
        let tags = tags(aws, name).await?;
        if !is_owned(wanted, &tags) {
            return Ok(None);
        }
        let mut observed = observe(&aws.scope, one, None, Some(wanted));
        observed.attributes.insert("tags".into(), json!(tags));
        Ok(Some(observed))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        match put(aws, &request.attributes, Some(create_tags(request))).await {
            Ok(version) => {
                let name = text(&request.attributes, "name");
                Ok(Created { id: name.to_owned(), outputs: outputs(&aws.scope, name, version) })
            }
            Err(error) if error.is(ErrorClass::Exists) => {
                let found = self.find(aws, &Lost { request: request.clone() }).await?;
                let Some(found) = found else { return Err(error) };
                let version = put(aws, &request.attributes, None).await?;
                Ok(Created { outputs: outputs(&aws.scope, &found.id, version), id: found.id })
            }
            Err(error) => Err(error),
        }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        if request.changed.iter().any(|name| name != "tags") {
            put(aws, &request.after, None).await?;
        }
        if request.changed.contains("tags") {
            let (set, removed) = tag_changes(request);
            let resource = ResourceTypeForTagging::Parameter;
            if !set.is_empty() {
                let call = || {
                    let call = aws.ssm.add_tags_to_resource().resource_type(resource.clone());
                    call.resource_id(&request.id).set_tags(Some(ssm_tags(&set))).send()
                };
                aws.calls.write("ssm:AddTagsToResource", call).await?;
            }
            if !removed.is_empty() {
                let call = || {
                    let call = aws.ssm.remove_tags_from_resource().resource_type(resource.clone());
                    call.resource_id(&request.id).set_tag_keys(Some(removed.clone())).send()
                };
                aws.calls.write("ssm:RemoveTagsFromResource", call).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let deleted =
            aws.calls.write("ssm:DeleteParameter", || aws.ssm.delete_parameter().name(&known.id).send()).await;
        gone_is_fine(deleted.map(|_| ()))
    }
}

/// Writes the parameter; with tags only where it is not there yet ("PutParameter" takes them for new ones alone). Gives its
/// version.
async fn put(aws: &Aws, attributes: &Attributes, tags: Option<Tags>) -> Result<i64, CloudError> {
    let parameter: Parameter = typed(attributes)?;
    let value = match (&parameter.secret, &parameter.value) {
        (Some(secret), _) => aws.reveal(secret)?,
        (None, value) => value.as_deref().unwrap_or_default(),
    };
    let call = aws
        .ssm
        .put_parameter()
        .name(&parameter.name)
        .value(value)
        .r#type(match parameter.r#type {
            Some(ParameterType::Secure) => SsmType::SecureString,
            Some(ParameterType::StringList) => SsmType::StringList,
            Some(ParameterType::String) | None => SsmType::String,
        })
        .set_key_id(parameter.kms_key.clone())
        .description(parameter.description.as_deref().unwrap_or_default())
        .tier(match parameter.tier {
            Tier::Standard => ParameterTier::Standard,
            Tier::Advanced => ParameterTier::Advanced,
        })
        .overwrite(tags.is_none())
        .set_tags(tags.as_ref().map(ssm_tags));
    let answer = match tags {
        Some(_) => aws.calls.create("ssm:PutParameter", || call.clone().send()).await?,
        None => aws.calls.write("ssm:PutParameter", || call.clone().send()).await?,
    };
    Ok(answer.version())
}

fn arn(scope: &Scope, name: &str) -> String {
    let Scope { partition, region, account, .. } = scope;
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("arn:{partition}:ssm:{region}:{}:parameter{slash}{name}", account.as_deref().unwrap_or_default())
}

fn outputs(scope: &Scope, name: &str, version: i64) -> Attributes {
    Attributes::from_iter([("arn".into(), json!(arn(scope, name))), ("version".into(), json!(version))])
}

fn observe(scope: &Scope, one: &ParameterMetadata, value: Option<&String>, last: Option<&Attributes>) -> Observed {
    let name = one.name().unwrap_or_default();
    let mut attributes = Attributes::from_iter([("name".to_owned(), json!(name))]);
    let mut put = |name: &str, value: Option<Value>| {
        // What it does not have is drift only where the stack gave it.
        if value.is_some() || last.is_some_and(|last| last.contains_key(name)) {
            attributes.insert(name.to_owned(), value.unwrap_or(Value::Null));
        }
    };
    let (kind, is_secure) = match one.r#type() {
        Some(SsmType::SecureString) => (Some(ParameterType::Secure), true),
        Some(SsmType::StringList) => (Some(ParameterType::StringList), false),
        Some(_) => (Some(ParameterType::String), false),
        None => (None, true),
    };
    if let Some(kind) = kind {
        put("type", Some(json!(kind)));
    }
    if !is_secure && let Some(value) = value {
        put("value", Some(json!(value)));
    }
    put("description", one.description().filter(|text| !text.is_empty()).map(|text| json!(text)));
    match one.tier() {
        Some(ParameterTier::Advanced) => put("tier", Some(json!(Tier::Advanced))),
        Some(ParameterTier::Standard) => put("tier", Some(json!(Tier::Standard))),
        _ => {}
    }
    // The account's own key is what a parameter has where none was given.
    if is_secure && last.is_some_and(|last| last.contains_key("kms_key")) {
        put("kms_key", one.key_id().map(|key| json!(key)));
    }
    Observed { id: name.to_owned(), attributes, outputs: outputs(scope, name, one.version()) }
}

/// Parameters by name, fifty a call; what is gone is left out.
async fn describe(aws: &Aws, names: &[String]) -> Result<Vec<ParameterMetadata>, CloudError> {
    let mut found = Vec::with_capacity(names.len());
    for chunk in names.chunks(PER_FILTER) {
        let page = listed(aws, "Name", chunk.to_vec()).await?;
        // Emulated clouds may take the names for patterns.
        found.extend(page.into_iter().filter(|one| one.name.as_ref().is_some_and(|name| chunk.contains(name))));
    }
    Ok(found)
}

/// The parameters that have one of these values in what `key` names.
async fn listed(aws: &Aws, key: &str, values: Vec<String>) -> Result<Vec<ParameterMetadata>, CloudError> {
    let filter = ParameterStringFilter::builder().key(key).option("Equals").set_values(Some(values)).build();
    let filter = filter.map_err(|e| CloudError::unexpected("ssm:DescribeParameters", e.to_string()))?;
    let mut found = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let call = aws.ssm.describe_parameters().parameter_filters(filter.clone()).max_results(50);
        let send = || call.clone().set_next_token(next.clone()).send();
        let page = aws.calls.read("ssm:DescribeParameters", send).await?;
        found.extend(page.parameters.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// The values of those that are open, ten a call. Secret ones are never asked for.
async fn values(aws: &Aws, of: &[ParameterMetadata]) -> Result<HashMap<String, String>, CloudError> {
    let open = of.iter().filter(|one| one.r#type() != Some(&SsmType::SecureString));
    let names: Vec<String> = open.filter_map(|one| one.name.clone()).collect();
    let mut values = HashMap::new();
    for chunk in names.chunks(PER_GET) {
        let call = || aws.ssm.get_parameters().set_names(Some(chunk.to_vec())).send();
        let answer = aws.calls.read("ssm:GetParameters", call).await?;
        values
            .extend(answer.parameters.unwrap_or_default().into_iter().filter_map(|one| Some((one.name?, one.value?))));
    }
    Ok(values)
}

/// The tags of a parameter; of one that went meanwhile, none.
async fn tags(aws: &Aws, name: &str) -> Result<Tags, CloudError> {
    let call = || {
        let call = aws.ssm.list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter);
        call.resource_id(name).send()
    };
    match aws.calls.read("ssm:ListTagsForResource", call).await {
        Ok(answer) => Ok(answer.tag_list.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()),
        Err(error) if error.is(ErrorClass::NotFound) || error.code == "InvalidResourceId" => Ok(Tags::new()),
        Err(error) => Err(error),
    }
}

fn ssm_tags(tags: &Tags) -> Vec<Tag> {
    // Both parts are given, so the builder cannot fail.
    tags.iter().filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told() {
        let told = |value: Value| {
            let attributes = canonical(value.as_object().cloned().unwrap()).unwrap();
            check(&attributes).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(told(json!({ "name": "/web/host", "value": "a" })), Vec::<String>::new());
        assert_eq!(told(json!({ "name": "host", "secret": "(secret password)" })), Vec::<String>::new());
        assert_eq!(told(json!({ "name": "host" })), ["a parameter without a value"]);
        assert_eq!(
            told(json!({ "value": "a", "type": "secure" })),
            ["a secure parameter's value would stand in the stack"]
        );
        assert_eq!(told(json!({ "value": "a", "kms_key": "alias/a" })), ["an open value is not encrypted"]);
        assert_eq!(told(json!({ "name": "web/host", "value": "a" })), ["a path begins with a slash"]);
        assert_eq!(told(json!({ "name": "/aws/host", "value": "a" })), ["`/aws/host` begins with what is AWS's"]);
        assert_eq!(told(json!({ "value": "a".repeat(4097) })), ["it has 4097 bytes, and 4096 are taken"]);
    }

    #[test]
    fn what_holds_a_secret_is_secure() {
        let secure = canonical(json!({ "secret": "(secret password)" }).as_object().cloned().unwrap()).unwrap();
        assert_eq!(secure["type"], "secure");
    }
}
