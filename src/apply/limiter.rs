//! The adaptive limiter: throttling is the tool's problem, not the user's.
//!
//! One pace per service and side (reads, writes); a limiter serves one account and region. It begins without a limit. The
//! first refusal sets the pace a little below what was being sent; every further one brings it down to what has been coming
//! through, for that is what the cloud's token bucket is refilled by; every success raises it a little. Where slowing down
//! several times did not lower the share that is refused, the refusals have another reason, and the pace stays. Time is
//! tokio's, so that virtual time works.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// AWS meters reading and changing calls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Describe, List and Get.
    Read,
    /// Everything that changes something.
    Write,
}

/// The slowest rate that throttling can push a pace to, in calls a second: below a tenth of the smallest published bucket.
const SLOWEST: f64 = 0.05;
/// Calls that were in flight together are refused together: the pace is cut at most once in this time.
const WINDOW: Duration = Duration::from_secs(1);
/// The share of the rate kept after a cut, at most.
const BACK_OFF: f64 = 0.6;
/// The share of the rate kept after a cut, at least.
const DEEPEST_CUT: f64 = 0.1;
/// The share of the rate that each success adds.
const RECOVER: f64 = 0.03;
/// How many cuts in a row are tried before it is asked whether they help.
const CUTS: u32 = 4;
/// How many calls must come through in a row until all is well.
const ALL_WELL: u32 = 20;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Bucket {
    /// Calls a second; `None` until the first refusal.
    rate: Option<f64>,
    /// When the next call may go.
    next: Instant,
    /// Since when is counted, and what: calls sent, come through, refused.
    since: Instant,
    sent: u32,
    passed: u32,
    refused: u32,
    /// How many came through since the last refusal.
    in_a_row: u32,
    /// How often the rate was cut while things did not get well, and the share that was refused before the last cut.
    cuts: u32,
    share: f64,
}

impl Bucket {
    fn count_from(&mut self, now: Instant) {
        (self.since, self.sent, self.passed, self.refused) = (now, 0, 0, 0);
    }

    /// Lowers the rate to what comes through.
    fn cut(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.since);
        let Some(rate) = self.rate else {
            self.rate = Some((f64::from(self.sent) / elapsed.max(WINDOW).as_secs_f64() * BACK_OFF).max(SLOWEST));
            return self.count_from(now);
        };
        if elapsed < WINDOW {
            return;
        }
        let share = f64::from(self.refused) / f64::from(self.refused + self.passed);
        // Cuts do not help against refusals that have nothing to do with the rate.
        let is_in_vain = self.cuts >= CUTS && share > 0.8 * self.share && share < 0.75;
        if !is_in_vain {
            let passing = f64::from(self.passed) / elapsed.as_secs_f64();
            self.rate = Some(passing.clamp(rate * DEEPEST_CUT, rate * BACK_OFF).max(SLOWEST));
            self.share = share;
            self.cuts += 1;
        }
        self.count_from(now);
    }
}

/// Limits calls by what the cloud bears. Clones share their buckets.
#[derive(Debug, Clone, Default)]
pub struct Limiter {
    buckets: Arc<Mutex<HashMap<(String, Side), Bucket>>>,
    pauses: Arc<Mutex<u64>>,
}

impl Limiter {
    fn with<T>(&self, service: &str, side: Side, act: impl FnOnce(&mut Bucket, Instant) -> T) -> T {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let bucket = buckets.entry((service.to_owned(), side)).or_insert_with(|| Bucket {
            rate: None,
            next: now,
            since: now,
            sent: 0,
            passed: 0,
            refused: 0,
            in_a_row: 0,
            cuts: 0,
            share: 0.0,
        });
        act(bucket, now)
    }

    /// Waits until the service's bucket has room for one call.
    pub async fn admit(&self, service: &str, side: Side) {
        let at = self.with(service, side, |bucket, now| {
            if bucket.rate.is_none() && now.duration_since(bucket.since) >= WINDOW {
                bucket.count_from(now);
            }
            bucket.sent += 1;
            let at = bucket.next.max(now);
            if let Some(rate) = bucket.rate {
                bucket.next = at + Duration::from_secs_f64(1.0 / rate);
            }
            at
        });
        if at > Instant::now() {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Notes that a call was not throttled.
    pub fn succeeded(&self, service: &str, side: Side) {
        self.with(service, side, |bucket, _| {
            bucket.passed += 1;
            bucket.in_a_row += 1;
            if bucket.in_a_row >= ALL_WELL {
                bucket.cuts = 0;
            }
            if let Some(rate) = &mut bucket.rate {
                *rate *= 1.0 + RECOVER;
            }
        });
    }

    /// Notes that a call was throttled.
    pub fn throttled(&self, service: &str, side: Side) {
        self.with(service, side, |bucket, now| {
            bucket.refused += 1;
            bucket.in_a_row = 0;
            bucket.cut(now);
        });
    }

    /// How long to wait before the attempt after this one: exponential, spread so that callers do not move in step.
    pub fn pause(&self, attempt: u32) -> Duration {
        let mut state = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        // splitmix64: deterministic, so that a simulated run can be repeated.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = ((mixed >> 11) as f64) / ((1u64 << 53) as f64);
        let full = Duration::from_millis(100 << attempt.min(10)).min(LONGEST_PAUSE);
        full.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_throttled_bucket_slows_down_and_recovers() {
        let limiter = Limiter::default();
        let start = Instant::now();
        for _ in 0..100 {
            limiter.admit("ec2", Side::Write).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "no limit before the first throttle");
        limiter.throttled("ec2", Side::Write);
        let start = Instant::now();
        for _ in 0..61 {
            limiter.admit("ec2", Side::Write).await;
        }
        // The timer's grain is a millisecond.
        assert!((1000..=1001).contains(&start.elapsed().as_millis()), "60 a second after 100 were too many");
        for _ in 0..200 {
            limiter.succeeded("ec2", Side::Write);
        }
        let start = Instant::now();
        for _ in 0..61 {
            limiter.admit("ec2", Side::Write).await;
        }
        assert!(start.elapsed().as_millis() < 1000);
        let start = Instant::now();
        limiter.admit("ec2", Side::Read).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "reads are metered apart");
    }
}
