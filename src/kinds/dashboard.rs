//! `dashboard`: graphs of metrics on one page.

use async_trait::async_trait;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{JsonDocument, check_json};
use super::{Actions, Kind, gone_is_fine, in_order, names, spec, text, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope};

/// Graphs of metrics on one page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Its name, unique in the account. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// What is on it, as CloudWatch takes it: `{ widgets = [...] }`, a table, or a file of JSON.
    #[schemars(extend("x-file" = "json"))]
    pub body: JsonDocument,
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(body) = attributes.get("body") {
        check_json(body, &["body"], &mut problems);
        let parsed = body.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        if parsed.is_some_and(|body| !body.get("widgets").is_some_and(Value::is_array)) {
            problems.push(Problem::at("body", "there are no `widgets` in it").help("write { widgets = [...] }"));
        }
    }
    problems.extend(names::letters("name", text(attributes, "name"), "CloudWatch", "-_"));
    problems
}

/// The kind `dashboard`.
pub struct DashboardKind;

#[async_trait]
impl Kind for DashboardKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 255 }),
            documents: &["body"],
            account_wide: true,
            taggable: false,
            check,
            typical_seconds: 1,
            ..spec::<Dashboard>("dashboard", "dashboard")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["cloudwatch:GetDashboard"],
            create: &["cloudwatch:PutDashboard", "cloudwatch:GetDashboard"],
            update: &["cloudwatch:PutDashboard"],
            delete: &["cloudwatch:DeleteDashboards"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let found = try_join_all(wanted.iter().map(|known| named(aws, &known.id))).await?;
        Ok(in_order(wanted, found.into_iter().flatten().collect()))
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    /// Without tags that say whose it is: by what is on it.
    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let found = named(aws, text(wanted, "name")).await?;
        Ok(found.filter(|found| found.attributes.get("body") == wanted.get("body")))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let dashboard: Dashboard = typed(&request.attributes)?;
        // "PutDashboard" writes over the one that has the name already, whoever made it.
        let other = named(aws, &dashboard.name).await?;
        if other.is_some_and(|other| other.attributes.get("body") != request.attributes.get("body")) {
            let message = format!("a dashboard `{}` exists already, with other things on it", dashboard.name);
            return Err(CloudError::new(ErrorClass::Exists, "cloudwatch:PutDashboard", "", message));
        }
        put(aws, &dashboard).await?;
        Ok(Created { outputs: outputs(&aws.scope, &dashboard.name), id: dashboard.name })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        put(aws, &typed(&request.after)?).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.cloudwatch.delete_dashboards().dashboard_names(&known.id).send();
        gone_is_fine(aws.calls.write("cloudwatch:DeleteDashboards", call).await.map(|_| ()))
    }
}

fn outputs(scope: &Scope, name: &str) -> Attributes {
    let account = scope.account.as_deref().unwrap_or_default();
    // Dashboards belong to no region.
    let arn = format!("arn:{}:cloudwatch::{account}:dashboard/{name}", scope.partition);
    Attributes::from_iter([("id".to_owned(), json!(name)), ("arn".to_owned(), json!(arn))])
}

async fn put(aws: &Aws, dashboard: &Dashboard) -> Result<(), CloudError> {
    let call = || {
        aws.cloudwatch.put_dashboard().dashboard_name(&dashboard.name).dashboard_body(dashboard.body.as_str()).send()
    };
    aws.calls.write("cloudwatch:PutDashboard", call).await.map(|_| ())
}

async fn named(aws: &Aws, name: &str) -> Result<Option<Observed>, CloudError> {
    let call = || aws.cloudwatch.get_dashboard().dashboard_name(name).send();
    let body = match aws.calls.read("cloudwatch:GetDashboard", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
        answer => answer?.dashboard_body.unwrap_or_default(),
    };
    let dashboard = Dashboard { name: name.to_owned(), body: JsonDocument::new(&body) };
    let (id, outputs) = (name.to_owned(), outputs(&aws.scope, name));
    Ok(Some(Observed { id, attributes: untyped(&dashboard), outputs }))
}
