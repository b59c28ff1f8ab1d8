//! The lock of a state on object storage: a lease that its holder renews while it lives.
//!
//! Whose clock is right does not matter. A lease is taken over only after its object was seen unchanged for its whole
//! length by the clock of the one who takes it; the time of day in it is only a hint whether to watch it at all.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::StateError;
use super::objects::{Objects, Tag, When, put};
use super::place::Occupied;

/// How often taking a lease is tried again where others take it meanwhile.
const TRIES: usize = 5;

/// How long leases are, and how often they are renewed.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a lease lasts after its holder's last sign of life.
    pub lease: Duration,
    /// How often its holder gives one.
    pub beat: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { lease: Duration::from_secs(60), beat: Duration::from_secs(15) }
    }
}

/// What stands in the lock's object. No two are ever equal.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Paper {
    /// Whose it is: never the same twice.
    id: String,
    /// How often it was renewed.
    beat: u64,
    /// When it was renewed last, in seconds since 1970 by its holder's clock.
    at: i64,
    /// What its holder tells of itself.
    holder: String,
    /// Whether it was given back.
    released: bool,
}

impl Paper {
    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What is known of the lease of somebody else, from looking at it several times.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Watched>>);

#[derive(Debug, Clone)]
struct Watched {
    tag: Tag,
    since: Instant,
    /// Whether it was seen to change.
    lives: bool,
}

impl Watch {
    /// Takes in a look at a lease. Gives for how long it has not changed, and whether it ever did.
    fn look(&self, tag: &Tag) -> (Duration, bool) {
        let mut watched = lock(&self.0);
        let next = match watched.take() {
            Some(same) if same.tag == *tag => same,
            other => Watched { tag: tag.clone(), since: Instant::now(), lives: other.is_some() },
        };
        let seen = (next.since.elapsed(), next.lives);
        *watched = Some(next);
        seen
    }

    /// How much longer a lease must not change until it is taken over, where its holder seems to be dead.
    fn dead_in(&self, paper: &Paper, tag: &Tag, pace: Pace) -> Option<Duration> {
        let (silent, lives) = self.look(tag);
        let age = now().abs_diff(paper.at);
        let seems_dead = !lives && age > pace.lease.as_secs();
        seems_dead.then(|| pace.lease.saturating_sub(silent))
    }
}

/// A held lease. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    objects: Arc<dyn Objects>,
    key: String,
    pace: Pace,
    now: Mutex<Now>,
    over: Condvar,
}

#[derive(Debug)]
struct Now {
    paper: Paper,
    tag: Tag,
    /// When the last renewal that came through was begun.
    renewed: Instant,
    is_lost: bool,
    is_over: bool,
}

