//! Interrupting an apply: what is under way ends, what was done is known, and the next run goes on.
//!
//! A proxy stands before the emulator and keeps the answers back that a test names, so that the tool is caught at the
//! same point every time, however fast or slow the machine is.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use aws_sdk_ec2::types::Filter;
use cofferdam::aws::Aws;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::support::{Emulator, unique};

/// A proxy before an emulator.
struct Proxy {
    endpoint: String,
    /// Told of each answer that is kept back.
    held: mpsc::UnboundedReceiver<()>,
    /// Lets them go.
    gate: Arc<Semaphore>,
}

impl Proxy {
    /// Keeps answers to calls of `action` back.
    async fn before(emulator: &str, action: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (told, held) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let (emulator, opened) = (emulator.trim_start_matches("http://").to_owned(), gate.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (emulator, told, gate) = (emulator.clone(), told.clone(), opened.clone());
                tokio::spawn(async move {
                    let _ = pass(client, &emulator, action, &told, &gate).await;
                });
            }
        });
        Self { endpoint, held, gate }
    }
}

/// Passes one call on, and its answer back.
async fn pass(
    mut client: TcpStream,
    emulator: &str,
    action: &str,
    told: &mpsc::UnboundedSender<()>,
    gate: &Semaphore,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let body = loop {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        if request.len() >= head + 4 + length {
            break head;
        }
    };
    let (head, rest) = request.split_at(body);
    // One call a connection, so that the end of the answer is the end of what is sent.
    let head = String::from_utf8_lossy(head);
    let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect::<Vec<_>>();
    let mut server = TcpStream::connect(emulator).await?;
    server.write_all(format!("{}\r\nConnection: close", kept.join("\r\n")).as_bytes()).await?;
    server.write_all(rest).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    if String::from_utf8_lossy(rest).contains(&format!("Action={action}&")) {
        let _ = told.send(());
        let _let_go = gate.acquire().await;
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

const STACK: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[security_group.web]
vpc         = "main"
description = "web"
"#;

/// A project with one stack, applied to an emulator through a proxy that keeps the answer to CreateVpc back.
pub struct Project {
    folder: tempfile::TempDir,
    name: String,
    proxy: Proxy,
    /// The emulator's endpoint, past the proxy.
    pub emulator: String,
}

impl Project {
    /// A project of nothing yet.
    pub async fn new() -> Self {
        let name = unique("stop");
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("name = \"{name}\"\nregion = \"eu-west-2\"\n{STACK}");
        std::fs::write(folder.path().join("stack.toml"), text).expect("the stack is written");
        let emulator = Emulator::Moto.connect().endpoint.expect("an endpoint");
        let proxy = Proxy::before(&emulator, "CreateVpc").await;
        Self { folder, name, proxy, emulator }
    }

    fn command(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_cofferdam"), endpoint);
        command.args(arguments).args(["--cloud", "aws"]);
        command
    }

    /// A program in the project's folder, with an endpoint for the tool to find.
    pub fn program(&self, program: &str, endpoint: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_clear();
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_ENDPOINT_URL", endpoint);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// An apply that has made the VPC and waits for the answer.
    async fn caught(&mut self) -> Apply {
        let endpoint = self.proxy.endpoint.clone();
        let mut child = self.command(&endpoint, &["apply", "stack.toml", "--yes"]).spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("it has one"));
        let apply = Apply { child, stderr, told: String::new() };
        self.proxy.held.recv().await.expect("the proxy stands");
        apply
    }

    /// Runs to the end, past the proxy; gives stdout and stderr.
    fn succeeds(&self, arguments: &[&str]) -> (String, String) {
        let output = self.command(&self.emulator, arguments).output().expect("it runs");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{arguments:?} failed:\n{out}\n{err}");
        (out, err)
    }

    /// Sees that the next run goes on, makes nothing twice, and leaves nothing when all is destroyed.
    async fn goes_on(&self) {
        let (out, err) = self.succeeds(&["apply", "stack.toml", "--yes"]);
        assert!(out.contains("Done: 2 created"), "only the rest is made:\n{out}\n{err}");
        self.succeeds(&["plan", "stack.toml", "--detailed-exitcode"]);
        assert_eq!(self.vpcs().await, 1, "nothing is made twice");
        self.succeeds(&["destroy", "stack.toml", "--yes"]);
        assert_eq!(self.vpcs().await, 0, "nothing is left");
    }

    /// How many VPCs of this stack there are in the cloud.
    pub async fn vpcs(&self) -> usize {
        let aws = Aws::connect(&Emulator::Moto.connect(), "test", None).await.expect("it answers");
        let ours = Filter::builder().name("tag:cofferdam:stack").values(&self.name).build();
        aws.ec2.describe_vpcs().filters(ours).send().await.expect("VPCs are described").vpcs().len()
    }
}

/// An apply that runs.
struct Apply {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    /// What it said on stderr so far.
    told: String,
}

impl Apply {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    /// Reads stderr until a line holds this.
    fn tells(&mut self, what: &str) {
        while !self.told.lines().last().is_some_and(|line| line.contains(what)) {
            let read = self.stderr.read_line(&mut self.told).expect("it is text");
            assert!(read > 0, "it ended without telling {what:?}:\n{}", self.told);
        }
    }

    /// Waits for the end; gives the exit code and stdout.
    fn ends(mut self) -> (Option<i32>, String) {
        self.stderr.read_to_string(&mut self.told).expect("it is text");
        let mut out = String::new();
        self.child.stdout.take().expect("it has one").read_to_string(&mut out).expect("it is text");
        let code = self.child.wait().expect("it ends").code();
        (code, out + "\n" + &self.told)
    }
}

/// The first signal lets what is under way end.
async fn gently(signal: &str) {
    let mut project = Project::new().await;
    let mut apply = project.caught().await;
    apply.signal(signal);
    apply.tells("stopping: waiting for 1 call under way");
    project.proxy.gate.add_permits(100);
    let (code, told) = apply.ends();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("✓ vpc.main: created"), "what was under way has ended:\n{told}");
    assert!(told.contains("Left for the next run: "), "what is left is told:\n{told}");
    assert!(told.contains("subnet.a") && told.contains("security_group.web"), "{told}");
    assert!(told.contains("run the same command again"), "{told}");
    project.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_what_is_under_way_end() {
    gently("-INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_sigterm() {
    gently("-TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_twice_leaves_at_once_and_the_next_run_settles() {
    let mut project = Project::new().await;
    let mut apply = project.caught().await;
    apply.signal("-INT");
    apply.tells("stopping: waiting for 1 call under way");
    apply.signal("-INT");
    // The answer is still kept back: whoever waited for it would wait for ever.
    let (code, told) = apply.ends();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("Left for the next run: "), "{told}");
    assert!(told.contains("vpc.main"), "what was not waited for is left too:\n{told}");
    assert_eq!(project.vpcs().await, 1, "the cloud made it all the same");
    project.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_settled_by_the_next() {
    let mut project = Project::new().await;
    let apply = project.caught().await;
    apply.signal("-KILL");
    let (code, _) = apply.ends();
    assert_eq!(code, None, "it was killed");
    project.goes_on().await;
}
