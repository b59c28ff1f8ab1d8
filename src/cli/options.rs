//! Options that several verbs share.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::project;
use crate::words::shell_words;

/// Which cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CloudName {
    /// An emulated AWS on this machine; needs no account and costs nothing
    Local,
    /// AWS, with the usual credential chain
    Aws,
}

impl CloudName {
    /// Its name in state directories and plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Aws => "aws",
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Makes it so for everything printed from now on.
    pub fn apply(self) {
        match self {
            Self::Auto => {}
            Self::Always => anstream::ColorChoice::Always.write_global(),
            Self::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

/// Which stack, and what it is made of.
#[derive(Debug, Clone, Args)]
pub struct StackOptions {
    /// The stack: a file, or the name of one in stacks/
    pub stack: String,

    /// The environment whose overlay is laid over the stack ([env.NAME])
    #[arg(long, value_name = "NAME", env = "COFFERDAM_ENV")]
    pub env: Option<String>,

    /// A variable's value; also from the environment as COFFERDAM_VAR_name
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub vars: Vec<(String, String)>,

    /// The cloud
    #[arg(long, value_enum, default_value_t = CloudName::Local, env = "COFFERDAM_CLOUD")]
    pub cloud: CloudName,

    /// The directory that holds the states of all stacks [default: `state` in the project's folder]
    #[arg(long, value_name = "DIR", env = "COFFERDAM_STATE")]
    pub state: Option<PathBuf>,

    /// Begin anew here, although the stack stands in another account or region, or under another name, already
    #[arg(long, visible_aliases = ["new-region", "new-name"])]
    pub new_account: bool,
}

impl StackOptions {
    /// A further command on the same stack, to suggest: `verb` with the stack and what it takes to mean the same one.
    pub fn command(&self, verb: &str) -> String {
        let state = self.state.as_ref().map(|state| state.display().to_string());
        let mut words = vec![self.stack.as_str()];
        words.extend(self.env.iter().flat_map(|env| ["--env", env]));
        if self.cloud != CloudName::Local {
            words.extend(["--cloud", self.cloud.as_str()]);
        }
        words.extend(state.iter().flat_map(|state| ["--state", state]));
        format!("cofferdam {verb} {}", shell_words(&words))
    }

    /// The same for a command that reads the stack, and has to read the same in it.
    pub fn same_inputs(&self, verb: &str) -> String {
        let vars = self.vars.iter().flat_map(|(name, value)| ["--var".to_owned(), format!("{name}={value}")]);
        let anew = self.new_account.then(|| "--new-account".to_owned());
        let more: Vec<String> = vars.chain(anew).collect();
        let space = if more.is_empty() { "" } else { " " };
        format!("{}{space}{}", self.command(verb), shell_words(&more))
    }

    /// Lets hints speak of this stack: see [`in_hints`].
    pub fn hint_about_this(&self) {
        // A command is about one stack.
        let _ = MEANT.set(self.clone());
    }

    /// The directory that holds the states.
    pub fn state_directory(&self) -> PathBuf {
        project::state_directory(self.state.as_deref(), Some(&self.stack))
    }
}

/// The stack that this command is about.
static MEANT: OnceLock<StackOptions> = OnceLock::new();

/// A hint with the stack that this command is about, and what it takes to mean it, for the `STACK` of the commands that it
/// names: who gives hints does not know what was typed.
pub fn in_hints(text: &str) -> String {
    match MEANT.get() {
        Some(options) => with_stack(text, options),
        None => text.to_owned(),
    }
}

fn with_stack(text: &str, options: &StackOptions) -> String {
    const PLACE: &str = " STACK";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(PLACE) {
        let (before, after) = rest.split_at(at);
        let verb = before.rfind("cofferdam ").map(|from| (from, &before[from + "cofferdam ".len()..]));
        match verb.filter(|(_, verb)| verb.chars().all(|c| c.is_ascii_lowercase() || c == ' ')) {
            Some((from, verb)) => out.extend([&before[..from], &options.command(verb)]),
            None => out.extend([before, PLACE]),
        }
        rest = &after[PLACE.len()..];
    }
    out + rest
}

/// What is done where somebody else holds the state's lock.
#[derive(Debug, Clone, Args)]
pub struct LockOptions {
    /// Where somebody else holds the state's lock, wait for it so long: 90s, 10m
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true, value_parser = duration)]
    pub lock_wait: Duration,
}

/// What a plan is made of.
#[derive(Debug, Clone, Args)]
pub struct PlanOptions {
    /// Only this address or construct, and what it depends on; may be given several times
    #[arg(long = "target", value_name = "ADDRESS")]
    pub targets: Vec<String>,

    /// Make this resource anew although nothing asks for it; may be given several times
    #[arg(long = "replace", value_name = "ADDRESS")]
    pub replace: Vec<String>,

    /// Whether to read from the cloud what exists; with false the state is believed
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub refresh: bool,

    /// Take back what deploy, rollback and scale hold: it becomes what the stack says
    #[arg(long)]
    pub reset: bool,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// A duration with its unit: `90s`, `10m`.
///
/// # Errors
/// Where it is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| "write it with a unit: 90s, 10m, 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_stack_as_it_was_typed() {
        let options = StackOptions {
            stack: "my stacks/web.toml".into(),
            env: Some("staging".into()),
            vars: vec![("days".into(), "7".into()), ("why".into(), "it's late".into())],
            cloud: CloudName::Aws,
            state: None,
            new_account: false,
        };
        let told = [
            with_stack("`cofferdam history restore STACK 3` goes back; `cofferdam recover STACK` rebuilds", &options),
            with_stack("names begin with STACK-ENV", &options),
            options.same_inputs("apply"),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        `cofferdam history restore 'my stacks/web.toml' --env staging --cloud aws 3` goes back; `cofferdam recover 'my stacks/web.toml' --env staging --cloud aws` rebuilds
        names begin with STACK-ENV
        cofferdam apply 'my stacks/web.toml' --env staging --cloud aws --var days=7 --var 'why=it'\''s late'
        ");
    }
}
