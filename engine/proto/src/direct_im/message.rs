//! What users say to each other: text with images in it.

use std::fmt;

use bytes::Bytes;

use crate::wire::error::EncodeError;
use crate::wire::odc::Charset;
use crate::wire::odc::markup::{self, Piece, Tag};
use crate::wire::odc::payload::{self, Part, Payload, PayloadFault};

/// A message that is being composed, from front to back.
///
/// `Message::new().text("look: ").image(photo).html("<B>nice</B>")`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    body: String,
    images: Vec<Bytes>,
    automatic: bool,
}

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds text. It is read as it stands here, whatever characters it holds; line ends stay.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        markup::escape(text, &mut self.body);
        self
    }

    /// Adds HTML as it is, without `<HTML>` and `<BODY>`, which are written around the whole.
    #[must_use]
    pub fn html(mut self, html: &str) -> Self {
        self.body.push_str(html);
        self
    }

    /// Adds an image, shown where it was added.
    #[must_use]
    pub fn image(mut self, image: Image) -> Self {
        let id = self.images.len() + 1;
        self.body.push_str("<IMG SRC=\"");
        markup::escape(&image.name.replace('\n', " "), &mut self.body);
        let (width, height, size) = (image.width, image.height, image.data.len());
        self.body.push_str(&format!(
            "\" ID=\"{id}\" WIDTH=\"{width}\" HEIGHT=\"{height}\" DATASIZE=\"{size}\">"
        ));
        self.images.push(image.data);
        self
    }

    /// Marks the message as one that no person wrote: "I am away".
    #[must_use]
    pub fn automatic(mut self) -> Self {
        self.automatic = true;
        self
    }

    pub(super) fn is_automatic(&self) -> bool {
        self.automatic
    }

    /// The payload of the frame.
    pub(super) fn encode(&self) -> Result<(Charset, Vec<Bytes>), EncodeError> {
        let html = format!("<HTML><BODY>{}</BODY></HTML>", self.body);
        // libpurple looks for the images up to the first zero byte, and UTF-16 is full of these.
        let wide = !self.images.is_empty() && Charset::encode(&html).0 == Charset::UTF_16;
        let html = if wide { markup::in_ascii(&html) } else { html };
        let numbered = (1..).zip(&self.images);
        let part = |(id, data): (u32, &Bytes)| Part {
            id,
            data: data.clone(),
        };
        payload::encode(&html, &numbered.map(part).collect::<Vec<_>>())
    }
}

/// An image of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// What the sender calls it, usually a file name. From a peer it is foreign: clean it before it meets a file system, escape
    /// it before it is shown.
    pub name: String,
    /// Pixels; 0 if it is not known. From a peer: the peer's word.
    pub width: u32,
    /// Pixels; 0 if it is not known. From a peer: the peer's word.
    pub height: u32,
    /// The file: JPEG, PNG, GIF or whatever it is.
    pub data: Bytes,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("name", &self.name)
            .field("width", &self.width)
            .field("height", &self.height)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// A message that arrived. All of it is foreign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The HTML as it came, without the bytes of the images. Escape it, or show [`Received::text`].
    pub html: String,
    /// The images that are to be shown, each with the number by which an `<IMG ID=…>` of [`Received::html`] names it, in the order
    /// in which the text shows them first. Only those whose announced size is that of the bytes.
    pub images: Vec<(u32, Image)>,
    /// Whether it says of itself that no person wrote it.
    pub automatic: bool,
    /// Why images are missing, if some are.
    pub fault: Option<PayloadFault>,
}

impl Received {
    pub(super) fn new(payload: Payload, automatic: bool) -> Self {
        let mut parts = payload.parts;
        let mut images = Vec::new();
        for piece in markup::pieces(&payload.html) {
            if parts.is_empty() {
                break;
            }
            if let Piece::Tag(tag) = piece
                && let Some(image) = shown(tag, &mut parts)
            {
                images.push(image);
            }
        }
        Self {
            html: payload.html,
            images,
            automatic,
            fault: payload.fault,
        }
    }

    /// What it says, without markup. Still foreign: control characters, for one, are kept.
    #[must_use]
    pub fn text(&self) -> String {
        markup::plain_text(&self.html)
    }
}

