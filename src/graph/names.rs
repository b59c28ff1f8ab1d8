//! Names follow from addresses. What was moved keeps those that follow from the address it had when they were made.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Address;

/// From which address names are made, where that is not the one of the resource or construct itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<Address, Address>);

impl Names {
    /// The address that names at this one are made from: what was moved has the one it had first, and so has what stands
    /// below a construct that was.
    pub fn origin<'a>(&'a self, address: &'a Address) -> Cow<'a, Address> {
        match (self.0.get(address), address.construct().and_then(|construct| self.0.get(construct))) {
            (Some(origin), _) => Cow::Borrowed(origin),
            (None, Some(construct)) => Cow::Owned(construct.child(address.kind(), address.name())),
            (None, None) => Cow::Borrowed(address),
        }
    }

    /// Whether all names follow from where things stand.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every address that has names of another, with that one.
    pub fn iter(&self) -> impl Iterator<Item = (&Address, &Address)> {
        self.0.iter()
    }

    /// Notes that names at an address are made from this one.
    pub fn set(&mut self, address: &Address, origin: &Address) {
        self.0.remove(address);
        if *self.origin(address) != *origin {
            self.0.insert(address.clone(), origin.clone());
        }
    }

    /// Lets what stands at an address, and what names are told of below it, have its names at another one.
    pub fn rename(&mut self, from: &Address, to: &Address) {
        let origin = self.origin(from).into_owned();
        let below: Vec<Address> =
            self.0.keys().filter(|address| address.construct() == Some(from.as_str())).cloned().collect();
        self.0.remove(from);
        self.set(to, &origin);
        for address in below {
            if let Some(origin) = self.0.remove(&address) {
                self.set(&to.child(address.kind(), address.name()), &origin);
            }
        }
    }

    /// What has to be set, in order, to come to these names from others.
    pub fn since(&self, before: &Self) -> Vec<(Address, Address)> {
        let all: BTreeSet<&Address> = self.0.keys().chain(before.0.keys()).collect();
        let differs = all.into_iter().filter(|address| self.0.get(*address) != before.0.get(*address));
        differs.map(|address| (address.clone(), self.origin(address).into_owned())).collect()
    }

    /// An address of this kind whose names nothing has: the given one, or one with a number behind it.
    pub fn free(address: &Address, is_taken: &dyn Fn(&Address) -> bool) -> Address {
        let numbered = (2..).map(|number: u32| match address.construct() {
            Some(construct) => {
                format!("{construct}/{}.{}-{number}", address.kind(), address.name())
            }
            None => format!("{address}-{number}"),
        });
        let parsed = numbered.filter_map(|text| Address::parse(&text).ok());
        std::iter::once(address.clone()).chain(parsed).find(|one| !is_taken(one)).unwrap_or_else(|| address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    #[test]
    fn names_go_along_with_what_is_moved() {
        let mut names = Names::default();
        names.rename(&at("service.web"), &at("service.site"));
        assert_eq!(*names.origin(&at("service.site/role.task")), at("service.web/role.task"));
        // Again, and one part by itself; back home nothing is left to say.
        names.rename(&at("service.site/log_group.main"), &at("log_group.logs"));
        names.rename(&at("service.site"), &at("service.page"));
        assert_eq!(*names.origin(&at("service.page")), at("service.web"));
        assert_eq!(*names.origin(&at("log_group.logs")), at("service.web/log_group.main"));
        assert_eq!(*names.origin(&at("service.site")), at("service.site"));
        names.rename(&at("service.page"), &at("service.web"));
        names.rename(&at("log_group.logs"), &at("service.web/log_group.main"));
        assert_eq!(names, Names::default());
    }

    #[test]
    fn what_is_told_of_changes_makes_the_same_names() {
        let mut before = Names::default();
        before.rename(&at("service.web"), &at("service.site"));
        before.set(&at("service.site/role.task"), &at("role.api"));
        let mut after = before.clone();
        after.rename(&at("service.site"), &at("service.page"));
        let mut told = before.clone();
        after.since(&before).iter().for_each(|(address, origin)| told.set(address, origin));
        assert_eq!(told, after);
    }

    #[test]
    fn who_comes_to_an_address_that_was_left_has_other_names() {
        let mut names = Names::default();
        names.rename(&at("service.web"), &at("service.site"));
        let taken = [at("service.web"), at("service.web-2")];
        let free = |address: &str| Names::free(&at(address), &|one| taken.contains(one));
        assert_eq!(free("service.web"), at("service.web-3"));
        assert_eq!(free("service.api"), at("service.api"));
    }
}
