//! `import`: takes something that exists into the state.

use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::options::{LockOptions, StackOptions};
use super::render::style;
use super::session::Session;
use crate::cloud::Cloud;
use crate::graph::{Address, Attributes, KindSpec, template};
use crate::plan::same;
use crate::state::{Entry, Record};

/// Adopts something that exists: from then on it belongs to the stack. The cloud is not changed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cofferdam import ecs-poc network.main/vpc.main vpc-0f00ba40f00ba40f0 --cloud aws\n\nThe stack must declare the address. Plan afterwards: it shows what differs."
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The address in the stack
    address: String,

    /// Its id in the cloud
    id: String,

    #[command(flatten)]
    lock: LockOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let address = Address::parse(&args.address).map_err(|e| Failure::new(e.to_string()))?;
    let session = Session::open(&args.stack).await?;
    let mut writer = session.lock("import", &args.lock).await?;
    let graph = session.graph(Some(writer.state()))?;
    let Some(resource) = graph.get(&address) else {
        return Err(Failure::new(format!("the stack declares no `{address}`")).help(format!(
            "write [{}.{}] into the stack first",
            address.kind(),
            address.name()
        )));
    };
    if resource.existing.is_some() || session.cloud.spec(address.kind()).is_some_and(KindSpec::is_lookup) {
        return Err(Failure::new(format!("`{address}` is only read: it belongs to somebody else"))
            .help("take `existing` out of its block, so that it is the stack's own, and import it then"));
    }
    if let Some(entry) = writer.state().resources.get(&address) {
        return Err(Failure::new(format!("`{address}` is in the state already, as {}", entry.id))
            .help(format!("`{} {address}` lets the state forget it", args.stack.command("state rm"))));
    }
    let elsewhere = writer
        .state()
        .resources
        .iter()
        .find(|(other, entry)| other.kind() == address.kind() && entry.id == args.id && !entry.read_only);
    if let Some((other, _)) = elsewhere {
        return Err(Failure::new(format!("{} is in the state already, as `{other}`", args.id))
            .help(format!("`{} {other} {address}` gives it the other address", args.stack.command("state mv"))));
    }
    let literal = literal_part(&resource.attributes);
    let observed = session.cloud.look_up(address.kind(), Some(&args.id), &literal).await?;
    let differs = resource.attributes.iter().any(|(name, value)| {
        name != "tags"
            && !template::has_template(value)
            && observed.attributes.get(name).is_some_and(|now| !same(value, now))
    });
    // What the cloud does not return cannot differ; but for tags, which the stack wants on it.
    let mut attributes = observed.attributes;
    for (name, value) in literal.into_iter().filter(|(name, _)| name != "tags") {
        attributes.entry(name).or_insert(value);
    }
    let mut outputs = observed.outputs;
    outputs.insert("id".into(), observed.id.clone().into());
    let entry = Entry {
        changing: Attributes::new(),
        id: observed.id.clone(),
        attributes,
        outputs,
        depends_on: graph.dependencies(&address).into_iter().map(|(a, _)| a.clone()).collect(),
        protect: resource.protect,
        complete: true,
        read_only: false,
    };
    writer.note(Record::Put { address: address.clone(), entry });
    writer.close()?;
    outln!("{} {address} is {} now.", style::good("✓"), observed.id);
    let next = if differs { "It differs from the stack" } else { "Its tags may differ from the stack" };
    outln!("{next}: `{}` shows what an apply would change.", args.stack.command("plan"));
    Ok(ExitCode::SUCCESS)
}

/// The attributes that hold no reference: what a kind may need to know to read its resource.
fn literal_part(attributes: &Attributes) -> Attributes {
    attributes.iter().filter_map(|(name, value)| Some((name.clone(), template::literal(value)?))).collect()
}
