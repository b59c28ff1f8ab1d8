//! The adaptive limiter: throttling is the tool's problem, not the user's.
//!
//! One token bucket per service and side (reads, writes); a limiter serves one account and region. A bucket starts
//! without a limit. The first throttle sets its rate a little below what was being sent; every further throttle halves
//! it, every success raises it a little. Time is tokio's, so that virtual time works.

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

/// The slowest rate that throttling can push a bucket to, in calls a second.
const SLOWEST: f64 = 0.5;
/// The window over which the sending rate is measured before the first throttle.
const WINDOW: Duration = Duration::from_secs(1);
/// The share of the rate kept after a throttle, at most once a second.
const BACK_OFF: f64 = 0.6;
/// Calls a second that each success adds, divided by the rate: one second of success adds about two calls a second.
const RECOVER: f64 = 2.0;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Bucket {
    /// Calls a second; `None` until the first throttle.
    rate: Option<f64>,
    /// When the next call may go.
    next: Instant,
    /// When the rate was last cut.
    cut: Option<Instant>,
    /// Calls sent in the current window, and when it began.
    sent: u32,
    since: Instant,
    /// The rate of the window before.
    measured: f64,
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
            cut: None,
            sent: 0,
            since: now,
            measured: 0.0,
        });
        act(bucket, now)
    }

    /// Waits until the service's bucket has room for one call.
    pub async fn admit(&self, service: &str, side: Side) {
        let at = self.with(service, side, |bucket, now| {
            if now.duration_since(bucket.since) >= WINDOW {
                bucket.measured = f64::from(bucket.sent) / now.duration_since(bucket.since).as_secs_f64();
                bucket.sent = 0;
                bucket.since = now;
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
            if let Some(rate) = &mut bucket.rate {
                *rate += RECOVER / *rate;
            }
        });
    }

    /// Notes that a call was throttled.
    pub fn throttled(&self, service: &str, side: Side) {
        self.with(service, side, |bucket, now| {
            // Calls that were in flight together are throttled together: they count once.
            if bucket.cut.is_some_and(|cut| now.duration_since(cut) < WINDOW) {
                return;
            }
            let current = bucket.rate.unwrap_or_else(|| bucket.measured.max(f64::from(bucket.sent)));
            bucket.rate = Some((current * BACK_OFF).max(SLOWEST));
            bucket.cut = Some(now);
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
