//! The journal: records appended and synced before and after every mutating call.
//!
//! A line is `LENGTH CHECKSUM JSON`: the length of the JSON in bytes and its CRC-32, both in hexadecimal. A last line
//! that is cut short or does not match its checksum is a torn write of a run that died; it is cut off. A bad line with
//! good ones behind it is damage.

use super::Record;

/// Appends the line of a record.
///
/// # Errors
/// Where it has no JSON form.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = out.len();
    out.extend_from_slice(b"00000000 00000000 ");
    let from = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, record) {
        out.truncate(start);
        return Err(error);
    }
    let json = &out[from..];
    let head = format!("{:08x} {:08x} ", json.len(), crc32fast::hash(json));
    out[start..from].copy_from_slice(head.as_bytes());
    out.push(b'\n');
    Ok(())
}

/// The records in these bytes, and how many of the bytes are whole.
///
/// # Errors
/// What is wrong, where it is not just the last line.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Record>, u64), String> {
    let mut records = Vec::new();
    let mut at = 0;
    let mut number = 0;
    while at < bytes.len() {
        number += 1;
        let end = bytes[at..].iter().position(|b| *b == b'\n').map(|length| at + length);
        match end.ok_or("it has no end").and_then(|end| decode(&bytes[at..end])) {
            Ok(record) => records.push(record),
            Err(why) => {
                // Torn only if nothing whole follows.
                let next = end.map_or(bytes.len(), |end| end + 1);
                let follows = bytes[next..].split(|b| *b == b'\n').any(|line| decode(line).is_ok());
                if follows || has_lost_its_end(&bytes[at..]) || has_one_wrong_bit(&bytes[at..]) {
                    return Err(format!("line {number}: {why}"));
                }
                return Ok((records, at as u64));
            }
        }
        at = end.map_or(bytes.len(), |end| end + 1);
    }
    Ok((records, at as u64))
}

/// Whether a whole record stands here with something else than the end of a line behind it.
fn has_lost_its_end(bytes: &[u8]) -> bool {
    let length = bytes.get(..8).and_then(|head| std::str::from_utf8(head).ok());
    let end = length.and_then(|text| usize::from_str_radix(text, 16).ok()).and_then(|length| length.checked_add(18));
    end.is_some_and(|end| {
        bytes.get(end).is_some_and(|byte| *byte != b'\n') && bytes.get(..end).is_some_and(|line| decode(line).is_ok())
    })
}

/// Whether what stands here is a whole last line but for one bit: no torn write leaves that.
fn has_one_wrong_bit(bytes: &[u8]) -> bool {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let (Some(head), Some(json)) = (bytes.get(..18), bytes.get(18..).and_then(|rest| rest.strip_suffix(b"\n"))) else {
        return false;
    };
    let true_head = format!("{:08x} {:08x} ", json.len(), crc32fast::hash(json));
    let wrong = head.iter().zip(true_head.as_bytes()).filter(|(one, other)| one != other).count();
    if wrong == 1 && serde_json::from_slice::<Record>(json).is_ok() {
        return true;
    }
    let number = |at: std::ops::Range<usize>| u32::from_str_radix(std::str::from_utf8(head.get(at)?).ok()?, 16).ok();
    let (Some(length), Some(checksum)) = (number(0..8), number(9..17)) else { return false };
    if length as usize != json.len() {
        return false;
    }
    // By how much one bit changes a CRC follows from its distance from the end alone.
    let differs = checksum ^ crc32fast::hash(json);
    let step = |effect: u32| (effect >> 1) ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
    std::iter::successors(Some(POLYNOMIAL), |effect| Some(step(*effect))).take(8 * json.len()).any(|e| e == differs)
}

fn decode(line: &[u8]) -> Result<Record, &'static str> {
    let hex = |bytes: &[u8]| {
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
            .and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or("its head is no number")
    };
    let (Some(head), Some(json)) = (line.get(..18), line.get(18..)) else { return Err("it is too short") };
    if head[8] != b' ' || head[17] != b' ' {
        return Err("its head is damaged");
    }
    if hex(&head[..8])? as usize != json.len() {
        return Err("it has another length than it says");
    }
    if hex(&head[9..17])? != crc32fast::hash(json) {
        return Err("its checksum differs");
    }
    serde_json::from_slice(json).map_err(|_| "it is no record")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in 0..3 {
            encode(&Record::Settled { number }, &mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_journal_cut_anywhere_gives_its_whole_lines() {
        let bytes = lines();
        let length = bytes.len() / 3;
        for cut in 0..=bytes.len() {
            let (records, whole) = parse(&bytes[..cut]).unwrap();
            assert_eq!(records.len(), cut / length, "cut at {cut}");
            assert_eq!(whole as usize, cut / length * length);
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_wherever_it_is() {
        let bytes = lines();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let parsed = parse(&flipped);
            assert!(parsed.is_err(), "a flip of bit {bit} went unseen: {parsed:?}");
        }
    }

    #[test]
    fn a_last_line_of_which_blocks_were_not_written_is_torn() {
        let bytes = lines();
        let length = bytes.len() / 3;
        for from in 2 * length..bytes.len() - 1 {
            let mut torn = bytes.clone();
            torn[from..].fill(0);
            assert_eq!(parse(&torn).map(|(records, _)| records.len()), Ok(2), "nothing from {from} on");
        }
    }
}
