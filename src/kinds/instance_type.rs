//! Instance types: what is none is told before EC2 is asked.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::InstanceType;

use crate::graph::{Problem, template};
use crate::words::nearest;

/// What is wrong with the name of an instance type, as far as that can be told offline: families come every few months,
/// sizes hardly ever.
pub fn problem(path: &str, name: &str) -> Option<Problem> {
    let known = InstanceType::values();
    if !template::references(name).is_empty() || known.contains(&name) {
        return None;
    }
    let problem = || Problem::at(path, format!("`{name}` is no instance type"));
    let looks_like = "it looks like \"t3.small\"";
    let Some((family, size)) = name.split_once('.') else { return Some(problem().help(looks_like)) };
    let is_family = family.starts_with(|c: char| c.is_ascii_lowercase())
        && family.contains(|c: char| c.is_ascii_digit())
        && family.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let of_family: Vec<&str> = known.iter().filter_map(|one| one.strip_prefix(family)?.strip_prefix('.')).collect();
    let sizes: BTreeSet<&str> = known.iter().filter_map(|one| Some(one.split_once('.')?.1)).collect();
    if is_family && sizes.contains(size) {
        return None;
    }
    let near = match is_family {
        true => nearest(size, of_family.iter().copied()).or_else(|| nearest(size, sizes.iter().copied())),
        false => None,
    };
    Some(match near {
        Some(near) => problem().help(format!("did you mean `{family}.{near}`?")),
        None => problem().help(match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => looks_like.to_owned(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_types_are_told_and_new_families_pass() {
        let told = |name: &str| problem("instance_type", name).map(|problem| problem.help.unwrap_or_default());
        for good in ["t3.small", "c7gn.metal", "u-6tb1.112xlarge", "m99zz.large", "${vars.type}"] {
            assert_eq!(told(good), None, "{good}");
        }
        assert_eq!(told("t3.smal").as_deref(), Some("did you mean `t3.small`?"));
        assert_eq!(told("m5.lrage").as_deref(), Some("did you mean `m5.large`?"));
        assert_eq!(told("T3.small").as_deref(), Some("did you mean `t3.small`?"));
        assert_eq!(told("small").as_deref(), Some("it looks like \"t3.small\""));
    }
}
