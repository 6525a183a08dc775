//! The fuzz targets on a stable compiler: kept inputs, recorded frames, and mutations of both by a seeded generator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use rdv_proto::wire::icbm::{MessageToClient, MessageToHost, tlv};
use rdv_proto::wire::snac::Snac;
use rdv_tests::captures::{self, Layer};
use rdv_tests::fuzz::{self, Target};

/// Mutated inputs per target: a second or so each, without optimisation.
const MUTATIONS: usize = 20_000;

#[test]
fn kept_inputs_hurt_no_target() {
    for (name, target) in fuzz::TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn no_input_for_one_target_hurts_another() {
    let inputs: Vec<_> = fuzz::TARGETS
        .iter()
        .flat_map(|(name, _)| corpus(name))
        .collect();
    for (_, target) in fuzz::TARGETS {
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn mutations_of_flap_streams_hurt_nobody() {
    mutate("decode_flap", fuzz::decode_flap, 1);
}

#[test]
fn mutations_of_snacs_hurt_nobody() {
    mutate("decode_snac", fuzz::decode_snac, 2);
}

#[test]
fn mutations_of_tlvs_hurt_nobody() {
    mutate("decode_tlv", fuzz::decode_tlv, 3);
}

#[test]
fn mutations_of_account_administration_hurt_nobody() {
    mutate("decode_admin", fuzz::decode_admin, 35);
}

#[test]
fn mutations_of_an_admin_session_hurt_no_host() {
    mutate("admin_session", fuzz::admin_session, 36);
}

#[test]
fn mutations_of_rendezvous_messages_hurt_nobody() {
    mutate("decode_rendezvous", fuzz::decode_rendezvous, 4);
}

#[test]
fn mutations_of_signals_hurt_nobody() {
    mutate("decode_signal", fuzz::decode_signal, 5);
}

#[test]
fn mutations_of_security_blocks_hurt_nobody() {
    mutate("decode_security", fuzz::decode_security, 6);
}

#[test]
fn mutations_of_relay_frames_hurt_nobody() {
    mutate("decode_ars", fuzz::decode_ars, 7);
}

#[test]
fn mutations_of_stun_messages_hurt_nobody() {
    mutate("decode_stun", fuzz::decode_stun, 29);
}

#[test]
fn mutations_of_link_frames_hurt_nobody() {
    mutate("decode_link", fuzz::decode_link, 8);
}

#[test]
fn mutations_of_oft_headers_and_listings_hurt_nobody() {
    mutate("decode_oft", fuzz::decode_oft, 23);
}

#[test]
fn mutations_of_a_senders_oft_headers_hurt_no_receiver() {
    mutate("oft_receive", fuzz::oft_receive, 24);
}

#[test]
fn mutations_of_a_receivers_oft_headers_hurt_no_sender() {
    mutate("oft_send", fuzz::oft_send, 25);
}

#[test]
fn mutations_of_direct_im_headers_hurt_nobody() {
    mutate("decode_odc", fuzz::decode_odc, 31);
}

#[test]
fn mutations_of_direct_im_payloads_hurt_nobody() {
    mutate("decode_odc_payload", fuzz::decode_odc_payload, 32);
}

#[test]
fn mutations_of_a_direct_im_hurt_no_machine() {
    mutate("direct_im", fuzz::direct_im, 33);
}

#[test]
fn mutations_of_frames_on_lanes_hurt_no_link() {
    mutate("link_machine", fuzz::link_machine, 34);
}

#[test]
fn mutations_of_a_senders_frames_hurt_no_receiver() {
    mutate("bulk_receive", fuzz::bulk_receive, 21);
}

#[test]
fn mutations_of_a_receivers_frames_hurt_no_sender() {
    mutate("bulk_send", fuzz::bulk_send, 22);
}

#[test]
fn mutations_of_a_session_hurt_no_host() {
    mutate("host_session", fuzz::host_session, 9);
}

#[test]
fn mutations_of_what_clients_do_hurt_no_relay() {
    mutate("relay_pairing", fuzz::relay_pairing, 10);
}

#[test]
fn mutations_of_what_happens_hurt_no_endpoint() {
    mutate("rendezvous_endpoint", fuzz::rendezvous_endpoint, 11);
}

fn mutate(name: &str, target: Target, seed: u64) {
    let seeds: Vec<Bytes> = corpus(name)
        .into_iter()
        .chain(recorded().remove(name).unwrap_or_default())
        .collect();
    let mut random = Random(seed);
    for _ in 0..MUTATIONS {
        let mut input = seeds[random.below(seeds.len())].to_vec();
        for _ in 0..=random.below(4) {
            change(&mut input, &seeds, &mut random);
        }
        target(&input);
    }
}

/// One change of the kinds that break decoders: lengths and counts that lie, cut-off ends, repetitions, foreign parts.
fn change(input: &mut Vec<u8>, seeds: &[Bytes], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let some_byte = [0, 1, 0x7F, 0x80, 0xFF, random.byte()][random.below(6)];
    match (random.below(6), input.get_mut(at)) {
        (0, Some(byte)) => *byte ^= 1 << random.below(8),
        (1, Some(byte)) => *byte = some_byte,
        (2, _) => input.truncate(at),
        (3, _) => input.insert(at, some_byte),
        (4, _) => {
            let end = input.len().min(at + random.below(40));
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
    }
}

/// The kept inputs of a target.
fn corpus(name: &str) -> Vec<Bytes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| fs::read(file).expect("a kept input").into())
        .collect()
}

/// Recorded frames by the target that they are for: at most three of each kind and direction.
fn recorded() -> BTreeMap<&'static str, Vec<Bytes>> {
    let mut seeds: BTreeMap<_, BTreeSet<Bytes>> = BTreeMap::new();
    let mut kinds: BTreeMap<Bytes, usize> = BTreeMap::new();
    for record in captures::all() {
        let Some(bytes) = record.bytes else { continue };
        let of_kind = kinds.entry(
            bytes
                .slice(..bytes.len().min(2))
                .into_iter()
                .chain(bytes.iter().copied().skip(6).take(4))
                .collect(),
        );
        let of_kind = of_kind.or_default();
        *of_kind += 1;
        if *of_kind > 3 {
            continue;
        }
        match record.layer {
            Layer::Ars => drop(seeds.entry("decode_ars").or_default().insert(bytes)),
            Layer::Flap => {
                if let Ok(snac) = Snac::decode(bytes.slice(6..)) {
                    let tlvs = MessageToHost::decode(&snac.body).map(|message| message.tlvs);
                    let tlvs = tlvs.or_else(|_| {
                        MessageToClient::decode(&snac.body).map(|message| message.tlvs)
                    });
                    let block = tlvs
                        .ok()
                        .and_then(|tlvs| tlvs.first(tlv::RENDEZVOUS).cloned());
                    seeds.entry("decode_rendezvous").or_default().extend(block);
                    seeds
                        .entry("decode_snac")
                        .or_default()
                        .insert(bytes.slice(6..));
                }
                seeds.entry("decode_flap").or_default().insert(bytes);
            }
            Layer::Oft => drop(seeds.entry("decode_oft").or_default().insert(bytes)),
        }
    }
    seeds
        .into_iter()
        .map(|(name, seeds)| (name, seeds.into_iter().collect()))
        .collect()
}

/// SplitMix64: the same inputs on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
