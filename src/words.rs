//! Words that were probably meant, and words for a shell.

/// The candidate that was probably meant: the nearest by typing distance, or one that is part of the word
/// (`cidr` for `cidr_block`).
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let longest = lower.chars().count().div_ceil(3).min(4);
    let mut best: Option<(usize, &str)> = None;
    let mut part: Option<&str> = None;
    for candidate in candidates {
        let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
        if distance <= longest && best.is_none_or(|known| (distance, candidate) < known) {
            best = Some((distance, candidate));
        }
        let is_part = candidate.len() >= 3 && format!("_{lower}_").contains(&format!("_{candidate}_"));
        if is_part && part.is_none_or(|known| known.len() < candidate.len()) {
            part = Some(candidate);
        }
    }
    best.map(|(_, candidate)| candidate).or(part)
}

/// The address that was probably meant, of these and of the constructs that some of them stand below: one that ends in the
/// word (`network.main/vpc.main` for `vpc.main`), or the nearest.
pub fn nearest_address<'a>(word: &str, addresses: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let addresses: Vec<&str> = addresses.into_iter().collect();
    let below = addresses.iter().filter_map(|address| Some((address.split_once('/')?, *address)));
    if let Some((_, address)) = below.clone().find(|((_, own), _)| *own == word) {
        return Some(address);
    }
    let constructs: std::collections::BTreeSet<&str> = below.clone().map(|((construct, _), _)| construct).collect();
    if let Some(near) = nearest(word, addresses.iter().copied().chain(constructs)) {
        return Some(near);
    }
    let own = nearest(word, below.clone().map(|((_, own), _)| own))?;
    below.clone().find(|((_, one), _)| *one == own).map(|(_, address)| address)
}

/// Words as a line that a shell takes apart into the same words.
pub fn shell_words<W: AsRef<str>>(words: &[W]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    let quoted = words.iter().map(AsRef::as_ref).map(|word| match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_words(&["cat", "/etc/hosts"]), "cat /etc/hosts");
        assert_eq!(shell_words(&["sh", "-c", "echo it's"]), r"sh -c 'echo it'\''s'");
        assert_eq!(shell_words(&["a", ""]), "a ''");
    }

    #[test]
    fn typos_and_longer_names_find_their_word() {
        let keys = ["cidr", "zone", "public_ip", "vpc"];
        assert_eq!(nearest("cdir", keys), Some("cidr"));
        assert_eq!(nearest("cidr_block", keys), Some("cidr"));
        assert_eq!(nearest("map_public_ip_on_launch", keys), Some("public_ip"));
        assert_eq!(nearest("VPC", keys), Some("vpc"));
        assert_eq!(nearest("frobnicate", keys), None);
    }

    #[test]
    fn addresses_are_found_by_their_own_part_and_by_their_construct() {
        let addresses = ["cluster.main", "network.main/vpc.main", "network.main/subnet.private.a"];
        assert_eq!(nearest_address("vpc.main", addresses), Some("network.main/vpc.main"));
        assert_eq!(nearest_address("subnet.privat.a", addresses), Some("network.main/subnet.private.a"));
        assert_eq!(nearest_address("netwrok.main", addresses), Some("network.main"));
        assert_eq!(nearest_address("clutser.main", addresses), Some("cluster.main"));
        assert_eq!(nearest_address("frobnicate.x", addresses), None);
    }
}
