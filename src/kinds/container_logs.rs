//! Where the output of containers goes, as far as that is CloudWatch Logs.

use aws_sdk_ecs::types::{LogDriver, TaskDefinition};

use crate::aws::Aws;
use crate::cloud::CloudError;

/// Where the output of a container goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The container.
    pub container: String,
    /// The log group.
    pub group: String,
    /// What names of its streams begin with: `PREFIX/CONTAINER/TASK`. Without one they are names of Docker's.
    pub prefix: Option<String>,
}

impl Source {
    /// The stream of one task.
    pub fn stream(&self, task: &str) -> Option<String> {
        self.prefix.as_ref().map(|prefix| format!("{prefix}/{}/{task}", self.container))
    }

    /// What the names of the streams of all tasks begin with.
    pub fn streams(&self) -> Option<String> {
        self.prefix.as_ref().map(|prefix| format!("{prefix}/{}/", self.container))
    }
}

/// Where the containers of a revision write, those that write to CloudWatch Logs of this region.
pub fn sources(revision: &TaskDefinition, region: &str) -> Vec<Source> {
    let mut out = Vec::new();
    for container in revision.container_definitions() {
        let Some(log) = container.log_configuration().filter(|log| *log.log_driver() == LogDriver::Awslogs) else {
            continue;
        };
        let option = |name: &str| log.options().and_then(|options| options.get(name)).filter(|value| !value.is_empty());
        if option("awslogs-region").is_some_and(|elsewhere| elsewhere != region) {
            continue;
        }
        out.extend(option("awslogs-group").map(|group| Source {
            container: container.name().unwrap_or_default().to_owned(),
            group: group.clone(),
            prefix: option("awslogs-stream-prefix").cloned(),
        }));
    }
    out
}

/// The last lines that a task wrote to one source, the newest last.
///
/// # Errors
/// Of `GetLogEvents`; where there is no such stream, too.
pub async fn last_lines(aws: &Aws, source: &Source, task: &str, count: i32) -> Result<Vec<String>, CloudError> {
    let Some(stream) = source.stream(task) else { return Ok(Vec::new()) };
    let call = || {
        let call = aws.logs.get_log_events().log_group_name(&source.group).log_stream_name(&stream);
        call.limit(count).start_from_head(false).send()
    };
    let answer = aws.calls.read("logs:GetLogEvents", call).await?;
    Ok(answer.events().iter().filter_map(|event| event.message()).map(|line| line.trim_end().to_owned()).collect())
}
