//! Ctrl-C and SIGTERM: the first begins nothing new, the second saves and goes.

use tokio::sync::watch;

use crate::apply::Stop;

/// Watches for interrupts from now on.
pub fn watch() -> watch::Receiver<Stop> {
    let (sender, receiver) = watch::channel(Stop::No);
    tokio::spawn(async move {
        for stop in [Stop::Gently, Stop::Now] {
            interrupted().await;
            if sender.send(stop).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}
