//! In the place of UPnP in builds without the feature `upnp`: it is never found.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::{Wanted, lease};

/// There is none.
#[derive(Debug)]
pub(super) struct Device(Infallible);

/// # Errors
/// Always.
pub(super) async fn search(_own: Ipv4Addr, _gateway: Option<Ipv4Addr>) -> Result<Device, String> {
    Err("built without UPnP".to_owned())
}

impl Device {
    pub(super) async fn map(&self, _: &Wanted, _: Duration) -> Result<lease::Lease, String> {
        match self.0 {}
    }
}

/// There is none.
#[derive(Debug)]
pub(super) struct Lease(Infallible);

impl Lease {
    pub(super) fn udp(&self) -> Option<SocketAddrV4> {
        match self.0 {}
    }

    pub(super) fn tcp(&self) -> Option<SocketAddrV4> {
        match self.0 {}
    }

    pub(super) fn time_left(&self) -> Duration {
        match self.0 {}
    }

    pub(super) async fn renew(&mut self, _: Duration) -> Result<(), String> {
        match self.0 {}
    }

    pub(super) async fn release(self) {
        match self.0 {}
    }
}
