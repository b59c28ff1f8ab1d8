//! Token buckets as a cloud keeps them: a call takes a token, tokens come back at a steady rate, and where there is none
//! the call is refused.

use std::collections::HashMap;

use tokio::time::Instant;

use super::behaviour::Limits;
use crate::apply::limiter::Side;

/// A bucket's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// How many calls it takes at once.
    pub burst: f64,
    /// How many a second it takes for ever.
    pub rate: f64,
}

/// The sizes of a service's buckets. None: it refuses nothing for its rate.
pub type Sizes = fn(service: &str, side: Side) -> Option<Size>;

#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    buckets: HashMap<(String, Side), Bucket>,
}

#[derive(Debug, Clone)]
struct Bucket {
    size: Size,
    tokens: f64,
    filled: Instant,
}

impl Buckets {
    /// Takes a token for a call; `false` where there is none.
    pub fn take(&mut self, limits: &Limits, service: &str, side: Side, now: Instant) -> bool {
        let Some(Size { burst, rate }) = (limits.sizes)(service, side) else { return true };
        // A bucket that holds less than one call would never take any.
        let size = Size { burst: (burst * limits.share).max(1.0), rate: rate * limits.share };
        let new = || Bucket { size, tokens: size.burst, filled: now };
        let bucket = self.buckets.entry((service.to_owned(), side)).or_insert_with(new);
        let refilled = now.duration_since(bucket.filled).as_secs_f64() * bucket.size.rate;
        bucket.tokens = (bucket.tokens + refilled).min(bucket.size.burst);
        bucket.filled = now;
        let is_there = bucket.tokens >= 1.0;
        if is_there {
            bucket.tokens -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_takes_a_burst_and_then_its_rate() {
        let limits = Limits { sizes: |_, _| Some(Size { burst: 50.0, rate: 5.0 }), share: 0.1 };
        let mut buckets = Buckets::default();
        let mut taken = |at| (0..100).filter(|_| buckets.take(&limits, "ec2", Side::Write, at)).count();
        let start = Instant::now();
        assert_eq!(taken(start), 5);
        assert_eq!(taken(start + Duration::from_secs(4)), 2);
        assert_eq!(taken(start + Duration::from_secs(1000)), 5, "it holds no more than a burst");
    }
}
