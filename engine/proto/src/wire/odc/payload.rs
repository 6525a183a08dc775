//! The payload of a direct IM: HTML, then the bytes of its images.
//!
//! ```text
//! <HTML><BODY>text <IMG SRC="name" ID="1" WIDTH="w" HEIGHT="h" DATASIZE="n"></BODY></HTML>
//! <BINARY><DATA ID="1" SIZE="n">n raw bytes</DATA>…</BINARY>
//! ```
//! There are no line breaks on the wire. Markers are ASCII and may be written in any case; the charset of the header is that of
//! the text in front of `<BINARY>`.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::Charset;
use super::markup::Tag;
use crate::limits;
use crate::wire::error::EncodeError;

const BINARY: &[u8] = b"<BINARY>";
const DATA_END: &[u8] = b"</DATA>";
const BINARY_END: &[u8] = b"</BINARY>";

/// The bytes of one image, by the number under which the text shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The number; nothing keeps a sender from using one twice.
    pub id: u32,
    /// As many as were announced.
    pub data: Bytes,
}

/// What arrived as a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The HTML in front of the images. Foreign.
    pub html: String,
    /// The images that arrived whole before the first fault, in their order.
    pub parts: Vec<Part>,
    /// What was wrong behind them. The text counts all the same.
    pub fault: Option<PayloadFault>,
}

/// What was wrong behind `<BINARY>`. The peer's fault; the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayloadFault {
    /// Neither `<DATA …>` nor `</BINARY>` where one of them had to be.
    #[error("no image begins where one should")]
    NoTag,
    /// A tag without a readable number or size.
    #[error("an image without a number or size")]
    BadTag,
    /// The size of an image runs past the payload.
    #[error("an image of {size} bytes, {left} are left")]
    SizeLie {
        /// What was announced, in bytes.
        size: u32,
        /// What the payload has room for, in bytes.
        left: u32,
    },
    /// `</DATA>` does not follow the announced number of bytes.
    #[error("an image does not end where it should")]
    NoEnd,
    /// More than 64 images.
    #[error("more than 64 images")]
    TooMany,
    /// The payload ends within the images.
    #[error("the images break off")]
    BreaksOff,
}

/// Takes a payload apart while it arrives. Memory follows what has arrived, at most 64 KiB ahead of it.
#[derive(Debug)]
pub struct PayloadDecoder {
    charset: Charset,
    left: u32,
    state: State,
    text: Gathered,
    parts: Vec<Part>,
    fault: Option<PayloadFault>,
}

#[derive(Debug)]
enum State {
    /// In the text; so many bytes of `<BINARY>` were just seen.
    Text { seen: usize },
    /// Behind `<BINARY>`: reading a tag up to its bracket.
    Tag(Vec<u8>),
    /// Within the bytes of an image.
    Data { id: u32, size: u32, data: Gathered },
    /// Behind them; so many bytes of `</DATA>` were seen.
    End { part: Part, seen: usize },
    /// What still comes has no meaning.
    Over,
}

impl PayloadDecoder {
    /// For a payload of `length` bytes, whose limit is the caller's to check.
    #[must_use]
    pub fn new(length: u32, charset: Charset) -> Self {
        Self {
            charset,
            left: length,
            state: State::Text { seen: 0 },
            text: Gathered::default(),
            parts: Vec::new(),
            fault: None,
        }
    }

    /// Bytes that have not arrived yet.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Takes what belongs to the payload from the front of `buffer`.
    pub fn push(&mut self, buffer: &mut BytesMut) {
        let there = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let taken = buffer.split_to(there.min(self.left) as usize);
        let mut rest = &taken[..];
        while !rest.is_empty() {
            let used = self.step(rest);
            self.left -= u32::try_from(used).expect("invariant: no more than was left");
            rest = &rest[used..];
        }
    }

    /// The payload, once nothing is left to arrive; or what there is of it.
    #[must_use]
    pub fn finish(self) -> Payload {
        let broken_off = !matches!(self.state, State::Text { .. } | State::Over);
        let fault = broken_off.then_some(PayloadFault::BreaksOff);
        Payload {
            html: self.charset.decode(&self.text.into_bytes()),
            parts: self.parts,
            fault: self.fault.or(fault),
        }
    }

    /// Does something with the front of `input`, and says how many bytes of it that were. `left` still counts them.
    fn step(&mut self, input: &[u8]) -> usize {
        match &mut self.state {
            State::Text { seen } => {
                let (used, all) = seek(input, BINARY, seen);
                self.text.push(&input[..used], self.left as usize);
                if all {
                    self.text.cut(BINARY.len());
                    self.state = State::Tag(Vec::new());
                }
                used
            }
            State::Tag(tag) => {
                let end = input.iter().position(|&byte| byte == b'>');
                let used = end.map_or(input.len(), |end| end + 1);
                let used = used.min(limits::ODC_TAG - tag.len());
                tag.extend_from_slice(&input[..used]);
                if tag.ends_with(b">") {
                    let tag = std::mem::take(tag);
                    self.state = self.behind_tag(&tag, used);
                } else if tag.len() >= limits::ODC_TAG {
                    self.state = self.stop(PayloadFault::NoTag);
                }
                used
            }
            State::Data { id, size, data } => {
                let wanted = *size as usize - data.len;
                let used = wanted.min(input.len());
                data.push(&input[..used], wanted);
                if data.len == *size as usize {
                    let data = std::mem::take(data).into_bytes();
                    let part = Part { id: *id, data };
                    self.state = State::End { part, seen: 0 };
                }
                used
            }
            State::End { part, seen } => {
                if !input[0].eq_ignore_ascii_case(&DATA_END[*seen]) {
                    self.state = self.stop(PayloadFault::NoEnd);
                } else if *seen + 1 < DATA_END.len() {
                    *seen += 1;
                } else {
                    let part = part.clone();
                    self.parts.push(part);
                    self.state = State::Tag(Vec::new());
                }
                1
            }
            State::Over => input.len(),
        }
    }

