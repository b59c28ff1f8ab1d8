//! `ami`: a machine image, looked up by the parameter that names its newest version.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_ssm::types::Parameter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Taking, ec2, only_looked_up, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Problem, template};

/// How many parameters one call takes ("GetParameters").
const PER_CALL: usize = 10;

/// The image that AWS recommends for ECS on x86-64: "Retrieving Amazon ECS-optimized Linux AMI metadata".
const RECOMMENDED: &str = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id";

/// A machine image, looked up by the Systems Manager parameter that names its newest version. `existing = "ami-…"` pins
/// an image instead.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ami {
    /// The parameter's name. Without one: the ECS-optimized Amazon Linux 2023 for x86-64; for Graviton write
    /// `"/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id"`. It may also hold a JSON
    /// document with an `image_id`.
    #[serde(default = "recommended")]
    pub parameter: String,
}

fn recommended() -> String {
    RECOMMENDED.to_owned()
}

/// The kind `ami`.
pub struct AmiKind;

#[async_trait]
impl Kind for AmiKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            identity: Identity::Lookup,
            taggable: false,
            check: |attributes| {
                let Some(value) = attributes.get("parameter").filter(|value| !template::is_unknown(value)) else {
                    return Vec::new();
                };
                let name = value.as_str().unwrap_or_default();
                if name.starts_with("ami-") {
                    return vec![
                        Problem::at("parameter", format!("`{name}` is an image, and no parameter that names one"))
                            .help(format!("to pin it, write existing = \"{name}\"")),
                    ];
                }
                // "PutParameter": letters, digits and `. - _ /`; in an ARN also `:`.
                match name.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-/:".contains(*c)) {
                    Some(bad) => {
                        vec![Problem::at("parameter", format!("`{bad}` in `{name}`: no parameter is named so"))]
                    }
                    None if name.is_empty() => vec![Problem::at("parameter", "a parameter without a name")],
                    None => Vec::new(),
                }
            },
            typical_seconds: 1,
            ..spec::<Ami>("ami", "machine image")
        }
    }

    fn actions(&self) -> Actions {
        Actions { read: &["ssm:GetParameters", "ec2:DescribeImages"], ..Actions::default() }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:DescribeImages" => !taking.has("parameter"),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: BTreeSet<&str> = wanted.iter().map(|known| text(&known.attributes, "parameter")).collect();
        let values = parameters(aws, names.into_iter().filter(|name| !name.is_empty())).await?;
        let found = wanted.iter().map(|known| {
            let parameter = text(&known.attributes, "parameter");
            values.get(parameter).and_then(|value| image_id(value)).map(|id| observed(&id, parameter))
        });
        Ok(found.collect())
    }

    async fn look_up(&self, aws: &Aws, id: Option<&str>, attributes: &Attributes) -> Result<Observed, CloudError> {
        let ami: Ami = typed(attributes)?;
        if let Some(id) = id {
            let found = aws
                .calls
                .read("ec2:DescribeImages", || aws.ec2.describe_images().filters(ec2::filter("image-id", id)).send())
                .await?;
            return match found.images() {
                [] => Err(not_found(
                    "ec2:DescribeImages",
                    format!("there is no image `{id}` in {}, or it is not shared with this account", aws.scope.region),
                )),
                _ => Ok(observed(id, &ami.parameter)),
            };
        }
        let values = parameters(aws, [ami.parameter.as_str()]).await?;
        let Some(value) = values.get(&ami.parameter) else {
            let message = format!("there is no parameter `{}` in {}", ami.parameter, aws.scope.region);
            return Err(not_found("ssm:GetParameters", message));
        };
        let id = image_id(value).ok_or_else(|| {
            CloudError::unexpected("ssm:GetParameters", format!("`{}` holds no image id: {value:.80}", ami.parameter))
                .help("name a parameter that holds an id (ami-…), or a JSON document with an `image_id`")
        })?;
        Ok(observed(&id, &ami.parameter))
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        // Looked up, and nobody's.
        Ok(Vec::new())
    }

    async fn find(&self, _aws: &Aws, _lost: &Lost) -> Result<Option<Observed>, CloudError> {
        Ok(None)
    }

    async fn create(&self, _aws: &Aws, _request: &CreateRequest) -> Result<Created, CloudError> {
        Err(only_looked_up("ami"))
    }

    async fn update(&self, _aws: &Aws, _request: &UpdateRequest) -> Result<(), CloudError> {
        Err(only_looked_up("ami"))
    }

    async fn delete(&self, _aws: &Aws, _known: &Known) -> Result<(), CloudError> {
        Err(only_looked_up("ami"))
    }
}

fn not_found(call: &str, message: String) -> CloudError {
    CloudError::new(ErrorClass::NotFound, call, "", message).help("check the name and the region, then plan again")
}

/// The values of parameters, ten a call; what does not exist is left out.
async fn parameters(aws: &Aws, names: impl IntoIterator<Item = &str>) -> Result<HashMap<String, String>, CloudError> {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut values = HashMap::new();
    for chunk in names.chunks(PER_CALL) {
        let answer = aws
            .calls
            .read("ssm:GetParameters", || aws.ssm.get_parameters().set_names(Some(chunk.to_vec())).send())
            .await?;
        for parameter in answer.parameters() {
            let Some(value) = parameter.value() else { continue };
            values.extend(names_of(parameter).into_iter().map(|name| (name, value.to_owned())));
        }
    }
    Ok(values)
}

/// What a parameter was asked for by: its name or ARN, with the version or label in it where there was one. The answer
/// has that apart, as `:3` ("Parameter").
fn names_of(parameter: &Parameter) -> Vec<String> {
    let selector = parameter.selector().unwrap_or_default().trim_start_matches(':');
    let names = [parameter.name(), parameter.arn()].into_iter().flatten();
    names
        .map(|name| match selector {
            "" => name.to_owned(),
            _ if name.ends_with(&format!(":{selector}")) => name.to_owned(),
            _ => format!("{name}:{selector}"),
        })
        .collect()
}

/// The image in a parameter's value.
fn image_id(value: &str) -> Option<String> {
    let value = value.trim();
    if value.starts_with("ami-") {
        return Some(value.to_owned());
    }
    let document: Value = serde_json::from_str(value).ok()?;
    document.get("image_id")?.as_str().filter(|id| id.starts_with("ami-")).map(str::to_owned)
}

fn observed(id: &str, parameter: &str) -> Observed {
    Observed {
        id: id.to_owned(),
        attributes: Attributes::from_iter([("parameter".into(), json!(parameter))]),
        outputs: Attributes::from_iter([("id".into(), json!(id))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_parameter_is_known_by_what_it_was_asked_for() {
        let names = |selector: Option<&str>| {
            let parameter =
                Parameter::builder().name("/images/ecs").arn("arn:aws:ssm:eu-west-2:1:parameter/images/ecs");
            names_of(&parameter.set_selector(selector.map(str::to_owned)).build())
        };
        assert_eq!(names(None), ["/images/ecs", "arn:aws:ssm:eu-west-2:1:parameter/images/ecs"]);
        assert_eq!(names(Some(":3"))[0], "/images/ecs:3");
        assert_eq!(names(Some(":prod"))[1], "arn:aws:ssm:eu-west-2:1:parameter/images/ecs:prod");
    }
}
