//! Messages through the host: whoever gets one writes to somebody else, so that always the same number is on its way.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdv_benches::Failure;
use rdv_benches::report::Goal;
use rdv_benches::scratch::Noise;
use rdv_proto::wire::flap::{Channel, Frame, HEADER_LEN};
use rdv_proto::wire::icbm::{self, MessageToHost, subgroup, tlv};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Stage;
use crate::client::{Client, sign_on};
use crate::presence::{block_on, gather};
use crate::served::Served;
use crate::table::Table;

/// Messages that are on their way at a time.
const ON_THE_WAY: usize = 500;
const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog, as it always does";

/// Messages in a second with many clients on.
pub(crate) fn run(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    block_on(async {
        let count = stage.sizes.on;
        let (host, people) = Served::host(stage, stage.sizes.idle).await?;
        let address = host.address;
        let frames = (0..count).map(|number| message(people.get(number).0));
        let frames: Rc<[Bytes]> = frames.collect::<Result<_, _>>()?;
        let clients = gather(count, |number| {
            let people = people.clone();
            async move { sign_on(address, number, people.get(number)).await }
        })
        .await?;
        let said = Rc::new(Cell::new(0_u64));
        for (number, client) in clients.into_iter().enumerate() {
            let begins = ON_THE_WAY * (number + 1) / count - ON_THE_WAY * number / count;
            let chatter = Chatter {
                noise: Noise(number as u64),
                frames: frames.clone(),
                said: said.clone(),
            };
            tokio::task::spawn_local(async move {
                if let Err(error) = chatter.run(client, begins).await {
                    println!("  a client was lost: {error}");
                }
            });
        }
        let measured = stage.sizes.measured;
        tokio::time::sleep(measured / 10).await;
        let (before, used, began) = (said.get(), host.holding()?.cpu, Instant::now());
        tokio::time::sleep(measured).await;
        let elapsed = began.elapsed().as_secs_f64();
        let count_said = (said.get() - before) as f64;
        let used = host.holding()?.cpu.saturating_sub(used).as_secs_f64();
        println!(
            "  the host used {:.0} % of a core, {:.1} µs for each",
            100.0 * used / elapsed,
            1e6 * used / count_said.max(1.0)
        );
        let on_the_way = Duration::from_secs_f64(ON_THE_WAY as f64 * elapsed / count_said.max(1.0));
        table.judged(
            format!("messages through the host, {count} clients on"),
            count_said / elapsed,
            "/s",
            Goal::AtLeast(20_000.0),
        );
        table.told(
            format!("mean time of a message from client to client, {ON_THE_WAY} on the way"),
            on_the_way.as_secs_f64() * 1000.0,
            "ms",
        );
        Ok(())
    })
}

/// The frame of a message to `name`.
fn message(name: &str) -> Result<Bytes, Failure> {
    let mut fragments = vec![5, 1, 0, 4, 1, 1, 1, 2, 1, 1, 0];
    fragments.push(u8::try_from(TEXT.len() + 4)?);
    fragments.extend([0, 0, 0, 0]);
    fragments.extend(TEXT);
    let body = MessageToHost {
        cookie: Cookie(*b"3855154\0"),
        channel: icbm::Channel::TEXT,
        recipient: ScreenName::new(name)?,
        tlvs: TlvList::new().with(tlv::MESSAGE, fragments),
    };
    let snac = Snac::new(Foodgroup::ICBM, subgroup::MESSAGE_TO_HOST, 1, body.encode());
    let mut out = BytesMut::new();
    let frame = Frame {
        channel: Channel::DATA,
        sequence: 0,
        data: snac.encode(),
    };
    frame.encode(&mut out)?;
    Ok(out.freeze())
}

/// One client that answers each message with one to somebody else.
struct Chatter {
    noise: Noise,
    frames: Rc<[Bytes]>,
    said: Rc<Cell<u64>>,
}

impl Chatter {
    async fn run(mut self, client: Client<TcpStream>, begins: usize) -> Result<(), Failure> {
        let mut stream = client.stream;
        for _ in 0..begins {
            self.speak(&mut stream).await?;
        }
        // What is left of a frame that is not whole.
        let mut rest = Vec::new();
        loop {
            stream.readable().await?;
            let mut chunk = [0; 4096];
            let length = match stream.try_read(&mut chunk) {
                Ok(0) => return Err("the host hung up".into()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            rest.extend_from_slice(&chunk[..length]);
            let mut heard = 0;
            let mut at = 0;
            while let Some([_, _, _, _, high, low, ..]) = rest.get(at..) {
                let end = at + HEADER_LEN + usize::from(u16::from_be_bytes([*high, *low]));
                let Some(frame) = rest.get(at..end) else {
                    break;
                };
                // 0x0004/0x0007 on channel 2.
                if frame[1] == 2 && frame.get(6..10) == Some(&[0, 4, 0, 7]) {
                    heard += 1;
                }
                at = end;
            }
            rest.drain(..at);
            self.said.set(self.said.get() + heard);
            for _ in 0..heard {
                self.speak(&mut stream).await?;
            }
        }
    }

    async fn speak(&mut self, stream: &mut TcpStream) -> Result<(), Failure> {
        let to = self.noise.next_u64() % self.frames.len() as u64;
        Ok(stream.write_all(&self.frames[to as usize]).await?)
    }
}
