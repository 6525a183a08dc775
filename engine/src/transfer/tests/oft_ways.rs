//! OFT2 transfers that end well, between two of ours and with old clients.

use super::old::*;
use super::*;

fn arrived_whole(desk: &Desk, names: &[&str]) {
    for name in names {
        let file = Path::new(name).file_name().unwrap();
        assert_eq!(
            fs::read(desk.out().join(file)).unwrap(),
            fs::read(desk.input(name)).unwrap(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_file_of_any_size_arrives() {
    for len in [1, 2, 3, 255, 65_537, 1 << 20, (1 << 20) + 1, 3_000_001] {
        let desk = Desk::new();
        desk.write("a.bin", noise(len, 1));
        let ended = exchange(desk.source(&["a.bin"]), false, desk.sink()).await;
        let [(Ok(sent), Ok(received))] = &ended[..] else {
            panic!("{len}: {ended:?}")
        };
        assert_eq!((sent.files, sent.bytes), (1, len as u64));
        assert_eq!((received.files, received.bytes), (1, len as u64));
        assert_eq!(received.saved, [desk.out().join("a.bin")]);
        arrived_whole(&desk, &["a.bin"]);
        assert_eq!(desk.arrived(), ["a.bin"]);
    }
}
