//! `listener_rule`: which requests a listener sends elsewhere than its default.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    HostHeaderConditionConfig, HttpHeaderConditionConfig, HttpRequestMethodConditionConfig, PathPatternConditionConfig,
    QueryStringConditionConfig, QueryStringKeyValuePair, Rule as Found, RuleCondition, RulePriorityPair,
    SourceIpConditionConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::elbv2;
use super::routing::Action;
use super::{Actions, During, Kind, Tags, Taking, gone_is_fine, in_order, spec, tags_of, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, TOKEN_TAG, UpdateRequest,
};
use crate::graph::{Attributes, KindSpec, Problem};

/// Which requests a listener sends elsewhere than its default. A request follows the first rule whose conditions it
/// meets, all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerRule {
    /// The listener.
    #[schemars(extend("x-reference" = "listener.arn"))]
    pub listener: String,
    /// Its place among the rules, 1 to 50000; the lowest comes first, and no two have the same.
    pub priority: i32,
    /// Hosts that are asked: `"www.example.com"`, `"*.example.com"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<String>,
    /// Paths that are asked for: `"/api/*"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paths: BTreeSet<String>,
    /// Methods: `"GET"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// Ranges of addresses that clients have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub source_ips: BTreeSet<String>,
    /// Headers, and which values each may have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, BTreeSet<String>>,
    /// Parameters of the query, and the value of each; one of them is enough.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// What is done with such a request.
    pub action: Action,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The most values in all conditions of a rule ("Quotas for your Application Load Balancers").
const MOST_VALUES: usize = 5;

