//! The tool on a terminal, which `script` of util-linux makes: it asks before it changes anything.

use std::io::{Read, Write};
use std::process::ExitStatus;

use crate::interrupts::Project;

/// Runs an apply on a terminal, types this when it asks, and gives how it ended and all that was on the screen.
fn applied(project: &Project, typed: &str, environment: &[(&str, &str)]) -> (ExitStatus, String) {
    let mut command = project.program("script", &project.emulator);
    let apply = format!("{} apply stack.toml --cloud aws", env!("CARGO_BIN_EXE_cofferdam"));
    // `exec`, so that a signal of the terminal finds the tool alone.
    command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").envs(environment.iter().copied());
    command.args(["-qec", &format!("exec {apply}"), "/dev/null"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("script of util-linux is installed");
    let mut keyboard = child.stdin.take().expect("it has one");
    let mut output = child.stdout.take().expect("it has one");
    let (mut screen, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&screen).contains("taken as one: ") {
        assert_eq!(output.read(&mut byte).expect("it can be read"), 1, "{}", String::from_utf8_lossy(&screen));
        screen.push(byte[0]);
    }
    let (sender, rest) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = output.read_to_end(&mut rest);
        sender.send(rest)
    });
    // `script` passes on what it is given, but for what comes while it is busy setting the terminal up.
    for _ in 0..PATIENCE {
        let _ = keyboard.write_all(typed.as_bytes());
        if let Ok(rest) = rest.recv_timeout(std::time::Duration::from_secs(3)) {
            screen.extend(rest);
            return (child.wait().expect("it ends"), String::from_utf8_lossy(&screen).into_owned());
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("{typed:?} is not heard: {}", String::from_utf8_lossy(&screen));
}

/// How often something is typed until it is heard.
const PATIENCE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn only_yes_is_taken_as_approval() {
    let project = Project::new().await;
    for typed in ["no\n", "\n", "y\n", "\u{4}"] {
        let (status, screen) = applied(&project, typed, &[]);
        assert_eq!(status.code(), Some(1), "{typed:?}: {screen}");
        assert!(screen.contains("not approved; nothing was changed"), "{typed:?}: {screen}");
        assert_eq!(project.vpcs().await, 0, "{typed:?} changes nothing");
    }
    // Ctrl-C ends the tool by its signal, as a shell expects.
    let (status, screen) = applied(&project, "\u{3}", &[]);
    assert_eq!(status.code(), Some(128 + 2), "{screen}");
    assert_eq!(project.vpcs().await, 0);

    let (status, screen) = applied(&project, "yes\n", &[]);
    assert!(status.success(), "{screen}");
    assert!(screen.contains("Plan\u{1b}[0m: ") && screen.contains("3 created in "), "in colours: {screen}");
    assert_eq!(project.vpcs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_left_out_where_nobody_wants_them() {
    let project = Project::new().await;
    let (status, screen) = applied(&project, "yes\n", &[("NO_COLOR", "1")]);
    assert!(status.success(), "{screen}");
    // Sequences that end in `m` are styles; others move the cursor.
    let ends = screen.split("\u{1b}[").skip(1).filter_map(|code| code.chars().find(char::is_ascii_alphabetic));
    assert!(!ends.into_iter().any(|end| end == 'm'), "{screen:?}");
    assert!(screen.contains("✓ vpc.main: created"), "{screen}");
}
