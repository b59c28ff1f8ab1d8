//! How a service is reached through a load balancer.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::checks::Ground;
use super::{Expose, Mode, Protocol, Service, rights};
use crate::constructs::Input;
use crate::constructs::below::{named, reference};
use crate::constructs::providers::of_cluster;
use crate::graph::{Address, Attributes, Problem, Reference, template};
use crate::kinds::ecs_service::Strategy;

/// The ports that Docker takes for containers whose port on the instance is open: those that Linux gives out.
const INSTANCE_PORTS: &str = "32768-60999";

/// A load balancer, as far as the stack knows it.
#[derive(Debug, Clone, Default)]
pub struct Balancer {
    /// How it is named: a name, a reference or an ARN.
    pub name: String,
    /// The end of its ARN, as a template.
    pub suffix: Option<String>,
    /// Its security groups.
    pub groups: Vec<String>,
    /// Whether it is a network load balancer.
    network: bool,
}

/// How a service is reached.
#[derive(Debug, Clone)]
pub struct Exposure {
    /// What the stack says of it.
    pub settings: Expose,
    /// Through which load balancer.
    pub balancer: Balancer,
    /// The listener that gets a rule; `None` where the service has one of its own.
    pub listener: Option<String>,
    /// The place of the rule.
    pub priority: i32,
    /// The port of the service's own listener.
    pub port: u16,
}

impl Exposure {
    /// What is meant; `None` where something is wrong with it.
    pub fn of(expose: &Expose, service: &Service, input: &Input<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        let before = problems.len();
        let (balancer, listener) = match (&expose.listener, &expose.load_balancer) {
            (Some(_), Some(_)) => {
                let message = "`listener` and `load_balancer` both say where requests come in";
                problems.push(Problem::at("expose.load_balancer", message).help("remove one of them"));
                return None;
            }
            (None, Some(name)) => (balancer(name, input), None),
            (Some(listener), None) => (balancer_of(listener, input), Some(listener.clone())),
            (None, None) => {
                let listener = only_listener(input, problems)?;
                (balancer_of(listener.name(), input), Some(listener.name().to_owned()))
            }
        };
        match &listener {
            Some(_) => {
                if balancer.network {
                    let message = "a network load balancer has no rules";
                    let help = "write load_balancer = \"…\", so that the service has a port of its own there";
                    problems.push(Problem::at("expose", message).help(help).maybe_follows());
                }
                for (field, given) in [("port", expose.port.is_some()), ("certificate", expose.certificate.is_some())] {
                    if given {
                        let message = format!("the listener has its {field} already");
                        let help = "take it out; or name a `load_balancer` to have a port of its own there";
                        problems.push(Problem::at(&format!("expose.{field}"), message).help(help));
                    }
                }
            }
            None => {
                for (field, given) in [
                    ("host", !expose.host.is_empty()),
                    ("path", !expose.path.is_empty()),
                    ("priority", expose.priority.is_some()),
                ] {
                    if given {
                        let message = format!("`{field}` is of a rule, and everything on a port of its own is its");
                        problems
                            .push(Problem::at(&format!("expose.{field}"), message).help("name a `listener` instead"));
                    }
                }
            }
        }
        if !balancer.network && service.protocol == Protocol::Udp {
            let message = "application load balancers speak HTTP, and the port is UDP";
            problems.push(Problem::at("protocol", message).help("use a network load balancer"));
        }
        let scaled = service.scale.as_ref().is_some_and(|scale| scale.requests.is_some());
        if scaled && (balancer.network || balancer.suffix.is_none()) {
            let message = "requests are counted by application load balancers of the stack";
            problems.push(Problem::at("scale.requests", message).help("scale by `cpu`").maybe_follows());
        }
        if service.deployment.as_ref().is_some_and(|deployment| deployment.strategy == Strategy::BlueGreen) {
            if listener.is_none() {
                let message = "a blue/green deployment switches a rule, and this service has a port of its own";
                let help = "name a `listener` instead of a load balancer";
                problems.push(Problem::at("deployment.strategy", message).help(help));
            }
            if scaled {
                let message = "requests are counted for one target group, and a blue/green deployment has two";
                problems.push(Problem::at("scale.requests", message).help("scale by `cpu`"));
            }
        }
        let usual = match (&expose.certificate, balancer.network) {
            (Some(_), _) => 443,
            (None, true) => service.port.unwrap_or(80),
            (None, false) => 80,
        };
        let exposure = Self {
            priority: expose.priority.unwrap_or_else(|| priority(expose, &input.names.origin(input.address))),
            port: expose.port.unwrap_or(usual),
            settings: expose.clone(),
            balancer,
            listener,
        };
        if let Some(listener) = &exposure.listener {
            check_priority(&exposure, listener, input, problems);
        }
        (problems.len() == before).then_some(exposure)
    }

