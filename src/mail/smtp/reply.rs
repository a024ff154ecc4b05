//! Reads SMTP replies off a stream of bytes (RFC 5321 section 4.2), whatever the bytes are.

use std::ops::Range;

use crate::domain::replies::{Reply, split_enhanced};

/// Longest reply line taken, its end included; RFC 5321 section 4.5.3.1.5 says 512.
const MAX_LINE: usize = 2048;
/// Most lines taken for one reply.
const MAX_LINES: usize = 100;
/// Longest text kept of a reply.
const MAX_TEXT: usize = 2000;

/// Why bytes are no SMTP reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line of more than 2048 octets.
    #[error("the server's reply has a line that does not end")]
    LineTooLong,
    /// More than 100 lines.
    #[error("the server's reply has more than 100 lines")]
    TooManyLines,
    /// No three digits 200 to 599 and a space or hyphen, or another code than the line before.
    #[error("the server's answer is no SMTP reply")]
    NotAReply,
}

/// A reply before its lines are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    pub code: u16,
    /// Without code and line end; invalid UTF-8 and control characters are replaced.
    pub texts: Vec<String>,
    /// How many lines it has, its words kept or not.
    count: usize,
}

/// Received bytes that may hold a whole reply, a part of one, or several.
#[derive(Debug, Default)]
pub(super) struct ReplyBuffer {
    pub bytes: Vec<u8>,
    /// Bytes before this one are done with.
    start: usize,
    /// Bytes before this one hold no line end.
    searched: usize,
    partial: Option<Lines>,
}

impl ReplyBuffer {
    /// Nothing received that was not taken.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len() && self.partial.is_none()
    }

    /// The next whole reply, if it is there; without its words where its code is below `worded`.
    pub fn take(&mut self, worded: u16) -> Result<Option<Lines>, ReplyError> {
        while let Some(line) = self.take_line()? {
            let (code, more, text) = parse_line(&self.bytes[line])?;
            let reply = self.partial.get_or_insert(Lines { code, texts: Vec::new(), count: 0 });
            if reply.code != code {
                return Err(ReplyError::NotAReply);
            }
            if reply.count == MAX_LINES {
                return Err(ReplyError::TooManyLines);
            }
            reply.count += 1;
            if code >= worded {
                reply.texts.push(tidy(text));
            }
            if !more {
                return Ok(self.partial.take());
            }
        }
        Ok(None)
    }

    /// Where the next line stands, without its end.
    fn take_line(&mut self) -> Result<Option<Range<usize>>, ReplyError> {
        let found = memchr::memchr(b'\n', &self.bytes[self.searched..]).map(|i| self.searched + i);
        let length = found.map_or(self.bytes.len(), |end| end + 1) - self.start;
        if length > MAX_LINE {
            return Err(ReplyError::LineTooLong);
        }
        let Some(end) = found else {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.searched = self.bytes.len();
            return Ok(None);
        };
        let has_return = self.bytes[self.start..end].ends_with(b"\r");
        let line = self.start..end - usize::from(has_return);
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some(line))
    }
}

/// Code, whether more lines follow, text.
fn parse_line(line: &[u8]) -> Result<(u16, bool, &[u8]), ReplyError> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(ReplyError::NotAReply);
    };
    let code = [a, b, c].into_iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
    let (more, text) = match rest {
        [] => (false, rest),
        [b' ', text @ ..] => (false, text),
        [b'-', text @ ..] => (true, text),
        _ => return Err(ReplyError::NotAReply),
    };
    Ok((code, more, text))
}

/// Text without anything that is not to be shown.
fn tidy(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text.into_owned();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl From<Lines> for Reply {
    /// Joins the lines with a space, keeping the enhanced code that begins the first once.
    fn from(lines: Lines) -> Reply {
        let mut enhanced = None;
        let mut joined = String::new();
        for (i, line) in lines.texts.iter().enumerate() {
            let (status, mut text) = split_enhanced(line);
            if i == 0 {
                enhanced = status;
            } else if status != enhanced {
                text = line;
            }
            let text = text.trim();
            if !joined.is_empty() && !text.is_empty() {
                joined.push(' ');
            }
            joined.push_str(text);
            if joined.len() > MAX_TEXT {
                joined.truncate(joined.floor_char_boundary(MAX_TEXT));
                break;
            }
        }
        Reply { code: lines.code, enhanced, text: joined }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replies(chunks: &[&[u8]]) -> Result<Vec<String>, ReplyError> {
        let mut buffer = ReplyBuffer::default();
        let mut out = Vec::new();
        for chunk in chunks {
            buffer.bytes.extend_from_slice(chunk);
            while let Some(lines) = buffer.take(0)? {
                out.push(Reply::from(lines).to_string());
            }
        }
        Ok(out)
    }

    #[test]
    fn one_reply_however_it_arrives() {
        let text = b"550-5.1.1 The account\r\n550-5.1.1 does not exist\r\n550 5.1.1 see help\r\n250\r\n";
        let expected = vec!["550 5.1.1 The account does not exist see help".to_owned(), "250".to_owned()];
        assert_eq!(replies(&[text]).unwrap(), expected);
        for cut in 0..text.len() {
            assert_eq!(replies(&[&text[..cut], &text[cut..]]).unwrap(), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(replies(&bytes).unwrap(), expected);
    }

    #[test]
    fn words_that_nobody_reads_are_left_out() {
        let mut buffer = ReplyBuffer::default();
        buffer.bytes.extend_from_slice(b"250-2.1.0 a\r\n250 2.1.0 b\r\n550 5.1.1 no\r\n");
        let taken = buffer.take(400).unwrap().unwrap();
        assert_eq!((taken.code, taken.texts.len()), (250, 0));
        assert_eq!(buffer.take(400).unwrap().unwrap().texts, ["5.1.1 no"]);
        assert!(buffer.is_empty());
        let many = "250-x\r\n".repeat(101);
        buffer.bytes.extend_from_slice(many.as_bytes());
        assert_eq!(buffer.take(400), Err(ReplyError::TooManyLines));
    }

    #[test]
    fn what_is_no_reply_is_said_to_be_none() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "99 x\r\n",
            "250x\r\n",
            "650 x\r\n",
            "\r\n",
            "250-a\r\n251 b\r\n",
            "354: go\n",
        ] {
            assert_eq!(replies(&[text.as_bytes()]), Err(ReplyError::NotAReply), "{text:?}");
        }
        assert_eq!(replies(&[&[b'2'; 4000]]), Err(ReplyError::LineTooLong));
        assert_eq!(replies(&["250-x\r\n".repeat(101).as_bytes()]), Err(ReplyError::TooManyLines));
        assert_eq!(replies(&[b"250 \xff\x1b[31m\n"]).unwrap(), ["250 \u{fffd} [31m"]);
    }

    #[test]
    fn a_long_reply_is_kept_in_part() {
        let line = format!("550-{}\r\n", "é".repeat(900));
        let reply = replies(&[format!("{line}{line}550 end\r\n").as_bytes()]).unwrap();
        assert!(reply[0].len() <= MAX_TEXT + 4, "{}", reply[0].len());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_chunks_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'2'), Just(b'5'), Just(b' '), Just(b'-'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            cut in 0usize..200,
        ) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(replies(&[&bytes]), replies(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
