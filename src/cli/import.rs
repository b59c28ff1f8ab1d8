//! `import`: takes something that exists into the state.

use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::options::StackOptions;
use super::render::style;
use super::session::Session;
use crate::cloud::Cloud;
use crate::graph::{Address, Attributes, template};
use crate::plan::same;
use crate::state::{Entry, Record};

/// Adopts something that exists: from then on it belongs to the stack. The cloud is not changed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cofferdam import ecs-poc vpc.main vpc-0f00ba40f00ba40f0 --cloud aws\n\nThe stack must declare the address. Plan afterwards: it shows what differs."
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The address in the stack
    address: String,

    /// Its id in the cloud
    id: String,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let address = Address::parse(&args.address).map_err(|e| Failure::new(e.to_string()))?;
    let session = Session::open(&args.stack).await?;
    let Some(resource) = session.stack.graph.get(&address) else {
        return Err(Failure::new(format!("the stack declares no `{address}`")).help(format!(
            "write [{}.{}] into the stack first",
            address.kind(),
            address.name()
        )));
    };
    let mut writer = session.lock("import").await?;
    if let Some(entry) = writer.state().resources.get(&address) {
        return Err(Failure::new(format!("`{address}` is in the state already, as {}", entry.id))
            .help(format!("`cofferdam state rm {} {address}` lets the state forget it", args.stack.stack)));
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
        depends_on: session.stack.graph.dependencies(&address).into_iter().map(|(a, _)| a.clone()).collect(),
        protect: resource.protect,
        complete: true,
        read_only: false,
    };
    writer.note(Record::Put { address: address.clone(), entry });
    writer.close()?;
    outln!("{} {address} is {} now.", style::good("✓"), observed.id);
    let next = if differs { "It differs from the stack" } else { "Its tags may differ from the stack" };
    outln!("{next}: `cofferdam plan {}` shows what an apply would change.", args.stack.stack);
    Ok(ExitCode::SUCCESS)
}

/// The attributes that hold no reference: what a kind may need to know to read its resource.
fn literal_part(attributes: &Attributes) -> Attributes {
    attributes.iter().filter_map(|(name, value)| Some((name.clone(), template::literal(value)?))).collect()
}
