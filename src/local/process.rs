//! The emulators' processes: started, asked, recognised and stopped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::error::{LocalError, at, tail};
use super::{http, python};

const SCRIPT: &str = include_str!("emulator.py");

/// How long an emulator may take to answer for the first time, on a busy machine and a slow disk.
const STARTING: Duration = Duration::from_secs(90);
/// How long it may take to answer later.
const ANSWERING: Duration = Duration::from_secs(5);
/// How long emptying a full one may take.
const RESETTING: Duration = Duration::from_secs(60);
/// How long a process may take to end when it is asked to, and when it is made to.
const ENDING: Duration = Duration::from_secs(5);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emulator {
    Moto,
    Ministack,
}

impl Emulator {
    pub fn name(self) -> &'static str {
        match self {
            Self::Moto => "moto",
            Self::Ministack => "ministack",
        }
    }

    /// The file of its log in a run folder.
    pub fn log(self, run: &Path) -> PathBuf {
        run.join(format!("{}.log", self.name()))
    }

    /// Whether it answers on a port.
    pub async fn answers(self, port: u16) -> bool {
        matches!(self.health(port, ANSWERING).await, Ok(200))
    }

    /// Makes it forget everything.
    pub async fn reset(self, port: u16) -> Result<(), LocalError> {
        let path = match self {
            Self::Moto => "/moto-api/reset",
            Self::Ministack => "/_ministack/reset",
        };
        let problem = match http::ask("POST", port, path, RESETTING).await {
            Ok(200) => return Ok(()),
            Ok(status) => format!("HTTP {status} to {path}"),
            Err(error) => error.to_string(),
        };
        Err(LocalError::Silent { emulator: self.name(), problem, output: String::new() })
    }

    async fn health(self, port: u16, patience: Duration) -> std::io::Result<u16> {
        let path = match self {
            Self::Moto => "/moto-api/",
            Self::Ministack => "/_ministack/health",
        };
        http::ask("GET", port, path, patience).await
    }
}

/// What both emulators of one start have in common.
pub(super) struct Start<'a> {
    /// Where what is installed is.
    pub cache: &'a Path,
    /// The Python that has them.
    pub python: &'a Path,
    /// The start's name.
    pub name: &'a str,
}

/// An emulator that was started, and outlives this value.
pub(super) struct Child {
    pub pid: u32,
    emulator: Emulator,
    port: u16,
    process: tokio::process::Child,
    log: File,
}

impl Start<'_> {
    /// Starts an emulator on a listening socket. It writes into `log`, and has `lifeline` as its standard output.
    pub fn emulator(
        &self,
        emulator: Emulator,
        listener: TcpListener,
        args: &[&str],
        log: File,
        lifeline: Option<Stdio>,
    ) -> Result<Child, LocalError> {
        let script = python::keep(self.cache, "emulator", "py", SCRIPT)?;
        let port = listener.local_addr().map_err(LocalError::Listen)?.port();
        let share = || log.try_clone().map(Stdio::from).map_err(at(&script));
        let process = Command::new(self.python)
            .arg("-I")
            .arg(&script)
            .arg(emulator.name())
            .args(["--start", self.name])
            .args(args)
            // Nothing of the user's: no credentials, profiles, proxies or settings of the emulators.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(lifeline.map_or_else(share, Ok)?)
            .stderr(share()?)
            // Out of the terminal's foreground group, whose Ctrl-C is meant for the command that started it.
            .process_group(0)
            .spawn()
            .map_err(at(self.python))?;
        let pid = process.id().ok_or(LocalError::Vanished)?;
        Ok(Child { pid, emulator, port, process, log })
    }
}

impl Child {
    /// Waits until it answers. Its socket listens from the start on, so this is one question, not many.
    pub async fn ready(&mut self) -> Result<(), LocalError> {
        let deadline = Instant::now() + STARTING;
        let emulator = self.emulator.name();
        loop {
            let answer = tokio::select! {
                answer = self.emulator.health(self.port, deadline - Instant::now()) => answer,
                outcome = self.process.wait() => return Err(self.died(outcome)),
            };
            let problem = match answer {
                Ok(200) => return Ok(()),
                Ok(status) => format!("HTTP {status}"),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(LocalError::Silent { emulator, problem, output: self.last_lines() });
            }
            // Its socket is closed a moment before it ends: a pause tells that from an answer gone wrong.
            if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(200), self.process.wait()).await {
                return Err(self.died(outcome));
            }
        }
    }

    fn died(&mut self, outcome: std::io::Result<std::process::ExitStatus>) -> LocalError {
        let outcome = outcome.map_or_else(|error| error.to_string(), |status| status.to_string());
        LocalError::Died { emulator: self.emulator.name(), outcome, output: self.last_lines() }
    }

    fn last_lines(&mut self) -> String {
        let mut text = Vec::new();
        // Where the log cannot be read, there are no lines to show; the error itself stands.
        let _ = self.log.seek(SeekFrom::Start(0)).and_then(|_| self.log.read_to_end(&mut text));
        tail(&String::from_utf8_lossy(&text))
    }
}

/// Whether a process is an emulator of this start. Process ids are given again, so the id alone says nothing.
pub(super) async fn is_ours(pid: u32, start: &str) -> bool {
    !start.is_empty() && command_line(pid).await.is_some_and(|line| line.contains(start))
}

/// A process's command line; `None` where there is no such process.
async fn command_line(pid: u32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        return Some(String::from_utf8_lossy(&line).into_owned());
    }
    let listed = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().await.ok()?;
    listed.status.success().then(|| String::from_utf8_lossy(&listed.stdout).into_owned())
}

/// Whether an emulator of this start is gone with all it held. A process that is ending has no command line any more,
/// and has its socket for a moment longer; Linux says in its state when that is over (proc(5), `/proc/pid/stat`).
async fn has_ended(pid: u32, start: &str) -> bool {
    if command_line(pid).await.is_some_and(|line| line.is_empty()) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
        return stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']));
    }
    !is_ours(pid, start).await
}

/// Stops an emulator of this start; `false` where it does not run, or the id is another process's now.
pub(super) async fn stop(pid: u32, start: &str) -> Result<bool, LocalError> {
    if !is_ours(pid, start).await {
        return Ok(false);
    }
    for signal in ["-TERM", "-KILL"] {
        let kill = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().await;
        kill.map_err(at(Path::new("kill")))?;
        let deadline = Instant::now() + ENDING;
        while Instant::now() < deadline {
            if has_ended(pid, start).await {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Err(LocalError::Unstoppable { pid })
}
