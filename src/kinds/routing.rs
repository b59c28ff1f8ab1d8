//! What listeners and their rules do with a request: forward, redirect or answer it.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{
    Action as ElbAction, ActionTypeEnum, FixedResponseActionConfig, ForwardActionConfig, RedirectActionConfig,
    RedirectActionStatusCodeEnum, TargetGroupStickinessConfig, TargetGroupTuple,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::Problem;

/// What is done with a request: one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Action {
    /// It is sent to a target of one of these groups, by weight.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub forward: BTreeSet<Forward>,
    /// Seconds in which a client stays with its group, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky_seconds: Option<i32>,
    /// The client is told to ask elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// It is answered right here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
}

/// A target group and its share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The target group.
    #[schemars(extend("x-reference" = "target_group.arn"))]
    pub target_group: String,
    /// Its share, relative to the others', 0 to 999.
    #[serde(default = "one")]
    pub weight: i32,
}

/// Where a client is sent. What is left out stays as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `"HTTP"` or `"HTTPS"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path. `#{path}`, `#{host}`, `#{port}` and `#{query}` stand for what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The query, without its question mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Whether clients may keep it in mind (301), or not (302).
    #[serde(default = "yes")]
    pub permanent: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The status code: 200 to 299, 400 to 599.
    pub status: u16,
    /// The type of its body.
    #[serde(default = "plain")]
    pub content_type: String,
    /// Its body, up to 1024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

fn one() -> i32 {
    1
}

fn yes() -> bool {
    true
}

fn plain() -> String {
    "text/plain".to_owned()
}

