//! AWS, as far as the simulated cloud imitates it: how long things take there, how often its services may be called, and
//! what of it can end as failed. Durations that a kind publishes itself (`KindSpec::typical_seconds`) are taken from there.

use std::time::Duration;

use serde_json::{Value, json};

use super::behaviour::{Behaviour, Limits, Timing};
use super::buckets::Size;
use super::references::KINDS;
use crate::apply::limiter::Side;
use crate::aws::facts;

/// The usual time until a call is answered, from within the region's continent.
const CALL: Duration = Duration::from_millis(250);

impl Behaviour {
    /// AWS on a usual day, without weather: its durations, its delays until things are visible and usable, its token
    /// buckets.
    pub fn aws(seed: u64) -> Self {
        let timings = KINDS.specs().into_iter().map(|spec| {
            let service = KINDS.kind(spec.name).map_or("", |kind| service_of(kind.actions().create));
            let seconds = Duration::from_secs;
            let (visible, usable) = match service {
                // IAM replicates to the other services in seconds to tens of seconds ("Changes that I make are not
                // always immediately visible", IAM User Guide).
                "iam" => (seconds(1), seconds(8)),
                // "Eventual consistency in the Amazon EC2 API".
                "ec2" => (seconds(2), seconds(1)),
                _ => (seconds(1), Duration::ZERO),
            };
            let timing = Timing {
                call: CALL,
                ready: seconds(u64::from(spec.typical_seconds)),
                gone: seconds(gone_after(spec.name)),
                visible,
                usable,
                finishing: finishing(spec.name),
            };
            (spec.name.to_owned(), timing)
        });
        Self {
            timings: timings.collect(),
            timing: Timing { call: CALL, ready: Duration::from_secs(2), ..Timing::default() },
            jitter: 0.5,
            seed,
            limits: Some(Limits { sizes, share: 1.0 }),
            breakable: &["nat_gateway", "vpc_endpoint"],
            // What the clients wait for an answer.
            timeout: Duration::from_secs(60),
            ..Self::default()
        }
    }
}

/// The service of a call: what stands before the colon in an IAM action.
pub(super) fn service_of(actions: &[&'static str]) -> &'static str {
    actions.first().and_then(|action| action.split(':').next()).unwrap_or_default()
}

/// Seconds that deleting takes until nothing is held any more.
fn gone_after(kind: &str) -> u64 {
    match kind {
        // "Deleting a NAT gateway": it goes through `deleting` for about a minute.
        "nat_gateway" => 45,
        // Interface endpoints give back their network interfaces.
        "vpc_endpoint" => 60,
        // Instances are terminated first.
        "autoscaling_group" => 90,
        "load_balancer" => 20,
        // Tasks are stopped and connections drained first.
        "ecs_service" => 60,
        "capacity_provider" => 10,
        _ => 1,
    }
}

/// How many calls follow the first one until a resource is as the stack says: attaching, routes, associations, rules,
/// policies, settings.
fn finishing(kind: &str) -> u32 {
    match kind {
        "route_table" | "role" => 4,
        "vpc" | "security_group" | "hosted_zone" => 3,
        "internet_gateway" | "instance_profile" | "log_group" | "repository" | "autoscaling_group" => 2,
        _ => 1,
    }
}

/// Token buckets by service and side. EC2: "Request throttling for the Amazon EC2 API". ECS: "Request throttling for the
/// Amazon ECS API", the cluster actions. Elastic Load Balancing: "Request throttling for the ELB API". Route 53: "Quotas",
/// five requests a second in all. CloudWatch Logs: ten a second for the actions on log groups. ECR: "Amazon ECR service
/// quotas". IAM and Auto Scaling publish none: what is known of them is that they are tighter than EC2's reads.
fn sizes(service: &str, side: Side) -> Option<Size> {
    let (burst, rate) = match (service, side) {
        ("ec2", Side::Read) => (100.0, 20.0),
        ("ec2", Side::Write) => (50.0, 5.0),
        ("ecs", Side::Read) => (50.0, 20.0),
        ("ecs", Side::Write) => (20.0, 1.0),
        ("elasticloadbalancing", Side::Read) => (40.0, 10.0),
        ("elasticloadbalancing", Side::Write) => (20.0, 3.0),
        ("route53", _) => (5.0, 5.0),
        ("iam", Side::Read) => (60.0, 20.0),
        ("iam", Side::Write) => (30.0, 5.0),
        ("autoscaling", Side::Read) => (40.0, 10.0),
        ("autoscaling", Side::Write) => (20.0, 5.0),
        ("logs" | "ecr", _) => (10.0, 10.0),
        ("ssm", _) => (40.0, 40.0),
        _ => return None,
    };
    Some(Size { burst, rate })
}

/// Outputs that are more than a text, or that others check.
pub(super) fn output(kind: &str, output: &str, region: &str) -> Option<Value> {
    let letters = || facts::zone_letters(region).into_iter().flatten();
    match (kind, output) {
        ("zones", "names") => Some(letters().map(|letter| facts::zone_name(region, &letter.to_string())).collect()),
        ("zones", "ids") => Some((1..=letters().count()).map(|number| format!("{region}-az{number}")).collect()),
        ("hosted_zone", "name_servers") => Some((0..4).map(|number| format!("ns-{number}.example")).collect()),
        ("elastic_ip" | "nat_gateway", "public_ip") => Some(json!("198.51.100.7")),
        _ => None,
    }
}

/// Whether something of this kind can go although one of that kind still names it.
pub(super) fn lets_go(user: &str, named: &str) -> bool {
    match (user, named) {
        // "Deleting a NAT gateway": routes to it stay, as black holes.
        ("route_table", "nat_gateway")
        // Deleting a role takes it out of its profiles first.
        | ("instance_profile", "role")
        // Launch templates name things without holding them.
        | ("launch_template", _)
        // A group whose template is gone goes on with the instances it has.
        | ("autoscaling_group", "launch_template") => true,
        _ => false,
    }
}
