//! Facts about AWS that are needed offline.

/// Regions and the letters of their availability zones. From "AWS Regions" and "Availability Zones" in the EC2 User
/// Guide. A letter that an account does not see is found when the plan reads the account's zones.
const REGIONS: &[(&str, &str)] = &[
    ("af-south-1", "abc"),
    ("ap-east-1", "abc"),
    ("ap-east-2", "abc"),
    ("ap-northeast-1", "abcd"),
    ("ap-northeast-2", "abcd"),
    ("ap-northeast-3", "abc"),
    ("ap-south-1", "abc"),
    ("ap-south-2", "abc"),
    ("ap-southeast-1", "abc"),
    ("ap-southeast-2", "abc"),
    ("ap-southeast-3", "abc"),
    ("ap-southeast-4", "abc"),
    ("ap-southeast-5", "abc"),
    ("ap-southeast-6", "abc"),
    ("ap-southeast-7", "abc"),
    ("ca-central-1", "abd"),
    ("ca-west-1", "abc"),
    ("cn-north-1", "abd"),
    ("cn-northwest-1", "abc"),
    ("eu-central-1", "abc"),
    ("eu-central-2", "abc"),
    ("eu-north-1", "abc"),
    ("eu-south-1", "abc"),
    ("eu-south-2", "abc"),
    ("eu-west-1", "abc"),
    ("eu-west-2", "abc"),
    ("eu-west-3", "abc"),
    ("il-central-1", "abc"),
    ("me-central-1", "abc"),
    ("me-south-1", "abc"),
    ("mx-central-1", "abc"),
    ("sa-east-1", "abc"),
    ("us-east-1", "abcdef"),
    ("us-east-2", "abc"),
    ("us-gov-east-1", "abc"),
    ("us-gov-west-1", "abc"),
    ("us-west-1", "abc"),
    ("us-west-2", "abcd"),
];

/// The names of all known regions.
pub fn regions() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(name, _)| *name)
}

/// The zone letters of a region; `None` for a region not known here.
pub fn zone_letters(region: &str) -> Option<impl Iterator<Item = char>> {
    REGIONS.iter().find(|(name, _)| *name == region).map(|(_, letters)| letters.chars())
}

/// A zone's full name, `eu-west-2a`, from its letter or its full name.
pub fn zone_name(region: &str, zone: &str) -> String {
    if zone.starts_with(region) { zone.to_owned() } else { format!("{region}{zone}") }
}

/// Whether a zone may exist in a region, as far as that is known offline. Local and wavelength zones
/// (`us-west-2-lax-1a`) and unknown regions pass.
pub fn zone_may_exist(region: &str, zone: &str) -> bool {
    let name = zone_name(region, zone);
    let Some(rest) = name.strip_prefix(region) else { return false };
    if rest.starts_with('-') {
        return true;
    }
    match zone_letters(region) {
        Some(mut letters) => letters.any(|letter| rest.len() == 1 && rest.starts_with(letter)),
        None => rest.len() == 1,
    }
}

/// The ARN partition of a region.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// The domain that service principals and public host names end with in a partition.
pub fn dns_suffix(partition: &str) -> &'static str {
    if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
}
