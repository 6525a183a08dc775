//! `rdv doctor`.

use crate::args;
use crate::exit::{Exit, Failure};
use crate::stop::Stop;
use crate::ui::Ui;

pub(crate) async fn run(args: args::Doctor, ui: &Ui, stop: &mut Stop) -> Result<Exit, Failure> {
    let _ = (args, stop);
    ui.succeeded();
    Ok(Exit::DONE)
}
