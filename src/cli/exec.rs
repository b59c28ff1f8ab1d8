//! `exec`: a session in a container.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::failure::{Failure, Outcome};
use super::run::container_of;
use super::service::{ReadSession, ServiceOptions};
use crate::services::{self, Status};
use crate::words::shell_words;

/// The program that speaks the protocol of sessions.
const PLUGIN: &str = "session-manager-plugin";

/// Opens a session in a container of a service: a shell, or another command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam exec ecs-poc web --cloud aws
  cofferdam exec ecs-poc web --cloud aws --task 0123456789abcdef0123456789abcdef -- cat /etc/hosts

The service needs exec = true, and its task role the actions of SSM's message channels. The session itself is spoken by \
AWS's session-manager-plugin, which has to be installed.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceOptions,

    /// The task; without it the one that came last
    #[arg(long, value_name = "ID")]
    task: Option<String>,

    /// The container
    #[arg(long, value_name = "NAME")]
    container: Option<String>,

    /// What it runs; without it a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let opened = ReadSession::open(&args.service.stack).await?;
    let service = opened.service(&args.service.service)?;
    let aws = opened.aws();
    let container = container_of(&opened.state, &service, args.container.as_deref())?;
    if !services::describe(aws, &service).await?.enable_execute_command() {
        return Err(Failure::new(format!("{} opens no sessions", service.address))
            .help("set exec = true on it, apply, and let its tasks be replaced"));
    }
    let running = services::tasks(aws, service.cluster(), service.name(), Status::Running).await?;
    let task = match &args.task {
        Some(id) => running.iter().find(|task| task.id.starts_with(id.as_str())),
        None => running.iter().find(|task| task.status == "RUNNING"),
    };
    let Some(task) = task else {
        let ids: Vec<&str> = running.iter().map(|task| task.id.as_str()).collect();
        let help = if ids.is_empty() { "none runs".to_owned() } else { format!("there are {}", ids.join(", ")) };
        return Err(Failure::new("there is no such task").help(help));
    };
    let Some(plugin) = installed() else {
        return Err(Failure::new(format!("{PLUGIN} is not installed, which speaks the protocol of sessions")).help(
            "install it as \"Install the Session Manager plugin for the AWS CLI\" in the AWS Systems Manager guide says, \
             and see that it is on the PATH",
        ));
    };
    let command = if args.command.is_empty() { "/bin/sh".to_owned() } else { shell_words(&args.command) };
    let opened = services::open_session(aws, service.cluster(), &task.arn, &container, &command).await?;
    let region = &aws.scope.region;
    let response = json!({ "SessionId": opened.id, "StreamUrl": opened.url, "TokenValue": opened.token }).to_string();
    let request = json!({ "Target": opened.target }).to_string();
    let endpoint = format!("https://ssm.{region}.amazonaws.com");
    // An interrupt is for what runs in the session, and the plugin hands it on.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let ended = tokio::process::Command::new(&plugin)
        .args([response.as_str(), region, "StartSession", "", request.as_str(), endpoint.as_str()])
        .status()
        .await
        .map_err(|error| Failure::new(format!("cannot run {}: {error}", plugin.display())))?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Where the plugin is installed.
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(PLUGIN)).find(|file| file.is_file())
}
