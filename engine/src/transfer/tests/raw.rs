//! A peer that says whatever the test wants.

use prost::Message;
use rdv_proto::wire::bulk::{self, *};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

pub(super) struct Raw(pub(super) DuplexStream);

impl Raw {
    pub(super) async fn put(&mut self, kind: FrameType, message: &impl Message) {
        self.bytes(&message_frame(kind, message).unwrap()).await;
    }

    /// The other side may have gone already: that is its right.
    pub(super) async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    pub(super) async fn hello(&mut self, role: BulkRole) {
        self.put(
            FrameType::HELLO,
            &Hello {
                version: 1,
                role: role.0,
            },
        )
        .await;
    }

    pub(super) async fn frame(&mut self) -> Option<(FrameType, Vec<u8>)> {
        let mut head = [0; FRAME_HEAD];
        self.0.read_exact(&mut head).await.ok()?;
        let (kind, len) = parse_head(head).unwrap();
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((kind, payload))
    }

    /// Reads on until a frame of this type.
    pub(super) async fn until(&mut self, wanted: FrameType) -> Option<Vec<u8>> {
        loop {
            let (kind, payload) = self.frame().await?;
            if kind == wanted {
                return Some(payload);
            }
        }
    }

    /// The reason of the other side's last words.
    pub(super) async fn abort(&mut self) -> Option<AbortReason> {
        let payload = self.until(FrameType::ABORT).await?;
        match control(FrameType::ABORT, &payload) {
            Ok(Some(bulk::Control::Abort { reason, .. })) => Some(AbortReason(reason)),
            _ => None,
        }
    }

    /// Offers files of these names and sizes.
    pub(super) async fn offer(&mut self, files: &[(&str, u64)]) {
        self.hello(BulkRole::SENDER).await;
        let entry = |(path, size): &(&str, u64)| ManifestEntry {
            path: path.as_bytes().to_vec(),
            size: *size,
            mode: 6,
            ..Default::default()
        };
        let entries = files.iter().map(entry).collect();
        self.put(FrameType::MANIFEST, &ManifestChunk { entries })
            .await;
        let bytes = files.iter().map(|(_, size)| size).sum();
        self.put(
            FrameType::MANIFEST_END,
            &ManifestEnd {
                files: files.len() as u64,
                folders: 0,
                bytes,
            },
        )
        .await;
    }

    pub(super) async fn block(&mut self, number: u64, fill: impl FnOnce(&mut BlockWriter)) {
        let mut block = BlockWriter::new(vec![0; 100_000], number);
        fill(&mut block);
        let (buffer, len) = block.finish();
        self.bytes(&buffer[..len]).await;
    }
}

pub(super) fn piece(block: &mut BlockWriter, file: u32, offset: u64, bytes: &[u8]) {
    block.bytes(file, offset)[..bytes.len()].copy_from_slice(bytes);
    block.commit(bytes.len());
}