impl ListenerRule {
    /// The attribute that holds the first of its conditions.
    pub fn first_condition(&self) -> Option<&'static str> {
        let given = [
            ("hosts", !self.hosts.is_empty()),
            ("paths", !self.paths.is_empty()),
            ("methods", !self.methods.is_empty()),
            ("source_ips", !self.source_ips.is_empty()),
            ("headers", !self.headers.is_empty()),
            ("query", !self.query.is_empty()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Whether every request that meets the conditions of another rule meets those of this one, as far as that can be seen:
    /// of patterns, what one has at a place where the other has `*` is covered by that. A rule without conditions is none.
    pub fn takes_all_of(&self, other: &Self) -> bool {
        let header = |name: &str| {
            let of_name = other.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
            of_name.map(|(_, values)| values)
        };
        self.first_condition().is_some()
            && all_covered(&self.hosts, &other.hosts, |all, one| covers(all, one, true))
            && all_covered(&self.paths, &other.paths, |all, one| covers(all, one, false))
            && all_covered(&self.methods, &other.methods, |all, one| all == one)
            && all_covered(&self.source_ips, &other.source_ips, |all, one| all == one)
            && self.headers.iter().all(|(name, values)| {
                header(name).is_some_and(|others| all_covered(values, others, |all, one| covers(all, one, true)))
            })
            && (self.query.is_empty()
                || !other.query.is_empty() && other.query.iter().all(|(key, value)| self.query.get(key) == Some(value)))
    }

    fn values(&self) -> usize {
        let headers: usize = self.headers.values().map(BTreeSet::len).sum();
        [&self.hosts, &self.paths, &self.methods, &self.source_ips].iter().map(|set| set.len()).sum::<usize>()
            + headers
            + self.query.len()
    }

    fn conditions(&self) -> Vec<RuleCondition> {
        let list = |set: &BTreeSet<String>| Some(set.iter().cloned().collect::<Vec<_>>());
        let condition = |field: &str| RuleCondition::builder().field(field);
        let mut out = Vec::new();
        if !self.hosts.is_empty() {
            let config = HostHeaderConditionConfig::builder().set_values(list(&self.hosts)).build();
            out.push(condition("host-header").host_header_config(config).build());
        }
        if !self.paths.is_empty() {
            let config = PathPatternConditionConfig::builder().set_values(list(&self.paths)).build();
            out.push(condition("path-pattern").path_pattern_config(config).build());
        }
        if !self.methods.is_empty() {
            let config = HttpRequestMethodConditionConfig::builder().set_values(list(&self.methods)).build();
            out.push(condition("http-request-method").http_request_method_config(config).build());
        }
        if !self.source_ips.is_empty() {
            let config = SourceIpConditionConfig::builder().set_values(list(&self.source_ips)).build();
            out.push(condition("source-ip").source_ip_config(config).build());
        }
        for (name, values) in &self.headers {
            let config = HttpHeaderConditionConfig::builder().http_header_name(name).set_values(list(values)).build();
            out.push(condition("http-header").http_header_config(config).build());
        }
        if !self.query.is_empty() {
            let pairs = self.query.iter();
            let pairs = pairs.map(|(key, value)| QueryStringKeyValuePair::builder().key(key).value(value).build());
            let config = QueryStringConditionConfig::builder().set_values(Some(pairs.collect())).build();
            out.push(condition("query-string").query_string_config(config).build());
        }
        out
    }
}

/// Whether a condition, one of these values, is met whenever one of the others is. Without values there is no condition.
fn all_covered(values: &BTreeSet<String>, others: &BTreeSet<String>, covers: impl Fn(&str, &str) -> bool) -> bool {
    values.is_empty() || !others.is_empty() && others.iter().all(|other| values.iter().any(|one| covers(one, other)))
}

/// Whether a pattern of `*` and `?` matches all that another one does, as far as that can be seen.
fn covers(all: &str, one: &str, any_case: bool) -> bool {
    let folded = |text: &str| if any_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let (all, one) = (folded(all).into_bytes(), folded(one).into_bytes());
    // Where the last `*` was met, and how much of the other pattern it takes.
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < one.len() {
        match all.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(letter) if *letter == one[of] || (*letter == b'?' && one[of] != b'*') => {
                at += 1;
                of += 1;
            }
            _ => match &mut star {
                Some((back, taken)) => {
                    *taken += 1;
                    (at, of) = (*back + 1, *taken);
                }
                None => return false,
            },
        }
    }
    all[at..].iter().all(|letter| *letter == b'*')
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(rule) = serde_json::from_value::<ListenerRule>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    rule.action.check("action", &mut problems);
    if !(1..=50_000).contains(&rule.priority) {
        problems.push(Problem::at("priority", format!("{}: AWS takes 1 to 50000", rule.priority)));
    }
    match rule.values() {
        0 => {
            let message = "it has no condition, and would be the listener's default";
            problems.push(Problem::at("", message).help("give it `hosts` or `paths`"));
        }
        count if count > MOST_VALUES => {
            let message = format!("{count} values in its conditions, and AWS takes {MOST_VALUES}");
            problems.push(Problem::at("", message).help("split it into two rules"));
        }
        _ => {}
    }
    let absolute = |path: &String| path.starts_with(['/', '*', '?']) || path.contains("${");
    if let Some(path) = rule.paths.iter().find(|path| !absolute(path)) {
        let message = format!("no request asks for `{path}`");
        problems.push(Problem::at("paths", message).help(format!("paths begin with a slash: \"/{path}\"")));
    }
    if let Some(method) =
        rule.methods.iter().find(|one| one.chars().any(|c| c.is_ascii_lowercase()) && !one.contains("${"))
    {
        let message = format!("methods are compared letter by letter, and `{method}` is none");
        problems.push(Problem::at("methods", message).help(format!("write \"{}\"", method.to_ascii_uppercase())));
    }
    for range in rule.source_ips.iter().filter(|range| !range.contains("${")) {
        if range.parse::<ipnet::IpNet>().is_err() {
            let message = format!("`{range}` is no range of addresses");
            problems.push(Problem::at("source_ips", message).help("write \"203.0.113.0/24\""));
        }
    }
    problems
}

/// The kind `listener_rule`.
pub struct ListenerRuleKind;

#[async_trait]
impl Kind for ListenerRuleKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["listener"],
            rebuilt_around: &["target_group"],
            outputs: &["arn"],
            unique_by: &["listener", "priority"],
            check,
            typical_seconds: 1,
            ..spec::<ListenerRule>("listener_rule", "listener rule")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeTargetGroups",
            ],
            create: &["elasticloadbalancing:CreateRule", "elasticloadbalancing:AddTags"],
            update: &[
                "elasticloadbalancing:ModifyRule",
                "elasticloadbalancing:SetRulePriorities",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:RemoveTags",
                "elasticloadbalancing:DescribeRules",
            ],
            delete: &["elasticloadbalancing:DeleteRule"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "elasticloadbalancing:ModifyRule" => taking.changes_besides(&["tags", "priority"]),
            "elasticloadbalancing:SetRulePriorities" => taking.changes(&["priority"]),
            "elasticloadbalancing:DescribeRules" if taking.during == During::Update => taking.changes(&["priority"]),
            // All there are, to see whose they are.
            "elasticloadbalancing:DescribeLoadBalancers"
            | "elasticloadbalancing:DescribeListeners"
            | "elasticloadbalancing:DescribeTargetGroups" => false,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let arns: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = elbv2::by_arn(&arns, |some| by_arns(aws, some)).await?;
        Ok(in_order(wanted, observe(aws, &found).await?))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        elbv2::owned(aws, "listener-rule").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let listener = text(&lost.request.attributes, "listener");
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let call = || aws.elb.describe_rules().listener_arn(listener).set_marker(next.clone()).send();
            let page = match aws.calls.read("elasticloadbalancing:DescribeRules", call).await {
                Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
                answer => answer?,
            };
            next = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
            found.extend(page.rules.unwrap_or_default());
            if next.is_none() {
                break;
            }
        }
        found.retain(|rule| rule.is_default() != Some(true));
        let token = |one: &Observed| tags_of(&one.attributes).get(TOKEN_TAG) == Some(&lost.request.token);
        Ok(observe(aws, &found).await?.into_iter().find(token))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let rule: ListenerRule = typed(&request.attributes)?;
        let answer = aws
            .calls
            .create("elasticloadbalancing:CreateRule", || {
                aws.elb
                    .create_rule()
                    .listener_arn(&rule.listener)
                    .priority(rule.priority)
                    .set_conditions(Some(rule.conditions()))
                    .actions(rule.action.request())
                    .set_tags(Some(elbv2::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.rules().first().map(outputs).unwrap_or_default();
        Ok(Created { id: text(&made, "arn").to_owned(), outputs: made })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let rule: ListenerRule = typed(&request.after)?;
        if request.changed.iter().any(|name| name != "priority" && name != "tags") {
            aws.calls
                .write("elasticloadbalancing:ModifyRule", || {
                    aws.elb
                        .modify_rule()
                        .rule_arn(&request.id)
                        .set_conditions(Some(rule.conditions()))
                        .actions(rule.action.request())
                        .send()
                })
                .await?;
        }
        // A rule's own priority is refused like another's.
        let has_it = |found: &Found| found.priority() == Some(&rule.priority.to_string());
        if request.changed.contains("priority")
            && !by_arns(aws, vec![request.id.clone()]).await?.first().is_some_and(has_it)
        {
            let pair = RulePriorityPair::builder().rule_arn(&request.id).priority(rule.priority).build();
            let call = || aws.elb.set_rule_priorities().rule_priorities(pair.clone()).send();
            aws.calls.write("elasticloadbalancing:SetRulePriorities", call).await?;
        }
        elbv2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.elb.delete_rule().rule_arn(&known.id).send();
        gone_is_fine(aws.calls.write("elasticloadbalancing:DeleteRule", call).await.map(|_| ()))
    }
}

async fn by_arns(aws: &Aws, arns: Vec<String>) -> Result<Vec<Found>, CloudError> {
    let call = || aws.elb.describe_rules().set_rule_arns(Some(arns.clone())).send();
    let answer = aws.calls.read("elasticloadbalancing:DescribeRules", call).await?;
    Ok(answer.rules.unwrap_or_default())
}

/// The ARN of a rule is that of its listener with one more part (`listener-rule/app/NAME/LB/LISTENER/RULE`).
fn listener_of(rule: &str) -> Option<String> {
    let (listener, _) = rule.rsplit_once('/')?;
    Some(listener.replacen(":listener-rule/", ":listener/", 1))
}

fn outputs(rule: &Found) -> Attributes {
    let arn = rule.rule_arn().unwrap_or_default();
    Attributes::from_iter([("id".to_owned(), json!(arn)), ("arn".to_owned(), json!(arn))])
}

async fn observe(aws: &Aws, found: &[Found]) -> Result<Vec<Observed>, CloudError> {
    let arns: Vec<String> = found.iter().filter_map(Found::rule_arn).map(str::to_owned).collect();
    let mut tags = elbv2::tags(aws, &arns).await?;
    let one = |rule: &Found| {
        let id = rule.rule_arn().unwrap_or_default().to_owned();
        let mut attributes = observed(rule, &id);
        if let Some(tags) = tags.remove(&id) {
            attributes.insert("tags".into(), tags);
        }
        Observed { id, attributes, outputs: outputs(rule) }
    };
    Ok(found.iter().map(one).collect())
}

fn observed(rule: &Found, arn: &str) -> Attributes {
    let set = |values: &[String]| values.iter().cloned().collect::<BTreeSet<String>>();
    let (mut hosts, mut paths) = (BTreeSet::new(), BTreeSet::new());
    let (mut methods, mut source_ips) = (BTreeSet::new(), BTreeSet::new());
    let mut headers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut query: BTreeMap<String, String> = BTreeMap::new();
    for condition in rule.conditions() {
        // Hosts and paths may stand in the older form, too.
        let older = set(condition.values());
        let or = |values: Option<BTreeSet<String>>| values.filter(|set| !set.is_empty()).unwrap_or(older.clone());
        match condition.field() {
            Some("host-header") => hosts = or(condition.host_header_config().map(|one| set(one.values()))),
            Some("path-pattern") => paths = or(condition.path_pattern_config().map(|one| set(one.values()))),
            Some("http-request-method") => {
                methods = or(condition.http_request_method_config().map(|one| set(one.values())));
            }
            Some("source-ip") => source_ips = or(condition.source_ip_config().map(|one| set(one.values()))),
            Some("http-header") => {
                if let Some(config) = condition.http_header_config() {
                    headers.insert(config.http_header_name().unwrap_or_default().to_owned(), set(config.values()));
                }
            }
            Some("query-string") => {
                let pairs = condition.query_string_config().map(|one| one.values()).unwrap_or_default();
                let texts = |one: &Option<String>| one.clone().unwrap_or_default();
                query.extend(pairs.iter().map(|pair| (texts(&pair.key), texts(&pair.value))));
            }
            _ => {}
        }
    }
    let mut out = Attributes::from_iter([
        ("hosts".to_owned(), json!(hosts)),
        ("paths".to_owned(), json!(paths)),
        ("methods".to_owned(), json!(methods)),
        ("source_ips".to_owned(), json!(source_ips)),
        ("headers".to_owned(), json!(headers)),
        ("query".to_owned(), json!(query)),
        ("action".to_owned(), json!(Action::observed(rule.actions()))),
    ]);
    if let Some(priority) = rule.priority().and_then(|priority| priority.parse::<i32>().ok()) {
        out.insert("priority".into(), json!(priority));
    }
    if let Some(listener) = listener_of(arn) {
        out.insert("listener".into(), json!(listener));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_knows_its_listener() {
        let rule = "arn:aws:elasticloadbalancing:eu-west-2:1:listener-rule/app/main/50dc/f2f7/9683";
        let listener = "arn:aws:elasticloadbalancing:eu-west-2:1:listener/app/main/50dc/f2f7";
        assert_eq!(listener_of(rule).as_deref(), Some(listener));
    }

    #[test]
    fn a_rule_takes_all_of_another_where_its_conditions_are_wider() {
        let rule = |conditions: Value| -> ListenerRule {
            let mut rule = json!({ "listener": "arn:x", "priority": 1, "action": { "respond": { "status": 200 } } });
            rule.as_object_mut().unwrap().extend(conditions.as_object().cloned().unwrap());
            serde_json::from_value(rule).unwrap()
        };
        let takes = |first: Value, second: Value| rule(first).takes_all_of(&rule(second));
        let paths = |path: &str| json!({ "paths": [path] });
        for (all, one) in [
            ("/*", "/api/*"),
            ("*", "/"),
            ("/api/*", "/api/v1/*"),
            ("/a*c*", "/abcbd"),
            ("/*.png", "/a/b.png"),
            ("/?/x", "/a/x"),
            ("/a*", "/a"),
        ] {
            assert!(takes(paths(all), paths(one)), "{all} {one}");
        }
        for (all, one) in
            [("/api/*", "/api"), ("/api/*", "/*"), ("/?", "/*"), ("/API", "/api"), ("/a", "/ab"), ("/a*c", "/ab")]
        {
            assert!(!takes(paths(all), paths(one)), "{all} {one}");
        }
        let both = json!({ "hosts": ["a.example.com"], "paths": ["/x"] });
        assert!(takes(json!({ "hosts": ["*.Example.com"] }), both.clone()));
        assert!(!takes(both.clone(), json!({ "hosts": ["a.example.com"] })));
        assert!(!takes(json!({ "methods": ["GET"] }), both.clone()));
        assert!(takes(
            json!({ "headers": { "X-A": ["1", "2"] } }),
            json!({ "headers": { "x-a": ["2"] }, "paths": ["/"] })
        ));
        assert!(!takes(json!({ "headers": { "X-A": ["1"] } }), json!({ "headers": { "x-a": ["1", "2"] } })));
        assert!(takes(json!({ "query": { "a": "1", "b": "2" } }), json!({ "query": { "a": "1" } })));
        assert!(!takes(json!({ "query": { "a": "1" } }), json!({ "query": { "a": "1", "b": "2" } })));
        assert!(!takes(json!({}), both), "what has no condition is wrong for itself");
    }

    #[test]
    fn what_no_request_meets_is_found_offline() {
        let told = |more: Value| {
            let mut rule = json!({ "listener": "arn:x", "priority": 1, "action": { "respond": { "status": 200 } } });
            rule.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            let told = check(rule.as_object().unwrap()).into_iter();
            told.map(|p| format!("{}: {}", p.path.join("."), p.message)).collect::<Vec<_>>()
        };
        assert!(told(json!({ "hosts": ["a.example.com"] })).is_empty());
        insta::assert_snapshot!(
            told(json!({ "priority": 0, "paths": ["api/*"], "methods": ["get"], "source_ips": ["10.0.0.0"],
                "action": { "forward": [{ "target_group": "arn:t", "weight": 2 }], "redirect": {} } })).join("\n"),
            @r"
        action: a request is forwarded, redirected or answered: one of the three
        action.forward: with one group there is nothing to weigh
        action.redirect: it leads to where it came from, for ever
        priority: 0: AWS takes 1 to 50000
        paths: no request asks for `api/*`
        methods: methods are compared letter by letter, and `get` is none
        source_ips: `10.0.0.0` is no range of addresses
        ");
        assert_eq!(told(json!({})), [": it has no condition, and would be the listener's default"]);
    }
}
