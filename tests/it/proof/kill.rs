//! The real binary under `kill -9`, against an emulator over HTTP.
//!
//! A proxy stands before the emulator and kills the tool when it has seen so many requests and answers: the moment is
//! chosen by how far the run is, and is drawn at random. `COFFERDAM_KILLS` says how many moments are tried (`make prove`:
//! 50), `COFFERDAM_SEED` where drawing them begins.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_ec2::types::Filter;

use super::seeds::{Draws, number};
use crate::lifecycle::{Project, text};
use crate::support::Emulator;

const STACK: &str = r#"
[tags]
Team = "one"

[network.main]
cidr = "10.0.0.0/16"
zone = "{u}.local"
# The emulator never gives the address of a deleted NAT gateway back.
nat  = "none"

[network.main.subnets]
private = { a = "10.0.0.0/24", b = "10.0.1.0/24" }
public  = { a = "10.0.2.0/24", b = "10.0.3.0/24" }

[security_group.web]
vpc         = "${network.main.vpc_id}"
description = "web"

[elastic_ip.app]

[role.app]
service = "ecs-tasks.amazonaws.com"

[instance_profile.app]
role = "app"

[log_group.app]
retention_days = 7

[repository.app]
keep_images = 10
"#;

/// The same stack with changes in place and a network elsewhere.
fn changed() -> String {
    STACK.replace("\"one\"", "\"two\"").replace("\"10.0.", "\"10.1.").replace("= 7", "= 14")
}

/// Kills a process once it has come so far.
#[derive(Default)]
struct Executioner {
    /// Requests and answers so far.
    seen: AtomicU64,
    victim: Mutex<Option<(Child, u64)>>,
}

impl Executioner {
    /// One more request or answer went by.
    fn pass(&self) {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        let mut victim = self.victim.lock().expect("no thread panics");
        if let Some((child, at)) = victim.as_mut()
            && seen >= *at
        {
            // SIGKILL: nothing of the process runs after this.
            let _ = child.kill();
        }
    }
}

/// A proxy that passes one call a connection, and tells of each request and each answer.
fn proxy(emulator: &str, executioner: Arc<Executioner>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let emulator = emulator.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (emulator, executioner) = (emulator.clone(), executioner.clone());
            std::thread::spawn(move || pass(client, &emulator, &executioner));
        }
    });
    endpoint
}

fn pass(mut client: TcpStream, emulator: &str, executioner: &Executioner) -> std::io::Result<()> {
    let (mut request, mut part) = (Vec::new(), [0; 16 * 1024]);
    let head = loop {
        let read = client.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
        let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        if request.len() >= head + 4 + length {
            break head;
        }
    };
    executioner.pass();
    let (head, rest) = request.split_at(head);
    let head = String::from_utf8_lossy(head);
    let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect::<Vec<_>>();
    let mut server = TcpStream::connect(emulator)?;
    server.write_all(format!("{}\r\nConnection: close", kept.join("\r\n")).as_bytes())?;
    server.write_all(rest)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    executioner.pass();
    client.write_all(&answer)
}

