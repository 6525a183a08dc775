//! What was asked and answered, for the report.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

use super::super::Found;
use super::super::stun::Standing;
use super::Gatherer;
use crate::transport::network::{GatherLine, GatherResult, GatherSource};

impl Gatherer {
    /// Keeps the report up with what is known.
    pub(super) fn enter(&self, found: &Found) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.host_addresses();
        let own = own.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        report.put(
            GatherLine::waiting(GatherSource::Interfaces, None)
                .ended(GatherResult::Found(own), Duration::ZERO),
        );
        for family in &self.udp {
            for (server, took, standing) in family.questions.standings() {
                let line = GatherLine::waiting(GatherSource::StunUdp, Some(server));
                report.put(match standing {
                    Standing::Waiting => line,
                    Standing::Answered(mapped) => {
                        line.ended(GatherResult::Found(vec![mapped]), took)
                    }
                    Standing::Silent => {
                        line.ended(GatherResult::Failed("no answer".to_owned()), took)
                    }
                    Standing::Refused => {
                        line.ended(GatherResult::Failed("refused".to_owned()), took)
                    }
                });
            }
        }
        for line in &self.mapped.lines {
            report.put(line.clone());
        }
        report.candidates.clone_from(&found.candidates);
        report.network = found.network;
        report.complete = found.complete;
    }

    pub(super) fn put(&self, line: GatherLine) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.put(line);
    }
}