/// The image that a tag shows, taken from the parts that no tag has shown yet.
fn shown(tag: Tag<'_>, parts: &mut Vec<Part>) -> Option<(u32, Image)> {
    if !tag.is("IMG") {
        return None;
    }
    let (id, size) = (tag.number("ID")?, tag.number("DATASIZE")?);
    // Of two parts with one number the first counts.
    let index = parts.iter().position(|part| part.id == id)?;
    if parts[index].data.len() != size as usize {
        return None;
    }
    let image = Image {
        name: markup::unescaped(tag.attribute("SRC").unwrap_or_default()),
        width: tag.number("WIDTH").unwrap_or(0),
        height: tag.number("HEIGHT").unwrap_or(0),
        data: parts[index].data.clone(),
    };
    parts.retain(|part| part.id != id);
    Some((id, image))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, data: &'static [u8]) -> Image {
        Image {
            name: name.into(),
            width: 1,
            height: 2,
            data: Bytes::from_static(data),
        }
    }

    fn received(html: &str, parts: &[(u32, &'static [u8])]) -> Received {
        let part = |&(id, data)| Part {
            id,
            data: Bytes::from_static(data),
        };
        let payload = Payload {
            html: html.into(),
            parts: parts.iter().map(part).collect(),
            fault: None,
        };
        Received::new(payload, false)
    }

    #[test]
    fn a_message_is_read_as_it_was_composed() {
        let message = Message::new()
            .text("1 < 2\n")
            .image(image("a \"b\".png", b"one"))
            .html("<B>bold</B>")
            .image(image("c.png", b""));
        let (_, pieces) = message.encode().expect("it fits");
        let whole = pieces.concat();
        let mut decoder = payload::PayloadDecoder::new(
            u32::try_from(whole.len()).expect("small"),
            Charset::ASCII,
        );
        decoder.push(&mut bytes::BytesMut::from(&whole[..]));
        let received = Received::new(decoder.finish(), false);
        assert_eq!(received.text(), "1 < 2\nbold");
        let expected = [(1, image("a \"b\".png", b"one")), (2, image("c.png", b""))];
        assert_eq!(received.images, expected);
    }

    #[test]
    fn a_text_with_images_has_no_zero_byte_in_front_of_them() {
        for text in ["plain", "grüße", "日本 😀"] {
            let message = Message::new().text(text).image(image("日.png", b"one"));
            let (charset, pieces) = message.encode().expect("it fits");
            assert!(!pieces[0].contains(&0), "{text}");
            let whole = pieces.concat();
            let length = u32::try_from(whole.len()).expect("small");
            let mut decoder = payload::PayloadDecoder::new(length, charset);
            decoder.push(&mut bytes::BytesMut::from(&whole[..]));
            let received = Received::new(decoder.finish(), false);
            assert_eq!(received.text(), text);
            assert_eq!(received.images, [(1, image("日.png", b"one"))]);
        }
        let (charset, _) = Message::new().text("日本").encode().expect("it fits");
        assert_eq!(
            charset,
            Charset::UTF_16,
            "without images nothing stands in the way"
        );
    }

    #[test]
    fn an_image_is_shown_only_if_its_sizes_agree() {
        let html = "<IMG SRC=\"a\" ID=\"1\" WIDTH=\"1\" HEIGHT=\"2\" DATASIZE=\"3\"><img id=2 datasize=4><IMG ID=\"3\">";
        let received = received(html, &[(1, b"abc"), (2, b"abc"), (3, b"abc"), (4, b"abc")]);
        assert_eq!(received.images, [(1, image("a", b"abc"))]);
        assert_eq!(received.html, html);
    }

    #[test]
    fn an_image_comes_once_however_often_it_is_shown_or_sent() {
        let html = "<IMG ID=\"1\" DATASIZE=\"1\"><IMG ID=\"1\" DATASIZE=\"1\">";
        let received = received(html, &[(1, b"a"), (1, b"b")]);
        let data: Vec<_> = received
            .images
            .iter()
            .map(|(_, image)| &image.data[..])
            .collect();
        assert_eq!(data, [b"a"]);
    }

    #[test]
    fn the_debug_text_of_an_image_holds_no_file_bytes() {
        assert!(!format!("{:?}", image("a", b"secret")).contains("115"));
    }
}
