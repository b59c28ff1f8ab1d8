//! Words that were probably meant.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_longer_names_find_their_word() {
        let keys = ["cidr", "zone", "public_ip", "vpc"];
        assert_eq!(nearest("cdir", keys), Some("cidr"));
        assert_eq!(nearest("cidr_block", keys), Some("cidr"));
        assert_eq!(nearest("map_public_ip_on_launch", keys), Some("public_ip"));
        assert_eq!(nearest("VPC", keys), Some("vpc"));
        assert_eq!(nearest("frobnicate", keys), None);
    }
}
