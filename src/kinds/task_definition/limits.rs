//! The sizes of tasks that Fargate takes.

/// CPU units, the least and most MiB of memory, and the step between ("Amazon ECS task definition differences for
/// Fargate": task CPU and memory). 256 units are an exception: 512, 1024 and 2048.
const TABLE: [(u32, u32, u32, u32); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

/// What is wrong with a size, and what is nearest to it.
pub fn wrong_size(cpu: u32, memory: u32) -> Option<(String, String)> {
    let Some(&(_, least, most, step)) = TABLE.iter().find(|(units, ..)| *units == cpu) else {
        let units: Vec<String> = TABLE.iter().map(|(units, ..)| units.to_string()).collect();
        let next = TABLE.iter().map(|(units, ..)| *units).find(|units| *units > cpu).unwrap_or(16_384);
        return Some((
            format!("Fargate has no tasks of {cpu} CPU units"),
            format!("it has {}; the next is {next}", units.join(", ")),
        ));
    };
    let fits = (least..=most).contains(&memory) && memory.is_multiple_of(step) && (cpu, memory) != (256, 1536);
    if fits {
        return None;
    }
    let message = format!("Fargate has no tasks of {cpu} CPU units with {memory} MiB of memory");
    let help = match cpu {
        256 => "with 256 units it takes 512, 1024 or 2048".to_owned(),
        _ => {
            let next = memory.next_multiple_of(step).clamp(least, most);
            format!(
                "with {cpu} units it takes {least} to {most} in steps of {step}; the nearest that is enough is {next}"
            )
        }
    };
    Some((message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_table_fit_and_others_do_not() {
        for (cpu, memory) in [(256, 512), (256, 2048), (512, 3072), (1024, 8192), (4096, 30_720), (16_384, 40_960)] {
            assert_eq!(wrong_size(cpu, memory), None, "{cpu} {memory}");
        }
        for (cpu, memory) in [(256, 1536), (256, 4096), (300, 512), (512, 512), (1024, 2500), (8192, 17_408)] {
            assert!(wrong_size(cpu, memory).is_some(), "{cpu} {memory}");
        }
        let (message, help) = wrong_size(1024, 1024).unwrap();
        assert_eq!(message, "Fargate has no tasks of 1024 CPU units with 1024 MiB of memory");
        assert_eq!(help, "with 1024 units it takes 2048 to 8192 in steps of 1024; the nearest that is enough is 2048");
    }
}
