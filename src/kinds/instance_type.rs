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

/// MiB of memory that an instance of this type has, of the families that most instances are of, whose sizes go by one rule
/// ("Specifications for Amazon EC2 general purpose, compute optimized, memory optimized instances").
pub fn memory_mib(name: &str) -> Option<u32> {
    const GIB: u32 = 1024;
    let (family, size) = name.split_once('.')?;
    let times = match size {
        "nano" => return matches!(family, "t2" | "t3" | "t3a" | "t4g").then_some(GIB / 2),
        "micro" => return matches!(family, "t2" | "t3" | "t3a" | "t4g").then_some(GIB),
        "small" => return matches!(family, "t2" | "t3" | "t3a" | "t4g").then_some(2 * GIB),
        "xlarge" => 2,
        "medium" | "large" => 1,
        _ => 2 * size.strip_suffix("xlarge")?.parse::<u32>().ok().filter(|times| *times <= 48)?,
    };
    let large = match family {
        "t2" | "t3" | "t3a" | "t4g" => 8,
        "m5" | "m5a" | "m5d" | "m5n" | "m6i" | "m6a" | "m6g" | "m6gd" | "m6id" | "m7i" | "m7a" | "m7g" | "m7gd"
        | "m8g" => 8,
        "c5" | "c5a" | "c5d" | "c6i" | "c6a" | "c6g" | "c6gd" | "c6gn" | "c6id" | "c7i" | "c7a" | "c7g" | "c7gd"
        | "c7gn" | "c8g" => 4,
        "r5" | "r5a" | "r5d" | "r5n" | "r6i" | "r6a" | "r6g" | "r6gd" | "r6id" | "r7i" | "r7a" | "r7g" | "r7gd"
        | "r8g" => 16,
        _ => return None,
    };
    Some(if size == "medium" { large * GIB / 2 } else { times * large * GIB })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_from_family_and_size() {
        let gib = |name: &str| memory_mib(name).map(|mib| f64::from(mib) / 1024.0);
        let known = [
            ("t3.nano", 0.5),
            ("t2.micro", 1.0),
            ("t3.small", 2.0),
            ("t4g.medium", 4.0),
            ("t3.large", 8.0),
            ("t3.2xlarge", 32.0),
            ("m7g.medium", 4.0),
            ("m5.large", 8.0),
            ("c6i.xlarge", 8.0),
            ("c5.9xlarge", 72.0),
            ("r6g.16xlarge", 512.0),
            ("m7i.48xlarge", 768.0),
        ];
        for (name, wanted) in known {
            assert_eq!(gib(name), Some(wanted), "{name}");
        }
        for unknown in ["m5.metal", "x2idn.large", "c5n.large", "t3", "${vars.type}", "m5.micro", "m5.xlargexlarge"] {
            assert_eq!(gib(unknown), None, "{unknown}");
        }
    }

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
