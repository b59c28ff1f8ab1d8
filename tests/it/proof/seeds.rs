//! A stack of some three hundred resources, in bad weather, by runs that die: what happens follows from a seed.
//!
//! `COFFERDAM_SEEDS` says how many seeds are tried (`make prove`: 10,000), `COFFERDAM_SEED` which one alone.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam::graph::{Graph, Scope};
use cofferdam::plan::Mode;
use cofferdam::simulated::{Behaviour, Simulated, Weather};
use cofferdam::state::State;

use super::mortal::{DEATHS, Moments, dying};
use super::stacks::{cloud, contents, large, read};
use crate::engine::{assert_settled, complete, empty, options, run_with};
use crate::stack::Ask;

/// How many runs a chapter may take until nothing fails any more; each loses to the weather what the ones before it
/// did not.
const RUNS: usize = 40;

/// The numbers that follow from a seed.
pub struct Draws(u64);

impl Draws {
    /// The numbers of this seed.
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn unit(&mut self) -> f64 {
        // xorshift64*: any generator will do.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below this one.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.unit() * limit as f64) as u64
    }
}

/// What is asked of a stack one after the other, and what an undisturbed cloud holds then.
struct Chapter {
    graph: Graph,
    mode: Mode,
    wanted: BTreeMap<String, String>,
    /// How many moments of each kind an undisturbed run has.
    moments: Moments,
}

impl Chapter {
    fn ask(&self) -> Ask<'static> {
        Ask { mode: self.mode, ..Ask::default() }
    }
}

struct Story {
    scope: Scope,
    chapters: Vec<Chapter>,
}

/// Create, change (in place and by replacement), destroy.
async fn story() -> Story {
    let (mut state, mut chapters) = (empty(), Vec::new());
    let (_, scope) = read(&large(0));
    let undisturbed = cloud(&scope, Behaviour::aws(0));
    for (variant, mode) in [(0, Mode::Apply), (1, Mode::Apply), (1, Mode::Destroy)] {
        let graph = read(&large(variant)).0;
        let ask = Ask { mode, ..Ask::default() };
        let left = dying(&undisturbed, &graph, state, ask, None, (64, false)).await;
        assert_eq!(left.failed, Vec::<String>::new());
        state = left.state;
        chapters.push(Chapter { graph, mode, wanted: contents(&undisturbed), moments: left.moments });
    }
    Story { scope, chapters }
}

/// The weather of a seed: of every fourth none, else up to this.
fn weather(draws: &mut Draws) -> Weather {
    let strength = if draws.below(4) == 0 { 0.0 } else { draws.unit() };
    Weather {
        throttled: 0.05 * strength,
        failed: 0.03 * strength,
        request_lost: 0.02 * strength,
        answer_lost: 0.02 * strength,
        in_use: 0.1 * strength,
        quota: 0.005 * strength,
        broken: 0.1 * strength,
    }
}

/// What a seed came to.
#[derive(Default)]
struct Tally {
    runs: usize,
    deaths: usize,
    settled: usize,
    requests: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.deaths += other.deaths;
        self.settled += other.settled;
        self.requests += other.requests;
    }
}

/// Goes through the story with one seed.
async fn live_through(story: &Story, seed: u64) -> Tally {
    let mut draws = Draws::of(seed);
    let weather = weather(&mut draws);
    let mut cloud = cloud(&story.scope, Behaviour::aws(seed).weather(weather));
    let mut state = empty();
    let mut tally = Tally::default();
    for chapter in &story.chapters {
        let deaths = draws.below(4) as usize;
        for run in 0.. {
            assert!(run < RUNS, "it comes to an end within {RUNS} runs");
            if run > 8 {
                // Bad luck ends at some time.
                cloud.set_weather(Weather::default());
            }
            let death = (run < deaths).then(|| {
                let kind = draws.below(DEATHS.len() as u64) as usize;
                // What is left to be done gets less with each run.
                let number = draws.below(chapter.moments[kind] / (run as u64 + 1) + 1);
                DEATHS[kind].1(number)
            });
            let how = (1 + draws.below(64) as usize, draws.below(2) == 0);
            let left = dying(&cloud, &chapter.graph, state, chapter.ask(), death, how).await;
            state = left.state;
            tally.runs += 1;
            tally.deaths += usize::from(left.died);
            tally.settled += left.settled.len();
            tally.requests += left.moments[2];
            cloud.new_process();
            if !left.died && left.failed.is_empty() {
                break;
            }
        }
        end(&mut cloud, chapter, &state, weather).await;
    }
    tally
}

/// What must be so at the end of a chapter.
async fn end(cloud: &mut Simulated, chapter: &Chapter, state: &State, weather: Weather) {
    cloud.set_weather(Weather::default());
    let contents = contents(cloud);
    let differing: Vec<_> = chapter
        .wanted
        .iter()
        .filter(|(address, text)| contents.get(*address) != Some(*text))
        .map(|(address, text)| format!("{address}: {:?} instead of {text}", contents.get(address)))
        .chain(contents.keys().filter(|one| !chapter.wanted.contains_key(*one)).map(|one| format!("{one}: too many")))
        .collect();
    assert_eq!(differing, Vec::<String>::new(), "the cloud is as after an undisturbed run");
    if chapter.mode == Mode::Destroy {
        assert!(state.is_empty(), "{state:?}");
    } else {
        assert_settled(cloud, &chapter.graph, state).await;
    }
    cloud.set_weather(weather);
}

/// One seed in a runtime of its own, in virtual time.
fn try_seed(story: &Story, seed: u64) -> Result<Tally, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(live_through(story, seed)))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not {text}")))
}

#[test]
fn three_hundred_resources_survive_every_seed() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let story = runtime.block_on(story());
    let resources = story.chapters[0].wanted.len();
    let alone = number("COFFERDAM_SEED");
    let count = number("COFFERDAM_SEEDS").unwrap_or(12);
    let seeds = alone.map_or(0..count, |seed| seed..seed + 1);
    let began = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let (sum, failed) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().len() >= 10 {
                        return;
                    }
                    match try_seed(&story, seed) {
                        Ok(tally) => sum.lock().unwrap().add(&tally),
                        Err(why) => {
                            eprintln!("seed {seed} fails: {why}\n  again with COFFERDAM_SEED={seed}");
                            failed.lock().unwrap().push(seed);
                        }
                    }
                }
            });
        }
    });
    let (sum, failed) = (sum.into_inner().unwrap(), failed.into_inner().unwrap());
    println!(
        "{resources} resources, seeds {} to {}: {} runs, {} deaths, {} intents settled, {} requests, {:.0?}",
        seeds.start,
        seeds.end - 1,
        sum.runs,
        sum.deaths,
        sum.settled,
        sum.requests,
        began.elapsed()
    );
    assert_eq!(failed, Vec::<u64>::new(), "seeds that fail");
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_run_each_time() {
    let (graph, scope) = read(&large(0));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let weather = Weather { throttled: 0.1, failed: 0.05, answer_lost: 0.02, ..Weather::default() };
        let cloud = cloud(&scope, Behaviour::aws(7).weather(weather));
        let began = tokio::time::Instant::now();
        complete(run_with(&cloud, &graph, empty(), Ask::default(), options()).await);
        seen.push((cloud.calls(), began.elapsed()));
    }
    assert_eq!(seen[0], seen[1]);
}