    /// What is spoken with tasks.
    pub fn target_protocol(&self, protocol: Protocol) -> &'static str {
        match (self.balancer.network, protocol) {
            (false, _) => "http",
            (true, Protocol::Tcp) => "tcp",
            (true, Protocol::Udp) => "udp",
        }
    }

    /// What is spoken on the service's own listener.
    pub fn listener_protocol(&self, protocol: Protocol) -> &'static str {
        match (self.balancer.network, self.settings.certificate.is_some()) {
            (false, true) => "https",
            (true, true) => "tls",
            (_, false) => self.target_protocol(protocol),
        }
    }
}

/// The address of a declared block of this kind that a text names: by name, by address, or in a reference.
fn block_of<'i>(input: &Input<'i>, kind: &str, text: &str) -> Option<(Address, &'i Attributes)> {
    let address = match template::references(text).first() {
        Some(reference) => Reference::address(reference)?,
        None => Address::parse(text).or_else(|_| Address::parse(&format!("{kind}.{text}"))).ok()?,
    };
    let block = input.blocks.get(&address)?;
    (address.kind() == kind).then_some((address, block))
}

fn balancer(text: &str, input: &Input<'_>) -> Balancer {
    match block_of(input, "load_balancer", text) {
        Some((address, block)) => Balancer {
            name: reference(&address, "arn"),
            suffix: Some(reference(&address, "arn_suffix")),
            groups: rights::groups_of(block, input),
            network: block.get("type").and_then(Value::as_str) == Some("network"),
        },
        None => Balancer { name: text.to_owned(), ..Balancer::default() },
    }
}

/// The load balancer of a listener.
fn balancer_of(listener: &str, input: &Input<'_>) -> Balancer {
    let name = block_of(input, "listener", listener).and_then(|(_, block)| block.get("load_balancer")?.as_str());
    name.map(|name| balancer(name, input)).unwrap_or_default()
}

/// The listener that is meant where none is named.
fn only_listener(input: &Input<'_>, problems: &mut Vec<Problem>) -> Option<Address> {
    let redirects = |block: &Attributes| block.get("action").is_some_and(|action| action.get("redirect").is_some());
    let all: Vec<&Address> = input
        .blocks
        .iter()
        .filter(|(address, block)| address.kind() == "listener" && !redirects(block))
        .map(|(address, _)| address)
        .collect();
    match all.as_slice() {
        [only] => Some((*only).clone()),
        [] => {
            let message = "there is no listener whose requests it could get";
            let help = "declare [listener.https] on a load balancer, or give `load_balancer`";
            problems.push(Problem::at("expose", message).help(help).maybe_follows());
            None
        }
        several => {
            let names = several.iter().map(|one| format!("\"{}\"", one.name())).collect::<Vec<_>>().join(", ");
            let message = "the stack has several listeners, and the service names none";
            problems.push(Problem::at("expose", message).help(format!("add `listener`, one of {names}")));
            None
        }
    }
}