impl Lease {
    /// Takes the lease if it is free, or if its holder gave no sign of life for its whole length.
    pub fn take(
        objects: &Arc<dyn Objects>,
        key: &str,
        holder: &str,
        pace: Pace,
        watch: &Watch,
    ) -> Result<Result<Self, Occupied>, StateError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let paper = Paper { id, beat: 0, at: now(), holder: holder.to_owned(), released: false };
        for _ in 0..TRIES {
            let when = match read(objects.as_ref(), key)? {
                None => When::Absent,
                Some((there, tag)) if there.released => When::Is(tag),
                Some((there, tag)) => {
                    let dead_in = watch.dead_in(&there, &tag, pace);
                    if watch.look(&tag).0 < pace.lease {
                        return Ok(Err(Occupied { holder: there.holder, dead_in }));
                    }
                    When::Is(tag)
                }
            };
            let renewed = Instant::now();
            if let Some(tag) = put(objects.as_ref(), key, &paper.bytes(), &when)? {
                let now = Mutex::new(Now { paper, tag, renewed, is_lost: false, is_over: false });
                let over = Condvar::new();
                let shared = Arc::new(Shared { objects: objects.clone(), key: key.to_owned(), pace, now, over });
                let beating = shared.clone();
                let thread = std::thread::Builder::new().name("lease".into()).spawn(move || beating.beat()).ok();
                return Ok(Ok(Self { shared, thread }));
            }
        }
        let holder = read(objects.as_ref(), key)?.map(|(there, _)| there.holder).unwrap_or_default();
        Ok(Err(Occupied { holder, dead_in: None }))
    }

    /// Who holds the lease.
    pub fn holder(
        objects: &Arc<dyn Objects>,
        key: &str,
        pace: Pace,
        watch: &Watch,
    ) -> Result<Option<Occupied>, StateError> {
        let there = read(objects.as_ref(), key)?.filter(|(paper, _)| !paper.released);
        Ok(there.map(|(paper, tag)| {
            let dead_in = watch.dead_in(&paper, &tag, pace);
            Occupied { holder: paper.holder, dead_in }
        }))
    }

    /// Gives the lease back in its holder's place.
    pub fn break_it(objects: &Arc<dyn Objects>, key: &str) -> Result<(), StateError> {
        for _ in 0..TRIES {
            // A lease that cannot be read can be broken all the same.
            let Some((bytes, tag)) = objects.get(key)? else { return Ok(()) };
            let there: Option<Paper> = serde_json::from_slice(&bytes).ok();
            let beat = there.as_ref().map_or(0, |paper| paper.beat + 1);
            let holder = there.map(|paper| paper.holder).unwrap_or_default();
            let id = uuid::Uuid::new_v4().simple().to_string();
            let paper = Paper { id, beat, at: now(), holder, released: true };
            if put(objects.as_ref(), key, &paper.bytes(), &When::Is(tag))?.is_some() {
                return Ok(());
            }
        }
        Err(StateError::Remote {
            doing: "break",
            name: objects.name(key),
            why: "it changes hands without a pause".into(),
            help: "its holders live: wait until they are done".into(),
        })
    }

    /// Whether it is still held, as far as this process knows.
    pub fn is_held(&self) -> bool {
        let now = lock(&self.shared.now);
        !now.is_lost && now.renewed.elapsed() < self.shared.pace.lease
    }
}

impl Shared {
    /// Renews the lease until it is over. A renewal that got no answer is sent again as it was, so that it is known for
    /// this one's where it had come through.
    fn beat(&self) {
        let mut unanswered: Option<Paper> = None;
        let mut now = lock(&self.now);
        loop {
            let pause = if unanswered.is_some() { self.pace.beat / 5 } else { self.pace.beat };
            let waited = self.over.wait_timeout_while(now, pause, |now| !now.is_over);
            now = waited.unwrap_or_else(PoisonError::into_inner).0;
            if now.is_over {
                return;
            }
            let next = || Paper { beat: now.paper.beat + 1, at: self::now(), ..now.paper.clone() };
            let paper = unanswered.take().unwrap_or_else(next);
            let when = When::Is(now.tag.clone());
            drop(now);
            let began = Instant::now();
            let renewed = put(self.objects.as_ref(), &self.key, &paper.bytes(), &when);
            now = lock(&self.now);
            match renewed {
                Ok(Some(tag)) => (now.paper, now.tag, now.renewed) = (paper, tag, began),
                Ok(None) => {
                    now.is_lost = true;
                    return;
                }
                Err(_) => unanswered = Some(paper),
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.shared.now).is_over = true;
        self.shared.over.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let now = lock(&self.shared.now);
        if !now.is_lost {
            let paper = Paper { beat: now.paper.beat + 2, released: true, ..now.paper.clone() };
            // Where that gets no answer, the lease runs out by itself.
            let _ = self.shared.objects.put(&self.shared.key, &paper.bytes(), &When::Is(now.tag.clone()));
        }
    }
}

fn read(objects: &dyn Objects, key: &str) -> Result<Option<(Paper, Tag)>, StateError> {
    let Some((bytes, tag)) = objects.get(key)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(paper) => Ok(Some((paper, tag))),
        Err(_) => Err(StateError::Remote {
            doing: "read",
            name: objects.name(key),
            why: "it is no lease".into(),
            help: "`cofferdam lock break STACK` puts a free one there".into(),
        }),
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What a thread that panicked left is still what it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
