//! The journal: records appended and synced before and after every mutating call.
//!
//! A line is `LENGTH CHECKSUM JSON`: the length of the JSON in bytes and its CRC-32, both in hexadecimal. A last line
//! that is cut short or does not match its checksum is a torn write of a run that died; it is cut off. A bad line with
//! good ones behind it is damage. In an encrypted state several such lines are encrypted together, and stand in base64 in
//! the place of JSON.

use super::Record;

/// Appends the line of a record.
///
/// # Errors
/// Where it has no JSON form.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = out.len();
    out.extend_from_slice(NO_HEAD);
    if let Err(error) = serde_json::to_writer(&mut *out, record) {
        out.truncate(start);
        return Err(error);
    }
    finish(out, start);
    Ok(())
}

/// Appends the line that holds these bytes, in which there is no end of a line.
pub fn frame(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(NO_HEAD);
    out.extend_from_slice(bytes);
    finish(out, start);
}

/// The place of a head.
const NO_HEAD: &[u8] = b"00000000 00000000 ";

/// Gives the line that begins at `start` its head and its end.
fn finish(out: &mut Vec<u8>, start: usize) {
    let from = start + NO_HEAD.len();
    let head = head_of(&out[from..]);
    out[start..from].copy_from_slice(head.as_bytes());
    out.push(b'\n');
}

fn head_of(bytes: &[u8]) -> String {
    format!("{:08x} {:08x} ", bytes.len(), crc32fast::hash(bytes))
}

/// The records in these bytes, and how many of the bytes are whole.
///
/// # Errors
/// What is wrong, where it is not just the last line.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Record>, u64), String> {
    let read = |json: &[u8]| serde_json::from_slice(json).map_err(|_| "it is no record");
    let (records, whole) = frames(bytes, read)?;
    Ok((records.into_iter().map(|(record, _)| record).collect(), whole))
}

/// What `read` makes of the lines in these bytes, with where each ends, and how many of the bytes are whole.
///
/// # Errors
/// What is wrong, where it is not just the last line.
pub fn frames<T>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, &'static str>,
) -> Result<(Vec<(T, usize)>, u64), String> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut number = 0;
    let decode = |line: &[u8]| decode(line).and_then(&read);
    while at < bytes.len() {
        number += 1;
        let end = bytes[at..].iter().position(|b| *b == b'\n').map(|length| at + length);
        let next = end.map_or(bytes.len(), |end| end + 1);
        match end.ok_or("it has no end").and_then(|end| decode(&bytes[at..end])) {
            Ok(one) => found.push((one, next)),
            Err(why) => {
                // Torn only if nothing whole follows.
                let follows = bytes[next..].split(|b| *b == b'\n').any(|line| decode(line).is_ok());
                let rest = &bytes[at..];
                if follows || has_lost_its_end(rest, decode) || has_one_wrong_bit(rest, |json| read(json).is_ok()) {
                    return Err(format!("line {number}: {why}"));
                }
                return Ok((found, at as u64));
            }
        }
        at = next;
    }
    Ok((found, at as u64))
}

/// Whether a whole record stands here with something else than the end of a line behind it.
fn has_lost_its_end<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, &'static str>) -> bool {
    let length = bytes.get(..8).and_then(|head| std::str::from_utf8(head).ok());
    let end = length.and_then(|text| usize::from_str_radix(text, 16).ok()).and_then(|length| length.checked_add(18));
    end.is_some_and(|end| {
        bytes.get(end).is_some_and(|byte| *byte != b'\n') && bytes.get(..end).is_some_and(|line| decode(line).is_ok())
    })
}

/// Whether what stands here is a whole last line but for one bit: no torn write leaves that.
fn has_one_wrong_bit(bytes: &[u8], is_good: impl Fn(&[u8]) -> bool) -> bool {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let (Some(head), Some(json)) = (bytes.get(..18), bytes.get(18..).and_then(|rest| rest.strip_suffix(b"\n"))) else {
        return false;
    };
    let true_head = head_of(json);
    let wrong = head.iter().zip(true_head.as_bytes()).filter(|(one, other)| one != other).count();
    if wrong == 1 && is_good(json) {
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

/// What a whole line holds behind its head.
fn decode(line: &[u8]) -> Result<&[u8], &'static str> {
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
    Ok(json)
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
