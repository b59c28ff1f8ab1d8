//! `topic`: where notifications go, and who gets them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_sns::types::Tag;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{PolicyDocument, PolicyUse, check_policy};
use super::{
    Actions, Kind, Tags, create_tags, gone_is_fine, in_order, is_own, names, owned, spec, tag_changes, text, typed,
};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope};

/// Where notifications go, and who gets them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name, unique in the account and region; of a FIFO topic it ends in `.fifo`. Without one it is named after the
    /// stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// Whether notifications keep their order.
    #[serde(default)]
    pub fifo: bool,
    /// What it is called in mails and text messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The KMS key that encrypts what is under way: an id, ARN or alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Who may publish and subscribe. Without it: the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "json"))]
    pub policy: Option<PolicyDocument>,
    /// Who gets notifications. Whoever subscribes besides is left alone. A mail address gets a mail, and nothing more
    /// before its owner agrees.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub subscriptions: BTreeSet<Subscription>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Who gets notifications.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// By which way.
    pub protocol: Protocol,
    /// The mail address, number, URL, or ARN of queue or function.
    pub endpoint: String,
}

/// The way of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A mail.
    Email,
    /// A mail with the notification as JSON.
    EmailJson,
    /// A text message.
    Sms,
    /// A request to a URL.
    Http,
    /// An encrypted request to a URL.
    Https,
    /// A queue.
    Sqs,
    /// A function.
    Lambda,
}

impl Protocol {
    const ALL: [Self; 7] = [Self::Email, Self::EmailJson, Self::Sms, Self::Http, Self::Https, Self::Sqs, Self::Lambda];

    fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailJson => "email-json",
            Self::Sms => "sms",
            Self::Http => "http",
            Self::Https => "https",
            Self::Sqs => "sqs",
            Self::Lambda => "lambda",
        }
    }
}

/// The longest policy of a topic, in characters ("SetTopicAttributes").
const LONGEST_POLICY: usize = 30_720;

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(policy) = attributes.get("policy") {
        check_policy(policy, &["policy"], PolicyUse::Resource, LONGEST_POLICY, &mut problems);
    }
    let Ok(topic) = serde_json::from_value::<Topic>(Value::Object(attributes.clone())) else {
        return problems;
    };
    if !topic.name.contains("${") {
        let bare = topic.name.strip_suffix(".fifo").unwrap_or(&topic.name);
        problems.extend(names::letters("name", bare, "SNS", "-_"));
        if topic.fifo != topic.name.ends_with(".fifo") && !topic.name.is_empty() {
            let message = "FIFO topics, and no others, have names that end in `.fifo`";
            problems.push(Problem::at("name", message).help(format!("write name = \"{bare}.fifo\", fifo = true")));
        }
    }
    for (index, one) in topic.subscriptions.iter().enumerate().filter(|(_, one)| !one.endpoint.contains("${")) {
        let endpoint = one.endpoint.as_str();
        let fits = match one.protocol {
            Protocol::Email | Protocol::EmailJson => endpoint.contains('@'),
            Protocol::Sms => endpoint.starts_with('+') && endpoint.len() > 5,
            Protocol::Http => endpoint.starts_with("http://"),
            Protocol::Https => endpoint.starts_with("https://"),
            Protocol::Sqs | Protocol::Lambda => endpoint.starts_with("arn:"),
        };
        if !fits {
            let message = format!("nothing gets to `{endpoint}` by {}", one.protocol.as_str());
            problems.push(Problem::at(&format!("subscriptions.{index}.endpoint"), message));
        }
    }
    problems
}

/// The kind `topic`.
pub struct TopicKind;

