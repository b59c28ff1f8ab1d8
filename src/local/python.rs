//! The private virtual environment that the emulators are installed in.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::error::{LocalError, at, tail};
use super::{EMULATORS, Say, lock};

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The names that Python may have, the most usual one first.
const NAMES: &[&str] = &["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];

/// Tells a whole installation from one that was interrupted; it is written last.
const COMPLETE: &str = ".complete";

/// The Python of the whole installation of these requirements, where there is one.
pub(super) fn installed(cache: &Path) -> Option<PathBuf> {
    let folder = folder(cache);
    folder.join(COMPLETE).exists().then(|| interpreter(&folder))
}

/// The Python of a whole installation that works; it is made, or made anew, where there is none.
pub(super) async fn ensure(cache: &Path, search: &OsStr, say: Say<'_>) -> Result<PathBuf, LocalError> {
    if let Some(python) = working(cache).await {
        return Ok(python);
    }
    let _lock = lock(cache, "another command installs the local cloud: waiting for it", say).await?;
    if let Some(python) = working(cache).await {
        return Ok(python);
    }
    let base = find(search).await?;
    let folder = folder(cache);
    if folder.exists() {
        // An interrupted installation, or one whose Python was removed or upgraded. Its mark goes first.
        let mark = folder.join(COMPLETE);
        if mark.exists() {
            fs::remove_file(&mark).map_err(at(&mark))?;
        }
        fs::remove_dir_all(&folder).map_err(at(&folder))?;
    }
    say(&format!("installing {EMULATORS} into {} (once; some 10 to 20 seconds)", folder.display()));
    run(Command::new(&base).args(["-I", "-m", "venv"]).arg(&folder), "making a virtual environment").await?;
    let python = interpreter(&folder);
    let list = keep(&folder, "requirements", "txt", REQUIREMENTS)?;
    let mut pip = Command::new(&python);
    pip.args(["-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
        // Building from source would fetch build tools that are neither pinned nor hashed.
        .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
        .arg(&list);
    // The user's index, proxy and certificates are wanted; where they usually install to is not.
    for name in ["PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_NO_BINARY"] {
        pip.env_remove(name);
    }
    run(pip.env("PIP_USER", "0"), "pip install").await?;
    let mark = folder.join(COMPLETE);
    fs::write(&mark, "").map_err(at(&mark))?;
    Ok(python)
}

/// Keeps a text as a file named after its digest, so that versions of this program do not get in each other's way.
pub(super) fn keep(folder: &Path, stem: &str, extension: &str, text: &str) -> Result<PathBuf, LocalError> {
    let path = folder.join(format!("{stem}-{}.{extension}", digest(text)));
    if fs::read(&path).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(folder))?;
    file.write_all(text.as_bytes()).map_err(at(&path))?;
    file.persist(&path).map_err(|error| at(&path)(error.error))?;
    Ok(path)
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn folder(cache: &Path) -> PathBuf {
    cache.join(format!("venv-{}", digest(REQUIREMENTS)))
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

/// The installation, if its Python still starts and finds what was installed: an upgrade of the system's Python can
/// take either away.
async fn working(cache: &Path) -> Option<PathBuf> {
    let python = installed(cache)?;
    let find = "import sys; from importlib.util import find_spec as find; \
                sys.exit(not all(map(find, ['moto', 'flask', 'ministack'])))";
    let outcome = Command::new(&python).args(["-I", "-c", find]).output().await.ok()?;
    outcome.status.success().then_some(python)
}

/// The first Python on the search path that is new enough and can make virtual environments.
async fn find(search: &OsStr) -> Result<PathBuf, LocalError> {
    let mut older = Vec::new();
    let mut bare = None;
    for name in NAMES {
        for folder in std::env::split_paths(search).filter(|folder| folder.is_absolute()) {
            let path = folder.join(name);
            if !path.is_file() {
                continue;
            }
            let Some((major, minor, venv)) = probe(&path).await else { continue };
            match ((major, minor) >= (3, 10), venv) {
                (true, true) => return Ok(path),
                (true, false) => drop(bare.get_or_insert((path, format!("{major}.{minor}")))),
                (false, _) => older.push(format!("{} is {major}.{minor}", path.display())),
            }
        }
    }
    match bare {
        Some((python, version)) => Err(LocalError::NoVenv { python, version }),
        None if older.is_empty() => Err(LocalError::NoPython { found: "there is none that works on the PATH".into() }),
        None => Err(LocalError::NoPython { found: older.join(", ") }),
    }
}

/// A Python's version, and whether it can make virtual environments; `None` where it does not even start.
async fn probe(python: &Path) -> Option<(u32, u32, bool)> {
    let ask = "import sys; print(*sys.version_info[:2], flush=True); import ensurepip, venv";
    let Output { status, stdout, .. } = Command::new(python).args(["-I", "-c", ask]).output().await.ok()?;
    let text = String::from_utf8(stdout).ok()?;
    let (major, minor) = text.lines().next()?.split_once(' ')?;
    Some((major.parse().ok()?, minor.trim().parse().ok()?, status.success()))
}

/// Runs a step of the installation. It is stopped when nobody waits for it any more.
async fn run(command: &mut Command, step: &'static str) -> Result<(), LocalError> {
    let program = PathBuf::from(command.as_std().get_program());
    let Output { status, stdout, stderr } = command.kill_on_drop(true).output().await.map_err(at(&program))?;
    if status.success() {
        return Ok(());
    }
    let output = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    Err(LocalError::Install { step, output: tail(&output) })
}
