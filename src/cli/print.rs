//! Printing, without the panics of the standard macros: whoever reads may go away (`cofferdam plan web | head`), and an
//! apply must still finish and save what it did.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether nobody reads standard output any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads standard output any more: who would go on for ever ends then.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// The first error of standard output, other than that nobody reads it any more.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// What standard output could not take, if anything: a verb whose output is lost has not succeeded.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Writes to standard output, with styles taken out where they are of no use.
pub fn out(text: Arguments<'_>) {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(error) => {
            let _ = LOST.set(error);
        }
        Ok(()) => {}
    }
}

/// Writes to standard error. Where that fails there is nobody to tell.
pub fn err(text: Arguments<'_>) {
    let mut stderr = anstream::stderr().lock();
    let _ = stderr.write_fmt(text).and_then(|()| stderr.flush());
}

/// Prints to standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::print::out(format_args!($($text)*)) };
}

/// Prints a line to standard output.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::print::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints to standard error.
macro_rules! err {
    ($($text:tt)*) => { $crate::cli::print::err(format_args!($($text)*)) };
}

/// Prints a line to standard error.
macro_rules! errln {
    () => { $crate::cli::print::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::print::err(format_args!("{}\n", format_args!($($text)*))) };
}
