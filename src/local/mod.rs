//! An emulated AWS on this machine: two emulators from PyPI in a private virtual environment, on loopback.
//!
//! moto stands for everything but ECS, whose services never get running there; ECS is ministack's, and moto is taught
//! to scale the services of that ECS. Both keep everything in memory: a start is an empty cloud, told from the last one
//! by [`Endpoints::instance`].

mod error;
mod http;
mod process;
mod python;
mod record;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

pub use error::LocalError;
use error::at;
use process::{Emulator, Start};
use record::{Record, Server};

use crate::aws::Connect;

/// Where progress is told: one short line, without an end, for each step that takes a while.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// What the emulators are, for messages; the versions are those of `requirements.txt`.
pub const EMULATORS: &str = "moto 5.2.5 and ministack 1.5.33";

/// The emulated AWS of one run folder.
#[derive(Debug, Clone)]
pub struct Local {
    cache: PathBuf,
    run: PathBuf,
    search: OsString,
}

/// What there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The emulators are not installed yet, or in another version than this one.
    NotInstalled,
    /// Installed, and nothing runs.
    Stopped,
    /// It answers.
    Running(Endpoints),
}

/// A running emulated AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The endpoint of every service but those that have their own here: `http://127.0.0.1:41001`.
    pub main: String,
    /// The endpoint of ECS, and of CloudWatch's alarms and dashboards.
    pub ecs: String,
    /// The process behind `main`.
    pub main_pid: u32,
    /// The process behind `ecs`.
    pub ecs_pid: u32,
    /// Names this cloud's contents: another one after each start and each reset, for nothing outlives either. State
    /// that was written against another instance describes a cloud that is gone.
    pub instance: String,
}

impl Endpoints {
    /// How to reach it with clients of a region.
    pub fn connect(&self, region: &str) -> Connect {
        Connect {
            region: region.to_owned(),
            endpoint: Some(self.main.clone()),
            endpoints: ["ecs", "cloudwatch"].map(|service| (service.to_owned(), self.ecs.clone())).into(),
            emulated: true,
        }
    }
}

/// An emulated AWS that ends with this process, or when this value is dropped.
#[derive(Debug)]
pub struct Attached {
    /// Where it is.
    pub endpoints: Endpoints,
    /// The ends of the sockets that the emulators watch.
    _lifelines: [UnixStream; 2],
}

impl Local {
    /// The emulated AWS whose programs are installed under `cache`, which many may share, and whose processes and logs
    /// are recorded in `run`. Python is looked for in the folders of `search`, a `PATH`.
    pub fn new(cache: impl Into<PathBuf>, run: impl Into<PathBuf>, search: impl Into<OsString>) -> Self {
        Self { cache: cache.into(), run: run.into(), search: search.into() }
    }

