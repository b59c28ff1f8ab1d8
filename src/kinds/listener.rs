//! `listener`: a port on which a load balancer takes requests in.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{Certificate, Listener as Found, ProtocolEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::elbv2;
use super::routing::Action;
use super::target_group::Protocol;
use super::{Actions, During, Kind, Tags, Taking, gone_is_fine, in_order, spec, tags_of, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, TOKEN_TAG, UpdateRequest,
};
use crate::graph::{Attributes, KindSpec, Problem};

/// A port on which a load balancer takes requests in, and what it does with those that follow no rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The load balancer.
    #[schemars(extend("x-reference" = "load_balancer.arn"))]
    pub load_balancer: String,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken there: HTTP and HTTPS with application load balancers, the others with network load balancers.
    #[serde(default)]
    pub protocol: Protocol,
    /// The certificate; for HTTPS and TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "certificate.arn"))]
    pub certificate: Option<String>,
    /// Certificates for further names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "certificate.arn"))]
    pub more_certificates: BTreeSet<String>,
    /// The versions of TLS and the ciphers that are spoken. Without it: TLS 1.2 and 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_policy: Option<String>,
    /// What is done with a request that follows no rule.
    pub action: Action,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What AWS recommends ("Security policies for your Application Load Balancer"); its own default is older.
const SSL_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

impl Listener {
    fn is_encrypted(&self) -> bool {
        matches!(self.protocol, Protocol::Https | Protocol::Tls)
    }

    fn normalize(&mut self) {
        if self.is_encrypted() {
            self.ssl_policy.get_or_insert_with(|| SSL_POLICY.to_owned());
        }
    }

    fn certificates(&self) -> Option<Vec<Certificate>> {
        let arn = self.certificate.as_ref()?;
        Some(vec![Certificate::builder().certificate_arn(arn).build()])
    }
}

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut listener: Listener =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    listener.normalize();
    Ok(super::untyped(&listener))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(listener) = serde_json::from_value::<Listener>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    listener.action.check("action", &mut problems);
    match (listener.is_encrypted(), &listener.certificate) {
        (true, None) => {
            let message = "an encrypted port needs a certificate";
            problems.push(Problem::at("certificate", message).help("name one, or write protocol = \"http\""));
        }
        (false, Some(_)) => {
            let message = "a port that is not encrypted has no certificate";
            problems.push(Problem::at("certificate", message).help("write protocol = \"https\", or take it out"));
        }
        _ => {}
    }
    if !listener.is_encrypted() {
        let given = [
            ("more_certificates", !listener.more_certificates.is_empty()),
            ("ssl_policy", listener.ssl_policy.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            problems.push(Problem::at(field, "the port is not encrypted").help("take it out"));
        }
    }
    if !listener.protocol.is_http() && (listener.action.redirect.is_some() || listener.action.respond.is_some()) {
        let message = "a network load balancer forwards, and nothing else";
        problems.push(Problem::at("action", message).help("write forward = [{ target_group = \"web\" }]"));
    }
    problems
}

/// The kind `listener`.
pub struct ListenerKind;

