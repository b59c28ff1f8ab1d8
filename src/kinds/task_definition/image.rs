//! References to images: `[registry[:port]/]path[:tag][@digest]`, as the OCI distribution specification writes them.

/// The longest name, registry and path together.
const LONGEST_NAME: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;

/// What is wrong with a reference.
pub fn wrong(reference: &str) -> Option<String> {
    if reference.is_empty() {
        return Some("an image needs a name".into());
    }
    if let Some(scheme) = ["https://", "http://", "docker://"].iter().find(|scheme| reference.starts_with(**scheme)) {
        return Some(format!("`{reference}` begins with `{scheme}`, which is no part of an image's name"));
    }
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(digest) = digest {
        let fits = digest.split_once(':').is_some_and(|(algorithm, value)| {
            let length = match algorithm {
                "sha256" => 64,
                "sha512" => 128,
                _ => return !algorithm.is_empty() && value.len() >= 32,
            };
            value.len() == length && value.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'))
        });
        if !fits {
            return Some(format!("`{digest}` is no digest: `sha256:` and 64 hexadecimal digits"));
        }
    }
    if let Some(tag) = tag {
        let starts = tag.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if !starts || tag.len() > LONGEST_TAG || !tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Some(format!("`{tag}` is no tag: letters, digits and `_ . -`, up to {LONGEST_TAG}"));
        }
    }
    if name.len() > LONGEST_NAME {
        return Some(format!("its name has {} characters, and {LONGEST_NAME} are allowed", name.len()));
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    let has_registry =
        parts.len() > 1 && parts.first().is_some_and(|first| first.contains(['.', ':']) || *first == "localhost");
    if has_registry {
        let registry = parts.remove(0);
        if !is_host(registry) {
            return Some(format!("`{registry}` is no host of a registry"));
        }
    }
    parts.iter().find_map(|part| path_component(part, name))
}

fn path_component(part: &str, name: &str) -> Option<String> {
    if part.is_empty() {
        return Some(format!("`{name}` has an empty part between its slashes"));
    }
    if part.chars().any(|c| c.is_ascii_uppercase()) {
        return Some(format!("`{name}` holds capital letters: names of images have none"));
    }
    if let Some(bad) = part.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(*c))) {
        return Some(format!("`{bad}` in `{name}`: names of images have small letters, digits and `. _ - /`"));
    }
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let separated = !part.contains("..") && !part.contains("___") && !part.contains("._") && !part.contains("_.");
    (!ends(part.chars().next()) || !ends(part.chars().last()) || !separated)
        .then(|| format!("`{part}` in `{name}` begins, ends or goes on with a separator"))
}

fn is_host(registry: &str) -> bool {
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_as_they_are_written() {
        let digest = "a".repeat(64);
        for good in [
            "nginx",
            "nginx:1.27-alpine",
            "library/nginx",
            "123456789012.dkr.ecr.eu-west-2.amazonaws.com/team/web:v1.2_3",
            "localhost:5000/web",
            "public.ecr.aws/nginx/nginx:latest",
            "a__b/c-d.e",
            &format!("nginx@sha256:{digest}"),
            &format!("ghcr.io/x/y:1@sha256:{digest}"),
        ] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for bad in [
            "",
            "Nginx",
            "nginx:",
            "nginx:-x",
            "nginx:1:2",
            "https://ghcr.io/x",
            "a//b",
            "-a",
            "a b",
            "nginx@sha256:abc",
            "exa_mple.com:80/x",
            "a/b/",
        ] {
            assert!(wrong(bad).is_some(), "{bad}");
        }
        assert_eq!(wrong("Nginx").unwrap(), "`Nginx` holds capital letters: names of images have none");
    }
}
