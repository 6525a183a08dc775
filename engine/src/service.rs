//! Which services of a rendezvous are spoken here, and which one is chosen for a peer.

use rdv_proto::wire::service;
use uuid::Uuid;

use crate::error::Error;

/// Which incoming proposals are welcome, and so which capabilities are announced. Others are refused with NAK 0x00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four services that are independent of each other"
)]
pub struct Services {
    /// Our own transfers, proposed without a code. Those with a code need no welcome.
    pub native: bool,
    /// Files from old clients (OFT2).
    pub send_file: bool,
    /// Contacts may ask for what is shared (OFT2 with lists). Goes with a [`crate::Share`], and not without.
    pub get_file: bool,
    /// Text, typing and images from machine to machine (ODC2).
    pub direct_im: bool,
}

impl Services {
    /// Nothing is welcome.
    pub const NONE: Self = Self {
        native: false,
        send_file: false,
        get_file: false,
        direct_im: false,
    };
    /// Our own transfers alone.
    pub const NATIVE: Self = Self {
        native: true,
        ..Self::NONE
    };
    /// Files from anybody.
    pub const FILES: Self = Self {
        native: true,
        send_file: true,
        ..Self::NONE
    };

    /// The UUIDs of the services, as a host is told them.
    #[must_use]
    pub fn capabilities(self) -> Vec<Uuid> {
        [
            (self.native, service::NATIVE),
            (self.send_file, service::SEND_FILE),
            (self.get_file, service::GET_FILE),
            (self.direct_im, service::DIRECT_IM),
        ]
        .into_iter()
        .filter_map(|(spoken, service)| spoken.then_some(service))
        .collect()
    }
}

impl Default for Services {
    fn default() -> Self {
        Self::NATIVE
    }
}

/// How files are offered to a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceChoice {
    /// The best that the peer announces: native, else send-file. Where the channel cannot tell: native, and send-file if the
    /// peer turns out not to know that.
    #[default]
    Auto,
    /// Native or nothing.
    Native,
    /// Send-file (OFT2) or nothing.
    SendFile,
}

/// How [`crate::Engine::offer`] goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfferOptions {
    /// Which service carries the files.
    pub service: ServiceChoice,
    /// Send-file: all files over one connection. Not every old client can take that: by default each file has a rendezvous of
    /// its own.
    pub batch: bool,
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    Native,
    /// Native, then send-file if the peer does not know it.
    NativeFirst,
    SendFile,
}

impl ServiceChoice {
    /// Chooses by what is known of the peer's capabilities; `None`: nothing.
    pub(crate) fn choose(self, capabilities: Option<&[Uuid]>) -> Result<Chosen, Error> {
        let Some(capabilities) = capabilities else {
            return Ok(match self {
                Self::Auto => Chosen::NativeFirst,
                Self::Native => Chosen::Native,
                Self::SendFile => Chosen::SendFile,
            });
        };
        let knows = |service| capabilities.contains(&service);
        match self {
            Self::Auto | Self::Native if knows(service::NATIVE) => Ok(Chosen::Native),
            Self::Auto | Self::SendFile if knows(service::SEND_FILE) => Ok(Chosen::SendFile),
            _ => Err(Error::Incompatible {
                what: "the other side takes no files from us".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_service_that_both_know_is_chosen() {
        use ServiceChoice::{Auto, Native, SendFile};
        let both = [service::SEND_FILE, service::NATIVE];
        let old = [service::DIRECT_IM, service::SEND_FILE];
        assert_eq!(Auto.choose(Some(&both)).unwrap(), Chosen::Native);
        assert_eq!(Auto.choose(Some(&old)).unwrap(), Chosen::SendFile);
        assert_eq!(SendFile.choose(Some(&both)).unwrap(), Chosen::SendFile);
        for nothing in [
            Native.choose(Some(&old)),
            Auto.choose(Some(&[])),
            SendFile.choose(Some(&[service::NATIVE])),
        ] {
            assert!(
                matches!(nothing, Err(Error::Incompatible { .. })),
                "{nothing:?}"
            );
        }
        assert_eq!(Auto.choose(None).unwrap(), Chosen::NativeFirst);
    }

    #[test]
    fn capabilities_are_those_of_the_services() {
        assert_eq!(Services::default().capabilities(), [service::NATIVE]);
        let files = [service::NATIVE, service::SEND_FILE];
        assert_eq!(Services::FILES.capabilities(), files);
    }
}