#[async_trait]
impl Kind for ListenerKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["load_balancer"],
            rebuilt_around: &["target_group"],
            unique_by: &["load_balancer", "port"],
            outputs: &["arn"],
            // A load balancer takes listeners while it is set up.
            needs_only_existence: &["load_balancer"],
            canonical,
            check,
            typical_seconds: 1,
            ..spec::<Listener>("listener", "listener")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeListenerCertificates",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
            ],
            create: &[
                "elasticloadbalancing:CreateListener",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:AddListenerCertificates",
            ],
            update: &[
                "elasticloadbalancing:ModifyListener",
                "elasticloadbalancing:AddListenerCertificates",
                "elasticloadbalancing:RemoveListenerCertificates",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:RemoveTags",
                "elasticloadbalancing:DescribeListenerCertificates",
            ],
            delete: &["elasticloadbalancing:DeleteListener"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "elasticloadbalancing:ModifyListener" => taking.changes_besides(&["tags", "more_certificates"]),
            "elasticloadbalancing:AddListenerCertificates" => taking.adds("more_certificates"),
            "elasticloadbalancing:RemoveListenerCertificates" => taking.removes("more_certificates"),
            "elasticloadbalancing:DescribeListenerCertificates" if taking.during == During::Update => {
                taking.changes(&["more_certificates"])
            }
            "elasticloadbalancing:DescribeListenerCertificates" => taking.has("more_certificates"),
            // All there are, to see whose they are.
            "elasticloadbalancing:DescribeLoadBalancers"
            | "elasticloadbalancing:DescribeRules"
            | "elasticloadbalancing:DescribeTargetGroups" => false,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let arns: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = elbv2::by_arn(&arns, |some| by_arns(aws, some)).await?;
        let mut observed = in_order(wanted, observe(aws, &found).await?);
        for (known, observed) in wanted.iter().zip(&mut observed) {
            // Further certificates are told for one listener a call: they are asked for where there are to be any.
            if let Some(observed) = observed
                && known.attributes.contains_key("more_certificates")
            {
                let more = more_certificates(aws, &known.id).await?;
                observed.attributes.insert("more_certificates".into(), json!(more));
            }
        }
        Ok(observed)
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        elbv2::owned(aws, "listener").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let balancer = text(&lost.request.attributes, "load_balancer");
        let call = || aws.elb.describe_listeners().load_balancer_arn(balancer).send();
        let found = match aws.calls.read("elasticloadbalancing:DescribeListeners", call).await {
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
            answer => answer?.listeners.unwrap_or_default(),
        };
        let observed = observe(aws, &found).await?;
        let token = |one: &Observed| tags_of(&one.attributes).get(TOKEN_TAG) == Some(&lost.request.token);
        Ok(observed.into_iter().find(token))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let listener: Listener = typed(&request.attributes)?;
        let answer = aws
            .calls
            .create("elasticloadbalancing:CreateListener", || {
                aws.elb
                    .create_listener()
                    .load_balancer_arn(&listener.load_balancer)
                    .port(i32::from(listener.port))
                    .protocol(ProtocolEnum::from(listener.protocol.as_str()))
                    .set_certificates(listener.certificates())
                    .set_ssl_policy(listener.ssl_policy.clone())
                    .default_actions(listener.action.request())
                    .set_tags(Some(elbv2::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.listeners().first().map(outputs).unwrap_or_default();
        Ok(Created { id: text(&made, "arn").to_owned(), outputs: made })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let listener: Listener = typed(&request.attributes)?;
        add_certificates(aws, id, listener.more_certificates.iter()).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let listener: Listener = typed(&request.after)?;
        let changed = |name: &str| request.changed.contains(name);
        if ["port", "protocol", "certificate", "ssl_policy", "action"].iter().any(|name| changed(name)) {
            aws.calls
                .write("elasticloadbalancing:ModifyListener", || {
                    aws.elb
                        .modify_listener()
                        .listener_arn(&request.id)
                        .port(i32::from(listener.port))
                        .protocol(ProtocolEnum::from(listener.protocol.as_str()))
                        .set_certificates(listener.certificates())
                        .set_ssl_policy(listener.ssl_policy.clone())
                        .default_actions(listener.action.request())
                        .send()
                })
                .await?;
        }
        if changed("more_certificates") {
            let have = more_certificates(aws, &request.id).await?;
            let want = &listener.more_certificates;
            add_certificates(aws, &request.id, want.difference(&have)).await?;
            for arn in have.difference(want) {
                let certificate = Certificate::builder().certificate_arn(arn).build();
                let call = aws.elb.remove_listener_certificates().listener_arn(&request.id).certificates(certificate);
                aws.calls.write("elasticloadbalancing:RemoveListenerCertificates", || call.clone().send()).await?;
            }
        }
        elbv2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.elb.delete_listener().listener_arn(&known.id).send();
        gone_is_fine(aws.calls.write("elasticloadbalancing:DeleteListener", call).await.map(|_| ()))
    }
}

async fn by_arns(aws: &Aws, arns: Vec<String>) -> Result<Vec<Found>, CloudError> {
    let call = || aws.elb.describe_listeners().set_listener_arns(Some(arns.clone())).send();
    let answer = aws.calls.read("elasticloadbalancing:DescribeListeners", call).await?;
    Ok(answer.listeners.unwrap_or_default())
}

/// The certificates besides the default one.
async fn more_certificates(aws: &Aws, arn: &str) -> Result<BTreeSet<String>, CloudError> {
    let mut found = BTreeSet::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("elasticloadbalancing:DescribeListenerCertificates", || {
                aws.elb.describe_listener_certificates().listener_arn(arn).set_marker(next.clone()).send()
            })
            .await?;
        let further = page.certificates().iter().filter(|one| one.is_default() != Some(true));
        found.extend(further.filter_map(|one| one.certificate_arn()).map(str::to_owned));
        next = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
}

async fn add_certificates<'a>(
    aws: &Aws,
    listener: &str,
    arns: impl Iterator<Item = &'a String>,
) -> Result<(), CloudError> {
    for arn in arns {
        let certificate = Certificate::builder().certificate_arn(arn).build();
        let call = aws.elb.add_listener_certificates().listener_arn(listener).certificates(certificate);
        aws.calls.write("elasticloadbalancing:AddListenerCertificates", || call.clone().send()).await?;
    }
    Ok(())
}

fn outputs(listener: &Found) -> Attributes {
    let arn = listener.listener_arn().unwrap_or_default();
    Attributes::from_iter([("id".to_owned(), json!(arn)), ("arn".to_owned(), json!(arn))])
}

async fn observe(aws: &Aws, found: &[Found]) -> Result<Vec<Observed>, CloudError> {
    let arns: Vec<String> = found.iter().filter_map(Found::listener_arn).map(str::to_owned).collect();
    let mut tags = elbv2::tags(aws, &arns).await?;
    let one = |listener: &Found| {
        let id = listener.listener_arn().unwrap_or_default().to_owned();
        let protocol = listener.protocol().and_then(|one| Protocol::parse(one.as_str()));
        let encrypted = matches!(protocol, Some(Protocol::Https | Protocol::Tls));
        let mut attributes = Attributes::from_iter([
            ("load_balancer".to_owned(), json!(listener.load_balancer_arn())),
            ("port".to_owned(), json!(listener.port())),
            ("protocol".to_owned(), json!(protocol)),
            ("action".to_owned(), json!(Action::observed(listener.default_actions()))),
        ]);
        if encrypted {
            let certificate = listener.certificates().first().and_then(|one| one.certificate_arn());
            attributes.insert("certificate".into(), json!(certificate));
            attributes.insert("ssl_policy".into(), json!(listener.ssl_policy()));
        }
        if let Some(tags) = tags.remove(&id) {
            attributes.insert("tags".into(), tags);
        }
        Observed { id, attributes, outputs: outputs(listener) }
    };
    Ok(found.iter().map(one).collect())
}