    /// The user's own one, by the XDG base directories (`XDG_CACHE_HOME`, `XDG_STATE_HOME`, else below `HOME`); `None`
    /// where none of them is known. `var` looks an environment variable up.
    pub fn of_user(var: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let folder = |name: &str, below_home: &str| {
            let named = var(name).map(PathBuf::from).filter(|path| path.is_absolute());
            let home = var("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            named.or_else(|| home.map(|home| home.join(below_home))).map(|path| path.join("cofferdam").join("local"))
        };
        let cache = folder("XDG_CACHE_HOME", ".cache")?;
        let run = folder("XDG_STATE_HOME", ".local/state")?;
        Some(Self::new(cache, run, var("PATH").unwrap_or_default()))
    }

    /// The folder of its processes' record and logs.
    pub fn run_folder(&self) -> &Path {
        &self.run
    }

    /// The same installation with other processes.
    pub fn in_folder(&self, run: impl Into<PathBuf>) -> Self {
        Self { run: run.into(), ..self.clone() }
    }

    /// What there is of it. Starts nothing and waits for nobody.
    pub async fn status(&self) -> Status {
        if let Some(endpoints) = self.running().await {
            return Status::Running(endpoints);
        }
        match python::installed(&self.cache) {
            Some(_) => Status::Stopped,
            None => Status::NotInstalled,
        }
    }

    /// Makes it run: installs what is missing, starts it, and waits until it answers. One that runs already is used as
    /// it is; [`Endpoints::instance`] tells whether it is the one that was there before.
    ///
    /// # Errors
    /// Where Python is missing, the installation fails, or an emulator ends or does not answer.
    pub async fn up(&self, say: Say<'_>) -> Result<Endpoints, LocalError> {
        if let Some(endpoints) = self.running().await {
            return Ok(endpoints);
        }
        let _lock = self.lock(say).await?;
        // Another command may have started it meanwhile.
        if let Some(endpoints) = self.running().await {
            return Ok(endpoints);
        }
        let mut record = Record::read(&self.run);
        // Half of it is of no use: what one has kept does not fit an empty other.
        self.stop(&mut record).await?;
        let python = python::ensure(&self.cache, &self.search, say).await?;
        say("starting the local cloud");
        let main = listen(record.main.port)?;
        let ecs = listen(record.ecs.port)?;
        record = Record {
            start: unique(),
            instance: unique(),
            main: Server { port: Some(main.1), pid: None },
            ecs: Server { port: Some(ecs.1), pid: None },
        };
        let start = Start { cache: &self.cache, python: &python, name: &record.start };
        let ecs_endpoint = endpoint(ecs.1);
        let moto_log = File::create(Emulator::Moto.log(&self.run)).map_err(at(&self.run))?;
        let ministack_log = File::create(Emulator::Ministack.log(&self.run)).map_err(at(&self.run))?;
        let mut moto = start.emulator(Emulator::Moto, main.0, &["--ecs", &ecs_endpoint], moto_log, None)?;
        let mut ministack = match start.emulator(Emulator::Ministack, ecs.0, &[], ministack_log, None) {
            Ok(ministack) => ministack,
            Err(error) => {
                process::stop(moto.pid, &record.start).await?;
                return Err(error);
            }
        };
        record.main.pid = Some(moto.pid);
        record.ecs.pid = Some(ministack.pid);
        // Before the wait, so that whoever comes after an interrupted one finds the processes.
        let written = record.write(&self.run);
        let outcome = match written {
            Ok(()) => ready(&mut moto, &mut ministack).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.stop(&mut record).await?;
            return Err(error);
        }
        record.endpoints().ok_or(LocalError::Vanished)
    }

    /// Stops it; whether there was something to stop. All that was made in it is lost.
    ///
    /// # Errors
    /// Where a process does not end, or the run folder cannot be written.
    pub async fn down(&self) -> Result<bool, LocalError> {
        let _lock = self.lock(&|_| {}).await?;
        let mut record = Record::read(&self.run);
        self.stop(&mut record).await
    }

    /// Empties it. `None` where it does not run: its next start is empty anyway.
    ///
    /// # Errors
    /// Where an emulator does not do so, or the run folder cannot be written.
    pub async fn reset(&self) -> Result<Option<Endpoints>, LocalError> {
        let _lock = self.lock(&|_| {}).await?;
        if self.running().await.is_none() {
            return Ok(None);
        }
        let mut record = Record::read(&self.run);
        // The new name first: state that names a cloud which is half gone must not be believed.
        record.instance = unique();
        record.write(&self.run)?;
        for (emulator, server) in [(Emulator::Moto, record.main), (Emulator::Ministack, record.ecs)] {
            let Some(port) = server.port else { continue };
            emulator.reset(port).await?;
        }
        Ok(record.endpoints())
    }

    /// Starts one that ends with this process, however that ends, beside any other; for tests and measurements. Nothing
    /// is recorded of it.
    ///
    /// # Errors
    /// As [`Local::up`].
    pub async fn attached(&self, say: Say<'_>) -> Result<Attached, LocalError> {
        let python = python::ensure(&self.cache, &self.search, say).await?;
        let (main, ecs) = (listen(None)?, listen(None)?);
        let name = unique();
        let start = Start { cache: &self.cache, python: &python, name: &name };
        let log = || tempfile::tempfile().map_err(at(&std::env::temp_dir()));
        let pair = || UnixStream::pair().map_err(at(Path::new("a pair of sockets")));
        let (moto_ours, moto_theirs) = pair()?;
        let (ministack_ours, ministack_theirs) = pair()?;
        let ecs_endpoint = endpoint(ecs.1);
        let args = ["--attached", "--ecs", &ecs_endpoint];
        let mut moto = start.emulator(Emulator::Moto, main.0, &args, log()?, Some(lifeline(moto_theirs)))?;
        let mut ministack =
            start.emulator(Emulator::Ministack, ecs.0, &["--attached"], log()?, Some(lifeline(ministack_theirs)))?;
        ready(&mut moto, &mut ministack).await?;
        let endpoints = Endpoints {
            main: endpoint(main.1),
            ecs: ecs_endpoint,
            main_pid: moto.pid,
            ecs_pid: ministack.pid,
            instance: unique(),
        };
        Ok(Attached { endpoints, _lifelines: [moto_ours, ministack_ours] })
    }

    /// What the record says, where it is true of both emulators.
    async fn running(&self) -> Option<Endpoints> {
        let record = Record::read(&self.run);
        let endpoints = record.endpoints()?;
        let ours = process::is_ours(endpoints.main_pid, &record.start).await
            && process::is_ours(endpoints.ecs_pid, &record.start).await;
        let (main, ecs) = (record.main.port?, record.ecs.port?);
        (ours && Emulator::Moto.answers(main).await && Emulator::Ministack.answers(ecs).await).then_some(endpoints)
    }

    /// Stops the processes of a record, keeping their ports for the next start; whether there were any.
    async fn stop(&self, record: &mut Record) -> Result<bool, LocalError> {
        let mut stopped = false;
        for pid in [record.main.pid.take(), record.ecs.pid.take()].into_iter().flatten() {
            stopped |= process::stop(pid, &record.start).await?;
        }
        if self.run.exists() {
            record.write(&self.run)?;
        }
        Ok(stopped)
    }

    /// The right to change what runs, for as long as the file is kept.
    async fn lock(&self, say: Say<'_>) -> Result<File, LocalError> {
        lock(&self.run, "another command starts or stops the local cloud: waiting for it", say).await
    }
}

/// Waits until both answer.
async fn ready(moto: &mut process::Child, ministack: &mut process::Child) -> Result<(), LocalError> {
    let (moto, ministack) = tokio::join!(moto.ready(), ministack.ready());
    moto.and(ministack)
}

/// Locks the file `lock` of a folder, which is made where it is missing, and waits for whoever holds it.
async fn lock(folder: &Path, waiting: &str, say: Say<'_>) -> Result<File, LocalError> {
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            say(waiting);
            let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
            locked.map_err(std::io::Error::other).flatten().map_err(at(&path))
        }
        Err(TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

/// A socket that listens on loopback: on this port, or on any other where it is taken.
fn listen(port: Option<u16>) -> Result<(TcpListener, u16), LocalError> {
    // Below the ports that systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere), so that
    // the port is still free at the next start. Port 0 is any that the system finds free.
    let random = || 20_000 + (uuid::Uuid::new_v4().as_u128() % 12_000) as u16;
    let wanted = port.into_iter().chain((0..20).map(|_| random())).chain([0]);
    let mut last = None;
    for port in wanted {
        match TcpListener::bind(("127.0.0.1", port)).and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
        {
            Ok((port, listener)) => return Ok((listener, port)),
            Err(error) => last = Some(error),
        }
    }
    Err(LocalError::Listen(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

fn lifeline(socket: UnixStream) -> Stdio {
    Stdio::from(OwnedFd::from(socket))
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