#[async_trait]
impl Kind for TopicKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "fifo"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 256 }),
            documents: &["policy"],
            check,
            predict: |attributes, scope| names::predicted_arn(attributes, |name| arn_of(scope, name)),
            typical_seconds: 1,
            ..spec::<Topic>("topic", "topic")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "sns:ListTopics",
                "sns:GetTopicAttributes",
                "sns:ListTagsForResource",
                "sns:ListSubscriptionsByTopic",
            ],
            create: &[
                "sns:CreateTopic",
                "sns:TagResource",
                "sns:SetTopicAttributes",
                "sns:Subscribe",
                "sns:GetTopicAttributes",
            ],
            update: &[
                "sns:SetTopicAttributes",
                "sns:Subscribe",
                "sns:Unsubscribe",
                "sns:TagResource",
                "sns:UntagResource",
                "sns:ListSubscriptionsByTopic",
            ],
            delete: &["sns:DeleteTopic"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let each = wanted.iter().map(|known| observe(aws, &known.id, Some(&known.attributes)));
        Ok(in_order(wanted, try_join_all(each).await?.into_iter().flatten().collect()))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let arns = listed(aws).await?;
        let found = try_join_all(arns.iter().map(|arn| observe(aws, arn, None))).await?;
        Ok(owned::of_observed(&aws.scope, found.into_iter().flatten()))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let Some(arn) = arn_of(&aws.scope, text(&lost.request.attributes, "name")) else { return Ok(None) };
        let found = observe(aws, &arn, Some(&lost.request.attributes)).await?;
        Ok(found.filter(|found| is_own(found, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let topic: Topic = typed(&request.attributes)?;
        // "CreateTopic" answers with the topic that has the name already, whoever made it.
        let taken = arn_of(&aws.scope, &topic.name);
        if let Some(arn) = taken
            && let Some(other) = observe(aws, &arn, None).await?
            && !is_own(&other, request)
        {
            let message = format!("a topic `{}` exists already, and is not of this stack", topic.name);
            return Err(CloudError::new(ErrorClass::Exists, "sns:CreateTopic", "", message));
        }
        let tags = sns_tags(&create_tags(request))?;
        let fifo = topic.fifo.then(|| HashMap::from([("FifoTopic".to_owned(), "true".to_owned())]));
        let call = || {
            aws.sns.create_topic().name(&topic.name).set_attributes(fifo.clone()).set_tags(Some(tags.clone())).send()
        };
        let arn = aws.calls.write("sns:CreateTopic", call).await?.topic_arn.unwrap_or_default();
        Ok(Created { outputs: outputs(&arn), id: arn })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let topic: Topic = typed(&request.attributes)?;
        for (name, value) in settings(&topic).into_iter().filter(|(_, value)| !value.is_empty()) {
            set(aws, id, name, &value).await?;
        }
        subscribe(aws, id, topic.subscriptions.iter()).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let topic: Topic = typed(&request.after)?;
        let before: Topic = typed(&request.before)?;
        let changed = |name: &str| request.changed.contains(name);
        for (name, value) in settings(&topic) {
            let attribute = match name {
                "DisplayName" => "display_name",
                "KmsMasterKeyId" => "kms_key",
                _ => "policy",
            };
            if changed(attribute) && name == "Policy" && value.is_empty() {
                set(aws, &request.id, name, &usual_policy(&aws.scope, &request.id)).await?;
            } else if changed(attribute) {
                set(aws, &request.id, name, &value).await?;
            }
        }
        if changed("subscriptions") {
            let have = subscriptions(aws, &request.id).await?;
            let missing = topic.subscriptions.iter().filter(|one| !have.contains_key(*one));
            subscribe(aws, &request.id, missing).await?;
            for (one, arn) in &have {
                // One that waits for its owner's word cannot be taken back; it ends by itself ("Unsubscribe").
                let ours = before.subscriptions.contains(one) && !topic.subscriptions.contains(one);
                if ours && arn.starts_with("arn:") {
                    let call = || aws.sns.unsubscribe().subscription_arn(arn).send();
                    gone_is_fine(aws.calls.write("sns:Unsubscribe", call).await.map(|_| ()))?;
                }
            }
        }
        let (set_tags, removed) = tag_changes(request);
        if changed("tags") && !set_tags.is_empty() {
            let tags = sns_tags(&set_tags)?;
            let call = || aws.sns.tag_resource().resource_arn(&request.id).set_tags(Some(tags.clone())).send();
            aws.calls.write("sns:TagResource", call).await?;
        }
        if changed("tags") && !removed.is_empty() {
            let call = || aws.sns.untag_resource().resource_arn(&request.id).set_tag_keys(Some(removed.clone())).send();
            aws.calls.write("sns:UntagResource", call).await?;
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // With it go its subscriptions.
        let call = || aws.sns.delete_topic().topic_arn(&known.id).send();
        gone_is_fine(aws.calls.write("sns:DeleteTopic", call).await.map(|_| ()))
    }
}

fn arn_of(scope: &Scope, name: &str) -> Option<String> {
    let account = scope.account.as_ref()?;
    Some(format!("arn:{}:sns:{}:{account}:{name}", scope.partition, scope.region))
}

/// Every topic of account and region, by ARN.
async fn listed(aws: &Aws) -> Result<Vec<String>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || aws.sns.list_topics().set_next_token(next.clone()).send();
        let page = aws.calls.read("sns:ListTopics", call).await?;
        found.extend(page.topics().iter().filter_map(|one| one.topic_arn()).map(str::to_owned));
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn outputs(arn: &str) -> Attributes {
    Attributes::from_iter([("id".to_owned(), json!(arn)), ("arn".to_owned(), json!(arn))])
}

fn settings(topic: &Topic) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("DisplayName", topic.display_name.clone().unwrap_or_default()),
        ("KmsMasterKeyId", topic.kms_key.clone().unwrap_or_default()),
        ("Policy", topic.policy.as_ref().map(|policy| policy.as_str().to_owned()).unwrap_or_default()),
    ])
}