    /// What follows a tag whose last `used` bytes `left` still counts.
    fn behind_tag(&mut self, tag: &[u8], used: usize) -> State {
        // Nobody writes blanks there, and they do no harm.
        let tag = tag.trim_ascii_start();
        if tag.eq_ignore_ascii_case(BINARY_END) {
            return State::Over;
        }
        let inside = tag
            .strip_prefix(b"<")
            .and_then(|tag| tag.strip_suffix(b">"));
        let inside = inside.and_then(|inside| std::str::from_utf8(inside).ok());
        let Some(tag) = inside.map(Tag::new).filter(|tag| tag.is("DATA")) else {
            return self.stop(PayloadFault::NoTag);
        };
        let (Some(id), Some(size)) = (tag.number("ID"), tag.number("SIZE")) else {
            return self.stop(PayloadFault::BadTag);
        };
        if self.parts.len() >= limits::ODC_IMAGES {
            return self.stop(PayloadFault::TooMany);
        }
        let left = self.left as usize - used;
        let left = u32::try_from(left.saturating_sub(DATA_END.len())).unwrap_or(u32::MAX);
        if size > left {
            return self.stop(PayloadFault::SizeLie { size, left });
        }
        match size {
            0 => State::End {
                part: Part {
                    id,
                    data: Bytes::new(),
                },
                seen: 0,
            },
            size => State::Data {
                id,
                size,
                data: Gathered::default(),
            },
        }
    }

    fn stop(&mut self, fault: PayloadFault) -> State {
        self.fault = Some(fault);
        State::Over
    }
}

/// Looks for a marker of which the last `seen` bytes before `input` were the start. Its first byte stands in it only once.
/// Returns how far was looked, and whether the whole marker ends there.
fn seek(input: &[u8], marker: &[u8], seen: &mut usize) -> (usize, bool) {
    for (at, byte) in input.iter().enumerate() {
        *seen = if byte.eq_ignore_ascii_case(&marker[*seen]) {
            *seen + 1
        } else {
            usize::from(*byte == marker[0])
        };
        if *seen == marker.len() {
            return (at + 1, true);
        }
    }
    (input.len(), false)
}

/// Bytes that arrive piece by piece, in blocks, so that nothing is moved or reserved in proportion to a length that was only
/// announced.
#[derive(Debug, Default)]
struct Gathered {
    blocks: Vec<Vec<u8>>,
    len: usize,
}

impl Gathered {
    /// Appends; `expected` is how many bytes can still come, these included.
    fn push(&mut self, mut bytes: &[u8], expected: usize) {
        let mut expected = expected.max(bytes.len());
        while !bytes.is_empty() {
            let room = self
                .blocks
                .last()
                .map_or(0, |last| last.capacity() - last.len());
            if room == 0 {
                let capacity = expected.min(limits::AHEAD_OF_ARRIVAL);
                self.blocks.push(Vec::with_capacity(capacity));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.blocks.last_mut() {
                last.extend_from_slice(now);
            }
            self.len += now.len();
            expected -= now.len();
            bytes = later;
        }
    }

    /// Takes `count` bytes off the end, after which nothing is expected any more.
    fn cut(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        let mut over = count;
        while let Some(last) = self.blocks.last_mut().filter(|_| over > 0) {
            let here = over.min(last.len());
            last.truncate(last.len() - here);
            over -= here;
            if last.is_empty() {
                self.blocks.pop();
            }
        }
        if let Some(last) = self.blocks.last_mut() {
            last.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn reserved(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }

    fn into_bytes(self) -> Bytes {
        let mut whole = Vec::with_capacity(self.len);
        for block in self.blocks {
            whole.extend_from_slice(&block);
        }
        whole.into()
    }
}

/// Writes a payload: the text's charset, and the pieces that make it up. The images are not copied.
///
/// # Errors
/// [`EncodeError::TooLong`] for more than 64 images or 50 MiB; [`EncodeError::Marker`] if the bytes of the text hold
/// `<BINARY>`, behind which a reader looks for images.
pub fn encode(html: &str, parts: &[Part]) -> Result<(Charset, Vec<Bytes>), EncodeError> {
    let (charset, text) = Charset::encode(html);
    if seek(&text, BINARY, &mut 0).1 {
        return Err(EncodeError::Marker {
            what: "direct IM",
            marker: "<BINARY>",
        });
    }
    if parts.len() > limits::ODC_IMAGES {
        return Err(EncodeError::TooLong {
            what: "images of a direct IM",
            length: parts.len(),
            max: limits::ODC_IMAGES,
        });
    }
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let mut markup = text;
    for (index, part) in parts.iter().enumerate() {
        markup.extend_from_slice(if index == 0 { BINARY } else { DATA_END });
        let tag = format!("<DATA ID=\"{}\" SIZE=\"{}\">", part.id, part.data.len());
        markup.extend_from_slice(tag.as_bytes());
        pieces.push(std::mem::take(&mut markup).into());
        pieces.push(part.data.clone());
    }
    if !parts.is_empty() {
        markup.extend_from_slice(DATA_END);
        markup.extend_from_slice(BINARY_END);
    }
    pieces.push(markup.into());
    let length = pieces.iter().map(Bytes::len).sum();
    if length > limits::ODC_PAYLOAD {
        return Err(EncodeError::TooLong {
            what: "direct IM",
            length,
            max: limits::ODC_PAYLOAD,
        });
    }
    Ok((charset, pieces))
}

#[cfg(test)]
mod tests;
