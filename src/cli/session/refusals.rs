//! What is refused before anything is planned: a stack whose state is elsewhere, bears another name, or is lost, and accounts
//! that the stack's guards do not name.

use super::*;

impl Session {
    /// Refuses to begin a stack anew whose state is somewhere else: in the directory still, where the stack names a bucket
    /// now, or in another account or region, where most likely the credentials are the wrong ones.
    pub(super) fn is_not_left_behind(&self, options: &StackOptions) -> Result<(), Failure> {
        let Head { name, env, region, state, .. } = &self.head;
        // A damaged state is one of this account: whoever opens it is told.
        if !matches!(self.store.read(), Ok(None)) {
            return Ok(());
        }
        let directory = self.store_in(home::directory(options, state)?.as_ref());
        if self.name == CloudName::Aws && state.url.is_some() && there(&directory)?.is_some() {
            let (directory, here) = (directory.name(), self.home.name());
            return Err(Failure::new(format!(
                "the state of this stack is in {directory} still, and the stack says {here}"
            ))
            .help(format!("`{}` moves it there", options.command("state migrate"))));
        }
        if options.new_account {
            return Ok(());
        }
        for other in Store::all(self.home.as_ref(), name, env.as_deref(), self.name.as_str())? {
            // What was in a local cloud that is gone stands nowhere.
            let Some(state) = there(&other)?.filter(|state| !self.is_bygone(state)) else { continue };
            if state.account == self.account() {
                let there = &state.region;
                return Err(Failure::new(format!(
                    "this stack stands in {there}, and is said to be in {region} now: it would be made there once more"
                ))
                .help(format!(
                    "set the region back to {there}; or destroy it there first; or give --new-region to have it in both"
                )));
            }
            let there = format!("account {} in {}", state.account, state.region);
            let here = format!("account {} in {region}", self.account());
            return Err(Failure::new(format!(
                "this stack stands in {there}, and the credentials and the region now are those of {here}"
            ))
            .help(format!("use those of {there}; or give --new-account to have the stack here as well")));
        }
        Ok(())
    }

    /// Refuses to make a stack once more under another name: where there is no state of this name, and one of another that
    /// was kept for this file, or that holds what this stack declares while no file is a stack of its name any more.
    pub(super) fn is_not_renamed(&self, options: &StackOptions, graph: &Graph) -> Result<(), Failure> {
        if options.new_account || !project::is_one_stack(options) || !matches!(self.store.read(), Ok(None)) {
            return Ok(());
        }
        let Some(file) = project::file(options) else { return Ok(()) };
        let Head { name, env, region, .. } = &self.head;
        for stack in self.home.stacks()? {
            let (other, of_env) = stack.split_once('@').map_or((stack.as_str(), None), |(name, env)| (name, Some(env)));
            if other == name || of_env != env.as_deref() || project::is_claimed(options, other) {
                continue;
            }
            let store = Store::of(self.home.as_ref(), other, of_env, self.name.as_str(), self.account(), region);
            // What others keep there is theirs to read.
            let Ok(Some(state)) = there(&store) else { continue };
            let declared = state.resources.keys().filter(|address| graph.get(address).is_some()).count();
            let is_this = match state.file.as_deref() {
                // The same path in another project that keeps its states here is another file.
                Some(recorded) if recorded == file => declared > 0 || graph.resources().is_empty(),
                Some(recorded) if project::has_file(options, recorded) => false,
                _ => declared > 0 && declared * 2 >= state.resources.len(),
            };
            if is_this && !self.is_bygone(&state) {
                let count = render::plural(state.resources.len(), "resource", "resources");
                return Err(Failure::new(format!(
                    "this stack was named `{other}` and is `{name}` now: under `{other}` it has {count}, and all of it \
                     would be made once more"
                ))
                .help(format!(
                    "set the name back to `{other}`, or destroy it under that name first; where `{other}` is another stack, or to \
                     have both, give --new-name"
                )));
            }
        }
        Ok(())
    }

    /// Refuses to take a state that was lost for one that never was: what bears the stack's tags would be made once more.
    /// Not everybody may list by tags, and not everything bears them; what is asked where there is nothing costs three calls.
    ///
    /// # Errors
    /// Where there is no state, and something of the stack in the cloud.
    pub async fn is_not_lost(&self, options: &StackOptions) -> Result<(), Failure> {
        const TELLTALES: [&str; 7] =
            ["vpc", "subnet", "security_group", "elastic_ip", "nat_gateway", "launch_template", "cluster"];
        if !matches!(self.store.read(), Ok(None)) {
            return Ok(());
        }
        let mut is_there = false;
        for kind in TELLTALES {
            is_there |= self.cloud.owned(kind).await.is_ok_and(|owned| !owned.is_empty());
        }
        if !is_there {
            self.cloud.forget();
            return Ok(());
        }
        // Now that it is worth asking for everything: tags can outlive what bore them, and how many there are is told as
        // `orphans` counts them. Who may not ask for everything is told that there is something.
        let what = match apply::orphans(&self.cloud, &self.fresh()).await {
            Ok(found) if found.is_empty() => None,
            Ok(found) => Some(render::plural(found.len(), "resource bears", "resources bear")),
            Err(_) => Some("resources bear".to_owned()),
        };
        self.cloud.forget();
        let Some(what) = what else { return Ok(()) };
        let (region, account, store) = (&self.head.region, self.account(), self.store.name());
        let message =
            format!("there is no state in {store}, and {what} the tags of this stack in account {account} in {region}");
        Err(Failure::new(message).help(format!(
            "`{}` makes the state again from what is there; where it is somebody else's, give the stack another name",
            options.command("recover")
        )))
    }

    /// Refuses an account that the stack's guards do not name. The local cloud's is nobody's.
    pub(super) fn is_allowed_account(&self, guards: &Guards) -> Result<(), Failure> {
        let (accounts, account) = (&guards.accounts, self.account());
        if self.name != CloudName::Aws || accounts.is_empty() || accounts.iter().any(|allowed| allowed == account) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the credentials are those of account {account}, and this stack is only for {}",
            accounts.join(" and ")
        ))
        .help("use credentials of that account (AWS_PROFILE); or change `accounts` in [guards]"))
    }
}

/// The state in a store, where it holds anything and was not moved away.
fn there(store: &Store) -> Result<Option<State>, StateError> {
    match store.read() {
        Err(StateError::Moved { .. }) => Ok(None),
        read => Ok(read?.filter(|state| !state.is_empty())),
    }
}
