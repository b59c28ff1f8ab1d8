//! What carries a stack's tags, as far as kinds share the way of listing it: EC2 lists the tags of everything in one
//! paged call, IAM the roles; elsewhere tags are asked for one by one, or come with the resources.

use std::collections::HashMap;
use std::future::Future;

use aws_sdk_ec2::types::Filter;
use futures_util::stream::{StreamExt, TryStreamExt};

use super::{Tags, ec2, tags_of};
use crate::aws::Aws;
use crate::cloud::{ADDRESS_TAG, CloudError, ENV_TAG, Observed, Owned, REGION_TAG, STACK_TAG};
use crate::graph::{Address, Scope};

/// How many reads of single resources' tags are under way at once.
const AT_ONCE: usize = 16;

/// Something of these tags, if they are those of the stack and environment that is worked on.
pub fn claimed(scope: &Scope, id: &str, tags: &Tags) -> Option<Owned> {
    let ours = tags.get(STACK_TAG) == Some(&scope.stack)
        && tags.get(ENV_TAG) == scope.env.as_ref()
        // On what the account has once for all regions.
        && tags.get(REGION_TAG).is_none_or(|region| *region == scope.region);
    let address = || tags.get(ADDRESS_TAG).and_then(|text| Address::parse(text).ok());
    (ours && !id.is_empty()).then(|| Owned { id: id.to_owned(), address: address() })
}

/// Which of these are claimed, where the tags come with the resources.
pub fn of_observed(scope: &Scope, found: impl Iterator<Item = Observed>) -> Vec<Owned> {
    found.filter_map(|one| claimed(scope, &one.id, &tags_of(&one.attributes))).collect()
}

/// Which of these are claimed, where their tags have to be asked for one by one.
///
/// # Errors
/// The first of `tags`.
pub async fn claimed_by_one<F, Fut>(aws: &Aws, ids: Vec<String>, tags: F) -> Result<Vec<Owned>, CloudError>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Tags, CloudError>>,
{
    let asked = ids.into_iter().map(|id| {
        let tags = tags(id.clone());
        async move { Ok::<_, CloudError>((id, tags.await?)) }
    });
    let tagged: Vec<(String, Tags)> = futures_util::stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    Ok(tagged.iter().filter_map(|(id, tags)| claimed(&aws.scope, id, tags)).collect())
}

/// The ownership tags of everything in EC2, by id.
struct Ec2Tags(HashMap<String, Tags>);

/// What of EC2 is claimed whose id begins with this, `"subnet-"`: ids tell the types apart. All types come with one paged
/// call, which is sent once.
///
/// # Errors
/// Of `DescribeTags`.
pub async fn of_ec2(aws: &Aws, prefix: &str) -> Result<Vec<Owned>, CloudError> {
    let all = aws
        .once(|| async {
            let keys = [STACK_TAG, ENV_TAG, ADDRESS_TAG].map(str::to_owned).to_vec();
            let call = aws.ec2.describe_tags().filters(Filter::builder().name("key").set_values(Some(keys)).build());
            let send = |next| call.clone().set_next_token(next).send();
            let listed = ec2::paged(aws, "ec2:DescribeTags", send, |page| (page.tags, page.next_token)).await?;
            let mut by_id: HashMap<String, Tags> = HashMap::new();
            for tag in listed {
                if let (Some(id), Some(key), Some(value)) = (tag.resource_id, tag.key, tag.value) {
                    by_id.entry(id).or_default().insert(key, value);
                }
            }
            Ok(Ec2Tags(by_id))
        })
        .await?;
    let of_type = all.0.iter().filter(|(id, _)| id.starts_with(prefix));
    Ok(of_type.filter_map(|(id, tags)| claimed(&aws.scope, id, tags)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tags_of_stack_and_environment_claim() {
        let scope = |env: Option<&str>| Scope {
            stack: "web".into(),
            env: env.map(str::to_owned),
            account: None,
            region: "eu-west-2".into(),
            partition: "aws".into(),
        };
        let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let plain: Tags = tags(&[(STACK_TAG, "web"), (ADDRESS_TAG, "vpc.main")]);
        let staging: Tags = tags(&[(STACK_TAG, "web"), (ENV_TAG, "staging"), (ADDRESS_TAG, "vpc.main")]);
        let address = Address::parse("vpc.main").ok();
        assert_eq!(
            claimed(&scope(None), "vpc-1", &plain),
            Some(Owned { id: "vpc-1".into(), address: address.clone() })
        );
        assert_eq!(claimed(&scope(Some("staging")), "vpc-1", &plain), None);
        assert_eq!(claimed(&scope(None), "vpc-1", &staging), None);
        assert_eq!(claimed(&scope(Some("staging")), "vpc-1", &staging).and_then(|one| one.address), address);
        let elsewhere: Tags = tags(&[(STACK_TAG, "web"), (REGION_TAG, "us-east-1")]);
        assert_eq!(claimed(&scope(None), "web", &elsewhere), None);
        let odd: Tags = tags(&[(STACK_TAG, "web"), (ADDRESS_TAG, "no address")]);
        assert_eq!(claimed(&scope(None), "vpc-1", &odd), Some(Owned { id: "vpc-1".into(), address: None }));
        assert_eq!(claimed(&scope(None), "vpc-1", &Tags::new()), None);
    }
}