impl Action {
    /// In AWS's words. There is exactly one of forward, redirect and respond; [`Action::check`] saw to it.
    pub fn request(&self) -> ElbAction {
        if let Some(redirect) = &self.redirect {
            let status = if redirect.permanent {
                RedirectActionStatusCodeEnum::Http301
            } else {
                RedirectActionStatusCodeEnum::Http302
            };
            let config = RedirectActionConfig::builder()
                .protocol(redirect.protocol.as_deref().unwrap_or("#{protocol}"))
                .port(redirect.port.map_or_else(|| "#{port}".to_owned(), |port| port.to_string()))
                .host(redirect.host.as_deref().unwrap_or("#{host}"))
                .path(redirect.path.as_deref().unwrap_or("/#{path}"))
                .query(redirect.query.as_deref().unwrap_or("#{query}"))
                .status_code(status)
                .build();
            return ElbAction::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config).build();
        }
        if let Some(respond) = &self.respond {
            let config = FixedResponseActionConfig::builder()
                .status_code(respond.status.to_string())
                .content_type(&respond.content_type)
                .set_message_body(respond.body.clone())
                .build();
            return ElbAction::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(config).build();
        }
        let action = ElbAction::builder().r#type(ActionTypeEnum::Forward);
        // Network load balancers take one group, in this form alone.
        if let (1, Some(only), None) = (self.forward.len(), self.forward.first(), self.sticky_seconds) {
            return action.target_group_arn(&only.target_group).build();
        }
        let groups = self
            .forward
            .iter()
            .map(|one| TargetGroupTuple::builder().target_group_arn(&one.target_group).weight(one.weight).build());
        let sticky = self
            .sticky_seconds
            .map(|seconds| TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(seconds).build());
        let config = ForwardActionConfig::builder()
            .set_target_groups(Some(groups.collect()))
            .set_target_group_stickiness_config(sticky)
            .build();
        action.forward_config(config).build()
    }

    /// From AWS's words. Of several actions the last one is what is done; those before it authenticate.
    pub fn observed(actions: &[ElbAction]) -> Self {
        let mut out = Self::default();
        let Some(action) = actions.iter().max_by_key(|action| action.order()) else { return out };
        if let Some(redirect) = action.redirect_config() {
            let said = |text: Option<&str>, usual: &str| text.filter(|text| *text != usual).map(str::to_owned);
            out.redirect = Some(Redirect {
                protocol: said(redirect.protocol(), "#{protocol}"),
                port: redirect.port().and_then(|port| port.parse().ok()),
                host: said(redirect.host(), "#{host}"),
                path: said(redirect.path(), "/#{path}"),
                query: said(redirect.query(), "#{query}"),
                permanent: redirect.status_code() != Some(&RedirectActionStatusCodeEnum::Http302),
            });
        } else if let Some(respond) = action.fixed_response_config() {
            out.respond = Some(Respond {
                status: respond.status_code().and_then(|status| status.parse().ok()).unwrap_or_default(),
                content_type: respond.content_type().map_or_else(plain, str::to_owned),
                body: respond.message_body().filter(|body| !body.is_empty()).map(str::to_owned),
            });
        } else {
            let config = action.forward_config();
            let groups = config.map(|config| config.target_groups()).unwrap_or_default();
            out.forward = groups
                .iter()
                .map(|one| Forward {
                    target_group: one.target_group_arn().unwrap_or_default().to_owned(),
                    weight: one.weight().unwrap_or(1),
                })
                .collect();
            if let (true, Some(arn)) = (out.forward.is_empty(), action.target_group_arn()) {
                out.forward.insert(Forward { target_group: arn.to_owned(), weight: 1 });
            }
            // With one group there is nothing to weigh.
            if out.forward.len() == 1 {
                out.forward = out.forward.into_iter().map(|only| Forward { weight: 1, ..only }).collect();
            }
            let sticky = config.and_then(|config| config.target_group_stickiness_config());
            out.sticky_seconds =
                sticky.filter(|one| one.enabled() == Some(true)).and_then(|one| one.duration_seconds());
        }
        out
    }

    /// What is wrong with it; `path` is where it stands.
    pub fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let given = [!self.forward.is_empty(), self.redirect.is_some(), self.respond.is_some()];
        match given.iter().filter(|given| **given).count() {
            0 => {
                let message = "nothing says what is done with a request";
                let help = "write forward = [{ target_group = \"web\" }], or `redirect`, or `respond`";
                problems.push(Problem::at(path, message).help(help));
            }
            1 => {}
            _ => {
                let message = "a request is forwarded, redirected or answered: one of the three";
                problems.push(Problem::at(path, message).help("leave one of them"));
            }
        }
        let at = |field: &str| format!("{path}.{field}");
        if self.forward.len() > 5 {
            problems.push(Problem::at(&at("forward"), format!("{} groups, and AWS takes 5", self.forward.len())));
        }
        if let Some(bad) = self.forward.iter().find(|one| !(0..=999).contains(&one.weight)) {
            problems.push(Problem::at(&at("forward"), format!("a weight of {}: AWS takes 0 to 999", bad.weight)));
        }
        if self.forward.len() == 1 && self.forward.iter().any(|one| one.weight != 1) {
            let message = "with one group there is nothing to weigh";
            problems.push(Problem::at(&at("forward"), message).help("leave its weight out"));
        }
        if self.sticky_seconds.is_some_and(|seconds| !(1..=604_800).contains(&seconds)) {
            problems.push(Problem::at(&at("sticky_seconds"), "AWS takes 1 to 604800 seconds"));
        }
        if let Some(redirect) = &self.redirect {
            let protocol = redirect.protocol.as_deref();
            if protocol.is_some_and(|one| !matches!(one, "HTTP" | "HTTPS") && !one.contains("${")) {
                let message = "a redirect leads to \"HTTP\" or \"HTTPS\"";
                problems.push(Problem::at(&at("redirect.protocol"), message));
            }
            let nowhere = [&redirect.protocol, &redirect.host, &redirect.path].iter().all(|part| part.is_none());
            if nowhere && redirect.port.is_none() && redirect.query.is_none() {
                let message = "it leads to where it came from, for ever";
                let help = "write redirect = { protocol = \"HTTPS\", port = 443 }";
                problems.push(Problem::at(&at("redirect"), message).help(help));
            }
            if redirect.path.as_ref().is_some_and(|path| !path.starts_with('/') && !path.contains("${")) {
                problems.push(Problem::at(&at("redirect.path"), "a path begins with a slash"));
            }
        }
        if let Some(respond) = &self.respond {
            if !matches!(respond.status, 200..=299 | 400..=599) {
                let message = format!("{}: AWS answers with 200 to 299 and 400 to 599", respond.status);
                problems.push(Problem::at(&at("respond.status"), message));
            }
            let types = ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];
            if !types.contains(&respond.content_type.as_str()) {
                let message = format!("AWS does not answer with `{}`", respond.content_type);
                let help = format!("it takes {}", types.join(", "));
                problems.push(Problem::at(&at("respond.content_type"), message).help(help));
            }
            if respond.body.as_ref().is_some_and(|body| body.len() > 1024) {
                problems.push(Problem::at(&at("respond.body"), "it has more than 1024 bytes"));
            }
        }
    }
}