/// The place of a rule by what it asks for: host and path, host, path; within each long ones first, so that what is
/// particular comes before what is general. Within that it follows from the address, so that no rule moves when another
/// comes or goes.
fn priority(expose: &Expose, address: &Address) -> i32 {
    let band = match (expose.host.is_empty(), expose.path.is_empty()) {
        (false, false) => 0,
        (false, true) => 1,
        (true, _) => 2,
    };
    let plain = |text: &String| text.chars().filter(|c| !matches!(c, '*' | '?')).count();
    let longest = |texts: &std::collections::BTreeSet<String>| texts.iter().map(plain).max().unwrap_or_default();
    let length = if expose.path.is_empty() { longest(&expose.host) } else { longest(&expose.path) };
    let short = 99 - i32::try_from(length.min(99)).unwrap_or(99);
    let own = i32::from(Sha256::digest(address.as_str().as_bytes())[0]) % 100;
    1 + band * 10_000 + short * 100 + own
}

/// No two rules of a listener have one place.
fn check_priority(own: &Exposure, listener: &str, input: &Input<'_>, problems: &mut Vec<Problem>) {
    let same_listener = |text: &str| match (block_of(input, "listener", text), block_of(input, "listener", listener)) {
        (Some((one, _)), Some((other, _))) => one == other,
        _ => text == listener,
    };
    let text = |block: &Attributes, key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
    let taken = input.blocks.iter().filter(|(address, _)| *address != input.address).find(|(address, block)| {
        match address.kind() {
            "listener_rule" => {
                text(block, "listener").is_some_and(|one| same_listener(&one))
                    && block.get("priority") == Some(&json!(own.priority))
            }
            "service" => {
                let Some(other) =
                    block.get("expose").and_then(|one| serde_json::from_value::<Expose>(one.clone()).ok())
                else {
                    return false;
                };
                let listener = other.listener.clone().or_else(|| {
                    only_listener(input, &mut Vec::new())
                        .filter(|_| other.load_balancer.is_none())
                        .map(|one| one.name().to_owned())
                });
                listener.is_some_and(|one| same_listener(&one))
                    && other.priority.unwrap_or_else(|| priority(&other, &input.names.origin(address))) == own.priority
            }
            _ => false,
        }
    });
    if let Some((other, _)) = taken {
        let message = format!("its rule comes at {}, and so does that of {other}", own.priority);
        let path = if own.settings.priority.is_some() { "expose.priority" } else { "expose" };
        problems.push(Problem::at(path, message).help("say with `priority` which comes first"));
    }
}

/// What must be let in to the instances of a capacity, for the services that listen behind their addresses: rules of
/// `security_group`.
pub fn ways_to_instances(input: &Input<'_>, cluster: &str) -> Vec<Attributes> {
    let cluster = named(input, "cluster", "name", cluster);
    let mut rules = Vec::new();
    for (address, block) in of_cluster(input, &cluster, "service") {
        let Ok(service) = serde_json::from_value::<Service>(Value::Object(block.clone())) else { continue };
        let here = Input { address, attributes: block, ..*input };
        let ground = Ground::of(&service, &here);
        let is_here = match &ground {
            Ground::Fargate | Ground::Spot => false,
            Ground::Instances => true,
            Ground::Provider(name) => is_capacity(name, input.address),
        };
        if !is_here || service.mode.unwrap_or(Mode::Bridge) != Mode::Bridge || service.port.is_none() {
            continue;
        }
        let exposure =
            service.expose.as_ref().and_then(|expose| Exposure::of(expose, &service, &here, &mut Vec::new()));
        let mut from = service.from.clone();
        from.extend(exposure.into_iter().flat_map(|exposure| exposure.balancer.groups));
        if !from.is_empty() {
            let rule = json!({ "protocol": service.protocol.as_str(), "ports": INSTANCE_PORTS, "from": from });
            rules.extend(rule.as_object().cloned());
        }
    }
    // Services behind one load balancer need one way.
    let mut seen = std::collections::BTreeSet::new();
    rules.retain(|rule| seen.insert(Value::Object(rule.clone()).to_string()));
    rules
}

/// Whether a text names the provider of this capacity.
pub fn is_capacity(text: &str, capacity: &Address) -> bool {
    let of_reference = |target: &str| target == capacity.as_str() || target.starts_with(&format!("{capacity}/"));
    match template::references(text).first() {
        Some(reference) => of_reference(&reference.target),
        None => text == capacity.name() || text == capacity.as_str(),
    }
}