/// Runs a verb through the proxy and kills it at this moment; gives whether that was before its end, and what it told.
fn killed(project: &Project, verb: &str, at: u64) -> (bool, String) {
    let executioner = Arc::new(Executioner::default());
    let endpoint = proxy(&Emulator::Moto.connect().endpoint.expect("an endpoint"), executioner.clone());
    let mut command = project.command();
    command.env("AWS_ENDPOINT_URL", endpoint).args([verb, "stack.toml", "--cloud", "aws", "--yes"]);
    if verb == "apply" {
        // The edit makes most of it anew.
        command.arg("--allow-deletes");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stderr = child.stderr.take().expect("it is piped");
    *executioner.victim.lock().expect("no thread panics") = Some((child, at));
    let mut told = Vec::new();
    // Its end of the pipe closes when it dies.
    stderr.read_to_end(&mut told).expect("it is read");
    let victim = executioner.victim.lock().expect("no thread panics").take();
    let (mut child, _) = victim.expect("nobody else takes it");
    let status = child.wait().expect("it ends");
    (status.signal() == Some(9), text(&told))
}

/// What of EC2 bears this stack's tag: each thing there is, by its id.
async fn tagged(name: &str) -> BTreeSet<String> {
    let cloud = Emulator::Moto.cloud().await;
    let ours = Filter::builder().name("tag:cofferdam:stack").values(name).build();
    let ec2 = &cloud.aws().ec2;
    let mut ids = BTreeSet::new();
    let answer = ec2.describe_vpcs().filters(ours.clone()).send().await.expect("VPCs");
    ids.extend(answer.vpcs().iter().filter_map(|one| one.vpc_id().map(str::to_owned)));
    let answer = ec2.describe_subnets().filters(ours.clone()).send().await.expect("subnets");
    ids.extend(answer.subnets().iter().filter_map(|one| one.subnet_id().map(str::to_owned)));
    let answer = ec2.describe_security_groups().filters(ours.clone()).send().await.expect("groups");
    ids.extend(answer.security_groups().iter().filter_map(|one| one.group_id().map(str::to_owned)));
    let answer = ec2.describe_route_tables().filters(ours.clone()).send().await.expect("route tables");
    ids.extend(answer.route_tables().iter().filter_map(|one| one.route_table_id().map(str::to_owned)));
    let answer = ec2.describe_internet_gateways().filters(ours.clone()).send().await.expect("internet gateways");
    ids.extend(answer.internet_gateways().iter().filter_map(|one| one.internet_gateway_id().map(str::to_owned)));
    let answer = ec2.describe_addresses().filters(ours).send().await.expect("addresses");
    ids.extend(answer.addresses().iter().filter_map(|one| one.allocation_id().map(str::to_owned)));
    ids
}

/// The kinds that [`tagged`] finds.
const TAGGED: [&str; 6] = ["vpc", "subnet", "security_group", "route_table", "internet_gateway", "elastic_ip"];

/// After the next run: everything is there once, known and as the stack says.
async fn all_is_well(project: &Project, what: &str) {
    project.plan_is_empty(what);
    let state = project.state();
    assert!(state.unresolved.is_empty() && state.deposed.is_empty(), "{what}: {state:?}");
    let known: BTreeMap<String, String> = project.ids();
    let kind = |address: &str| address.rsplit('/').next().and_then(|own| own.split('.').next()).map(str::to_owned);
    let known: BTreeSet<String> = known
        .into_iter()
        .filter(|(address, _)| kind(address).is_some_and(|kind| TAGGED.contains(&kind.as_str())))
        .map(|(_, id)| id)
        .collect();
    assert_eq!(tagged(&project.name).await, known, "{what}: the cloud holds what the state knows, and nothing else");
}

/// One life of the stack, each of its three runs killed at a moment that is drawn.
async fn life(seed: u64) -> Vec<u64> {
    let mut draws = Draws::of(seed);
    let project = Project::new(Emulator::Moto, STACK);
    let mut moments = Vec::new();
    for (index, (verb, stack)) in [("apply", STACK), ("apply", &changed()), ("destroy", &changed())].iter().enumerate()
    {
        project.write(stack);
        // About so many requests and answers such a run has; one that has fewer comes to its end.
        let at = draws.below([96, 164, 96][index]);
        let (was_killed, told) = killed(&project, verb, at);
        moments.extend(was_killed.then_some(at));
        let before = std::fs::exists(project.path("state").join(&project.name)).expect("it can be asked");
        let state = before.then(|| project.state());
        if *verb == "destroy" {
            let output = project.run(&["destroy", "--yes"]);
            assert!(output.status.success(), "seed {seed}, {verb} killed at {at}:\n{told}\n{}", text(&output.stderr));
            assert_eq!(tagged(&project.name).await, BTreeSet::new(), "seed {seed}: nothing is left");
            project.nothing_is_left_of(&state.expect("it was applied")).await;
            continue;
        }
        let output = project.run(&["apply", "--yes", "--allow-deletes"]);
        let again = text(&output.stderr);
        assert!(output.status.success(), "seed {seed}, {verb} killed at {at}:\n{told}\n{again}");
        for intent in state.iter().flat_map(|state| &state.unresolved) {
            let line = format!("note: {}: an interrupted run ", intent.address);
            assert_eq!(again.matches(&line).count(), 1, "seed {seed}: {line:?} is told once:\n{again}");
        }
        all_is_well(&project, &format!("seed {seed}, {verb} killed at {at}")).await;
    }
    moments
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_survives_kill_9_at_random_moments() {
    let kills = number("COFFERDAM_KILLS").unwrap_or(6);
    let first = number("COFFERDAM_SEED").unwrap_or(0);
    let began = std::time::Instant::now();
    // Most of the time is spent waiting for what was never made to show up all the same.
    let lives = (0..kills.div_ceil(3)).map(|life| first + life);
    let mut told = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    for seed in lives {
        if running.len() >= 6 {
            told.extend(running.join_next().await);
        }
        running.spawn(async move {
            let inside = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || inside.block_on(life(seed))).await.expect("a life goes well")
        });
    }
    while let Some(one) = running.join_next().await {
        told.push(one);
    }
    let lives = told.len();
    let moments: Vec<u64> = told.into_iter().flat_map(|one| one.expect("a life goes well")).collect();
    println!(
        "{} kills in {lives} lives, after so many requests and answers: {moments:?}, {:.0?}",
        moments.len(),
        began.elapsed()
    );
    assert!(!moments.is_empty(), "some are killed before their end");
}
