//! Throttling is the tool's problem: three hundred resources in an account that hardly lets anything through.

use std::time::Duration;

use cofferdam::simulated::{Behaviour, Simulated, Weather};

use super::stacks::{cloud, contents, large, read};
use crate::engine::{assert_settled, empty, options, run_with};
use crate::stack::Ask;

/// A whole run in such a cloud: the requests that it took, how long, and the cloud.
async fn whole_run(behaviour: Behaviour) -> (u64, Duration, Simulated) {
    let (graph, scope) = read(&large(0));
    let cloud = cloud(&scope, behaviour);
    let began = tokio::time::Instant::now();
    let ran = run_with(&cloud, &graph, empty(), Ask::default(), options()).await;
    assert!(ran.report.is_complete(), "{:?}", ran.report.failed);
    let took = began.elapsed();
    let requests = cloud.calls().values().sum();
    assert_settled(&cloud, &graph, &ran.state).await;
    (requests, took, cloud)
}

fn unlimited() -> Behaviour {
    Behaviour { limits: None, ..Behaviour::aws(1) }
}

#[tokio::test(start_paused = true)]
async fn buckets_of_a_tenth_cost_at_most_half_as_many_calls_again() {
    let (undisturbed, quick, quiet) = whole_run(unlimited()).await;
    let (usual, usually, _) = whole_run(Behaviour::aws(1)).await;
    let (limited, slow, throttled) = whole_run(Behaviour::aws(1).limited_to(0.1)).await;
    println!(
        "requests: {undisturbed} in {quick:.0?} without limits, {usual} in {usually:.0?} with AWS's, {limited} in \
         {slow:.0?} with a tenth of AWS's"
    );
    assert_eq!(contents(&throttled), contents(&quiet));
    assert!(limited * 2 <= undisturbed * 3, "{limited} requests, and undisturbed {undisturbed}");
}

#[tokio::test(start_paused = true)]
async fn half_of_all_calls_may_be_refused() {
    let (undisturbed, quick, quiet) = whole_run(unlimited()).await;
    let weather = Weather { throttled: 0.5, ..Weather::default() };
    let (refused, slow, throttled) = whole_run(unlimited().weather(weather)).await;
    println!("requests: {undisturbed} in {quick:.0?}, and where half are refused {refused} in {slow:.0?}");
    assert_eq!(contents(&throttled), contents(&quiet));
}
