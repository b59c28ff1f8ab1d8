//! Sessions in containers.

use super::tail;
use crate::aws::Aws;
use crate::cloud::CloudError;

/// A session that waits for whoever speaks its protocol.
#[derive(Clone)]
pub struct OpenSession {
    /// Its id.
    pub id: String,
    /// Where it is spoken.
    pub url: String,
    /// What lets one in. Never printed.
    pub token: String,
    /// What it is a session of, in the words of the plugin: `ecs:CLUSTER_TASK_RUNTIME`.
    pub target: String,
}

/// Opens a session that runs a command in a container of a task.
///
/// # Errors
/// Of `ExecuteCommand` and `DescribeTasks`.
pub async fn open_session(
    aws: &Aws,
    cluster: &str,
    task: &str,
    container: &str,
    command: &str,
) -> Result<OpenSession, CloudError> {
    const CALL: &str = "ecs:ExecuteCommand";
    let described = super::described(aws, cluster, &[task.to_owned()]).await?;
    let own = described.first().map(|task| task.containers()).unwrap_or_default();
    let own = own.iter().find(|one| one.name() == Some(container));
    let runtime = own.and_then(|one| one.runtime_id()).unwrap_or_default().to_owned();
    let call = || {
        let call = aws.ecs.execute_command().cluster(cluster).task(task).container(container);
        call.command(command).interactive(true).send()
    };
    let answer = aws.calls.write(CALL, call).await?;
    let session = answer.session.ok_or_else(|| CloudError::unexpected(CALL, "the answer holds no session"))?;
    let token = session.token_value().unwrap_or_default().to_owned();
    Ok(OpenSession {
        id: session.session_id.unwrap_or_default(),
        url: session.stream_url.unwrap_or_default(),
        token,
        target: format!("ecs:{cluster}_{}_{runtime}", tail(task)),
    })
}