/// What a topic about which nothing is said lets the account's own do ("Amazon SNS: default topic policy").
fn usual_policy(scope: &Scope, arn: &str) -> String {
    let account = scope.account.as_deref().unwrap_or_default();
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": [
                "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
                "SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
            ],
            "Resource": arn,
            "Condition": { "StringEquals": { "AWS:SourceOwner": account } },
        }],
    })
    .to_string()
}

async fn set(aws: &Aws, arn: &str, name: &str, value: &str) -> Result<(), CloudError> {
    let call = || aws.sns.set_topic_attributes().topic_arn(arn).attribute_name(name).attribute_value(value).send();
    aws.calls.write("sns:SetTopicAttributes", call).await?;
    Ok(())
}

async fn subscribe<'a>(aws: &Aws, arn: &str, all: impl Iterator<Item = &'a Subscription>) -> Result<(), CloudError> {
    for one in all {
        let call = || {
            let call = aws.sns.subscribe().topic_arn(arn).protocol(one.protocol.as_str());
            call.endpoint(&one.endpoint).return_subscription_arn(true).send()
        };
        aws.calls.write("sns:Subscribe", call).await?;
    }
    Ok(())
}

/// Who subscribes, and under which ARN; `PendingConfirmation` in its place until its owner agreed.
async fn subscriptions(aws: &Aws, arn: &str) -> Result<BTreeMap<Subscription, String>, CloudError> {
    let mut found = BTreeMap::new();
    let mut next = None;
    loop {
        let call = || aws.sns.list_subscriptions_by_topic().topic_arn(arn).set_next_token(next.clone()).send();
        let page = aws.calls.read("sns:ListSubscriptionsByTopic", call).await?;
        for one in page.subscriptions() {
            let protocol = Protocol::ALL.into_iter().find(|known| Some(known.as_str()) == one.protocol());
            if let (Some(protocol), Some(endpoint)) = (protocol, one.endpoint()) {
                let arn = one.subscription_arn().unwrap_or_default().to_owned();
                found.insert(Subscription { protocol, endpoint: endpoint.to_owned() }, arn);
            }
        }
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn sns_tags(tags: &Tags) -> Result<Vec<Tag>, CloudError> {
    let one = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let built = tags.iter().map(one).collect::<Result<Vec<_>, _>>();
    built.map_err(|error| CloudError::unexpected("sns:TagResource", error.to_string()))
}

async fn observe(aws: &Aws, arn: &str, known: Option<&Attributes>) -> Result<Option<Observed>, CloudError> {
    let call = || aws.sns.get_topic_attributes().topic_arn(arn).send();
    let found = match aws.calls.read("sns:GetTopicAttributes", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
        answer => answer?.attributes.unwrap_or_default(),
    };
    let call = || aws.sns.list_tags_for_resource().resource_arn(arn).send();
    let tags: Tags = aws
        .calls
        .read("sns:ListTagsForResource", call)
        .await?
        .tags()
        .iter()
        .filter(|tag| !tag.key().starts_with("aws:"))
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect();
    let given = |name: &str| found.get(name).filter(|value| !value.is_empty()).cloned();
    let mut attributes = Attributes::from_iter([
        ("name".to_owned(), json!(arn.rsplit(':').next())),
        ("fifo".to_owned(), json!(given("FifoTopic").as_deref() == Some("true"))),
        ("display_name".to_owned(), json!(given("DisplayName"))),
        ("kms_key".to_owned(), json!(given("KmsMasterKeyId"))),
        ("tags".to_owned(), json!(tags)),
    ]);
    // A topic always has a policy; it is ours where the stack gave it.
    if known.is_some_and(|known| known.contains_key("policy")) {
        let policy = given("Policy").map(|policy| PolicyDocument::new(&policy));
        attributes.insert("policy".into(), json!(policy));
    }
    if let Some(Value::Array(ours)) = known.and_then(|known| known.get("subscriptions")) {
        let all = subscriptions(aws, arn).await?;
        let there = all.keys().map(|one| json!(one)).filter(|one| ours.contains(one));
        attributes.insert("subscriptions".into(), there.collect());
    }
    Ok(Some(Observed { outputs: outputs(arn), id: arn.to_owned(), attributes }))
}
