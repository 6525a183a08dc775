//! `rdv receive --listen`: stays signed on and takes what users of the host send, several at a time.

mod ends;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdv::oscar::Standing;
use rdv::signaling::Signaling;
use rdv::transfer::Phase;
use rdv::{
    Engine, Offer, Proposal, ProposalKind, Refused, RefusedWhy, ScreenName, Security, Services,
    Sink, SinkOptions, TransferEvent, show,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::ends::Taken;
use crate::args;
use crate::exit::{self, Exit, Failure};
use crate::incoming::{self, News, Order, What};
use crate::keyboard::Keyboard;
use crate::record::Way;
use crate::sharing;
use crate::signed_on::{PlainFor, User};
use crate::stop::{self, Stop};
use crate::ui::{self, NAMES_SHOWN, PLAIN, Ui};
use crate::welcome::{Verdict, Welcome};

/// How long a person may think about a question (security rules, section 6.4).
const QUESTION: Duration = rdv::transfer::QUESTION;
/// Transfers at a time; further ones are declined.
const TRANSFERS_MAX: usize = 16;
/// News of transfers that wait; they wait for room.
const NEWS: usize = 64;
/// How long the others get to hear that it is over.
const FAREWELL: Duration = Duration::from_millis(1500);
/// How long offers are declined after enough was received: a peer that sends file after file begins the next one at once.
const LATE: Duration = Duration::from_millis(300);
/// Longest name in a sentence.
const NAME_SHOWN_MAX: usize = 64;
/// Longest invitation that is shown (security rules, section 6.1).
const INVITATION_SHOWN_MAX: usize = 256;

pub(crate) async fn run(
    args: args::Receive,
    ui: &mut Ui,
    stop: &mut Stop,
) -> Result<Exit, Failure> {
    stop.limit(args.road.timeout);
    let services = Services {
        native: !args.user.no_native,
        send_file: true,
        get_file: args.sharing.share.is_some(),
        ..Services::NONE
    };
    let options = SinkOptions {
        if_exists: args.if_exists.into(),
        keep_exec: args.keep_exec,
    };
    // What is wrong with the folder is said before anybody sends.
    Sink::folder(&args.output, options).map_err(|error| unusable(&error))?;
    let share = sharing::open(&args.sharing)?;
    let user = stop
        .or(User::open(&args.user, &args.road, services, ui))
        .await?;
    let welcome = welcome(&args, &user, ui)?;
    let mut plain = PlainFor::contacts(user.kept())?;
    if args.user.allow_plain {
        // For those named, or for this host's users: never for all hosts (security rules, section 4).
        plain.everybody = args.from.is_empty();
        plain.names.extend(args.from.iter().cloned());
    }
    let engine = user.engine(&args.road, services, plain, share).await?;
    sharing::announce(&args.sharing, ui);
    let (news_out, news) = mpsc::channel(NEWS);
    let mut listener = Listener {
        ui,
        welcome,
        args: &args,
        options,
        news_out,
        active: BTreeMap::new(),
        questions: VecDeque::new(),
        asked: None,
        keyboard: Keyboard::default(),
        next_id: 1,
        taken: Taken::default(),
    };
    let ended = listener.listen(&user, &engine, news, stop).await;
    let taken = std::mem::take(&mut listener.taken);
    if ended.is_ok() {
        // Who offers at this very moment would wait for an answer in vain.
        let late = async {
            while let Some(proposal) = engine.next_proposal().await {
                listener.declined(&proposal.peer().clone(), "enough was received");
                proposal.decline();
            }
        };
        let _ = tokio::time::timeout(LATE, late).await;
    }
    stop.leave(async {
        engine.close().await;
        user.close().await;
    })
    .await;
    ended?;
    ui.event(&taken.result());
    Ok(Exit::DONE)
}

fn welcome(args: &args::Receive, user: &User, ui: &Ui) -> Result<Welcome, Failure> {
    let contacts = crate::kept::contacts(user.kept())?;
    let welcome = Welcome {
        from: args.from.iter().cloned().collect(),
        contacts: contacts.into_iter().map(|contact| contact.name).collect(),
        yes: args.yes,
        can_ask: ui::can_ask(),
    };
    if welcome.yes_to_nobody() {
        return Err(Failure::new(
            Exit::USAGE,
            "--yes takes from people that you name: add --from NAME, or contacts (rdv contact add NAME)",
        ));
    }
    if !welcome.yes && !welcome.can_ask {
        ui.must_say(
            "Note: standard input is not a terminal, so nobody can be asked and everything is declined; --yes with --from NAME takes what they send.",
        );
    }
    Ok(welcome)
}

/// A transfer under way.
struct Active {
    peer: ScreenName,
    kind: &'static str,
    orders: mpsc::Sender<Order>,
    way: Option<Way>,
    security: Option<Security>,
}

impl Active {
    /// An event that tells of the way.
    fn event(&self, id: u64, event: &str, way: &Way, at_ms: Option<u64>) -> Value {
        let mut event = ui::way_event(event, way, at_ms);
        event["transfer"] = json!(id);
        event["peer"] = json!(self.peer.as_str());
        event
    }
}

/// What a person is asked.
enum Question {
    /// Somebody whom they do not know wants to send with a client of our kind: connect to hear what?
    Connect(Proposal),
    /// An old client offers files.
    Files(Proposal),
    /// What a client of our kind offers.
    Take(u64),
}

struct Listener<'a> {
    ui: &'a mut Ui,
    welcome: Welcome,
    args: &'a args::Receive,
    options: SinkOptions,
    news_out: mpsc::Sender<News>,
    active: BTreeMap<u64, Active>,
    questions: VecDeque<(Vec<String>, Question)>,
    /// The open question, and until when it may be answered.
    asked: Option<(Question, Instant)>,
    keyboard: Keyboard,
    next_id: u64,
    taken: Taken,
}

impl Listener<'_> {
    /// Until enough came, somebody stops it, or the account is gone.
    async fn listen(
        &mut self,
        user: &User,
        engine: &Engine,
        mut news: mpsc::Receiver<News>,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        let mut standing = user.account().standing();
        self.listening(user);
        loop {
            if self
                .args
                .count
                .is_some_and(|count| self.taken.transfers >= count)
                && self.active.is_empty()
            {
                return Ok(());
            }
            let until = self.asked.as_ref().map(|(_, until)| *until);
            tokio::select! {
                biased;
                exit = stop.asked() => {
                    self.farewell(&mut news, stop).await;
                    return Err(Failure::new(exit, stop::why(exit)));
                }
                Some(told) = news.recv() => self.heard(told).await,
                changed = standing.changed() => {
                    // An error means the same as being gone.
                    let now = changed.map_or(Standing::Gone, |()| *standing.borrow_and_update());
                    match now {
                        Standing::SignedOn => self.listening(user),
                        Standing::ComingBack => {
                            self.ui.event(&json!({ "event": "offline" }));
                            self.ui.say("The connection to the host is lost; signing on again ...");
                        }
                        _ => return Err(user.why_gone()),
                    }
                }
                why = withdrawn(&mut self.asked), if until.is_some() => self.withdrawn(&why),
                line = self.keyboard.line(), if until.is_some() => self.answered(line).await,
                () = at(until), if until.is_some() => {
                    self.ui.say("Nobody answered; declined.");
                    self.answered(None).await;
                }
                Some(refused) = engine.next_refused() => self.refused(&refused),
                Some(served) = engine.next_served() => sharing::served(&served, self.ui),
                proposal = engine.next_proposal() => match proposal {
                    Some(proposal) => self.proposed(proposal),
                    None => return Err(user.why_gone()),
                },
            }
            self.ask_next();
        }
    }

    fn listening(&self, user: &User) {
        let name = user.account().local_name();
        let host = &user.kept().host;
        self.ui
            .event(&json!({ "event": "listening", "name": name.as_str(), "host": host }));
        let name = show(name.as_str(), NAME_SHOWN_MAX);
        self.ui.say(format!(
            "Signed on as {name} at {host}; waiting for files (Ctrl-C ends it)."
        ));
    }

    /// Refused by a rule before anybody could be asked.
    fn refused(&self, refused: &Refused) {
        let who = show(refused.peer.as_str(), NAME_SHOWN_MAX);
        let (exit, reason) = match refused.why {
            RefusedWhy::Plain => (
                Exit::SECURITY,
                "it would be neither encrypted nor verified; --allow-plain, or rdv contact add NAME --allow-plain, allows that",
            ),
            RefusedWhy::Service => (Exit::INCOMPATIBLE, "not a transfer of files"),
            _ => (Exit::OTHER, "malformed, or too many at a time"),
        };
        self.ui
            .must_say(format!("Refused what {who} offered: {reason}."));
        self.tell_refusal(&refused.peer, exit, reason);
    }

    fn declined(&self, peer: &ScreenName, reason: &str) {
        let who = show(peer.as_str(), NAME_SHOWN_MAX);
        self.ui
            .must_say(format!("Declined what {who} offered: {reason}."));
        self.tell_refusal(peer, Exit::DECLINED, reason);
    }

    fn tell_refusal(&self, peer: &ScreenName, exit: Exit, reason: &str) {
        self.ui.event(&json!({
            "event": "refused", "peer": peer.as_str(), "exit": exit.0, "reason": reason,
        }));
    }

    fn proposed(&mut self, proposal: Proposal) {
        let peer = proposal.peer().clone();
        let who = show(peer.as_str(), NAME_SHOWN_MAX);
        if self.active.len() + self.questions.len() >= TRANSFERS_MAX {
            proposal.decline();
            return self.declined(&peer, "too many at a time");
        }
        let (verdict, question): (_, fn(Proposal) -> Question) = match proposal.kind() {
            ProposalKind::Native { .. } => (self.welcome.to_connect(&peer), Question::Connect),
            ProposalKind::SendFile(_) => (self.welcome.to_take(&peer), Question::Files),
            _ => {
                proposal.decline();
                return self.declined(&peer, "not a transfer of files");
            }
        };
        let lines = match proposal.kind() {
            ProposalKind::SendFile(offer) => {
                self.ui.event(&json!({
                    "event": "offer", "peer": peer.as_str(), "service": "send_file", "name": offer.name,
                    "names": [&offer.name], "files": offer.files, "folders": u32::from(offer.folder), "bytes": offer.bytes,
                    "text": false, "security": if offer.secure { "encrypted" } else { "plain" },
                }));
                let known = if offer.secure {
                    "encrypted, NOT VERIFIED"
                } else {
                    PLAIN
                };
                let count = ui::files(offer.files.into());
                let mut lines = vec![
                    format!("{who} offers ({known}): {count}:"),
                    ui::shown_name(&offer.name, offer.folder, offer.bytes, offer.mark),
                ];
                if let Some(invitation) = &offer.invitation {
                    lines.push(format!(
                        "  says: {}",
                        show(invitation, INVITATION_SHOWN_MAX)
                    ));
                }
                lines
            }
            _ => vec![format!(
                "{who} (NOT VERIFIED, not among your contacts) wants to send you something. Connecting tells them your address."
            )],
        };
        match verdict {
            Verdict::Take => {
                if matches!(proposal.kind(), ProposalKind::SendFile(_)) {
                    lines.iter().for_each(|line| self.ui.say(line));
                }
                self.accept(proposal);
            }
            Verdict::Ask => self.questions.push_back((lines, question(proposal))),
            Verdict::Decline(reason) => {
                proposal.decline();
                self.declined(&peer, reason);
            }
        }
    }

    /// Begins a transfer.
    fn accept(&mut self, proposal: Proposal) {
        let peer = proposal.peer().clone();
        let kind = match proposal.kind() {
            ProposalKind::Native { .. } => "native",
            _ => "send_file",
        };
        let sink = match Sink::folder(&self.args.output, self.options) {
            Ok(sink) => sink,
            Err(error) => {
                proposal.decline();
                return self.declined(&peer, &unusable(&error).sentence);
            }
        };
        let id = self.next_id;
        self.next_id += 1;
        let orders = incoming::start(id, proposal, sink, self.news_out.clone());
        let active = Active {
            peer,
            kind,
            orders,
            way: None,
            security: None,
        };
        self.active.insert(id, active);
    }

    async fn heard(&mut self, News { id, what }: News) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        let who = show(active.peer.as_str(), NAME_SHOWN_MAX);
        match what {
            What::Event(TransferEvent::Connected { path, security }, at_ms) => {
                let way = Way::from(&path);
                let mut event = active.event(id, "connected", &way, at_ms);
                event["security"] = json!(security.word());
                self.ui.event(&event);
                match security {
                    Security::Verified { .. } => self
                        .ui
                        .say(format!("Connected to {who} ({way}, encrypted, verified).")),
                    Security::Unverified { .. } | Security::Encrypted { .. } => self.ui.say(
                        format!("Connected to {who} ({way}, encrypted, NOT VERIFIED)."),
                    ),
                    Security::Plain => self
                        .ui
                        .must_say(format!("Connected to {who} ({way}): {PLAIN}")),
                }
                (active.way, active.security) = (Some(way), Some(security));
            }
            What::Event(TransferEvent::PathChanged { path }, at_ms) => {
                let way = Way::from(&path);
                self.ui.event(&active.event(id, "path", &way, at_ms));
                self.ui.say(format!("With {who}: now {way}."));
                active.way = Some(way);
            }
            What::Event(TransferEvent::Offered(offer), _) => self.offered(id, &offer).await,
            What::Event(..) => {}
            What::Progress(progress) => {
                if matches!(progress.phase, Phase::Moving | Phase::Finishing) {
                    self.ui.event(&json!({
                        "event": "progress", "transfer": id, "peer": active.peer.as_str(),
                        "bytes": progress.bytes, "total": progress.total_bytes,
                        "files": progress.files, "total_files": progress.total_files,
                    }));
                }
            }
            What::Ended(outcome, report) => {
                if let Some(active) = self.active.remove(&id) {
                    self.ended(id, &active, outcome, report.as_deref());
                }
                if matches!(&self.asked, Some((Question::Take(asked), _)) if *asked == id) {
                    self.asked = None;
                }
                self.questions.retain(
                    |(_, question)| !matches!(question, Question::Take(asked) if *asked == id),
                );
            }
        }
    }

    /// What a client of our kind offers; only now is it known.
    async fn offered(&mut self, id: u64, offer: &Offer) {
        let Some(active) = self.active.get(&id) else {
            return;
        };
        let peer = active.peer.clone();
        let (known, word) = match active.security {
            Some(Security::Verified { .. }) => ("verified", "verified"),
            Some(Security::Unverified { .. }) | None => ("NOT VERIFIED", "unverified"),
            Some(Security::Encrypted { .. }) => ("encrypted, NOT VERIFIED", "encrypted"),
            Some(Security::Plain) => (PLAIN, "plain"),
        };
        let names: Vec<&str> = offer.names.iter().map(|name| name.name.as_str()).collect();
        self.ui.event(&json!({
            "event": "offer", "transfer": id, "peer": peer.as_str(), "service": active.kind,
            "name": names.first(), "names": names.iter().take(NAMES_SHOWN).collect::<Vec<_>>(),
            "files": offer.files, "folders": offer.folders, "bytes": offer.total_bytes,
            "text": offer.text, "security": word,
        }));
        let who = show(peer.as_str(), NAME_SHOWN_MAX);
        let lines = ui::offer_lines(&format!("{who} offers ({known})"), offer);
        match self.welcome.to_take(&peer) {
            Verdict::Take => {
                lines.iter().for_each(|line| self.ui.say(line));
                self.order(id, Order::Accept).await;
            }
            Verdict::Ask => self.questions.push_back((lines, Question::Take(id))),
            Verdict::Decline(reason) => {
                self.order(id, Order::Decline).await;
                self.declined(&peer, reason);
            }
        }
    }

    async fn order(&self, id: u64, order: Order) {
        if let Some(active) = self.active.get(&id) {
            // One that has ended tells so by itself.
            let _ = active.orders.send(order).await;
        }
    }

    fn ask_next(&mut self) {
        if self.asked.is_some() {
            return;
        }
        let Some((lines, question)) = self.questions.pop_front() else {
            return;
        };
        self.keyboard.begin();
        lines.iter().for_each(|line| self.ui.must_say(line));
        self.ui.must_say(match question {
            Question::Connect(_) => "Connect? [y/N]",
            Question::Files(_) | Question::Take(_) => "Accept? [y/N]",
        });
        self.asked = Some((question, Instant::now() + QUESTION));
    }

    /// `line`: what was typed; none: nobody answers any more.
    async fn answered(&mut self, line: Option<String>) {
        if line.is_none() {
            self.welcome.can_ask = false;
        }
        let Some((question, _)) = self.asked.take() else {
            return;
        };
        let line = line.unwrap_or_default();
        let yes = matches!(line.trim().to_lowercase().as_str(), "y" | "yes");
        match (question, yes) {
            (Question::Connect(proposal) | Question::Files(proposal), true) => {
                self.accept(proposal);
            }
            (Question::Connect(proposal) | Question::Files(proposal), false) => {
                let peer = proposal.peer().clone();
                proposal.decline();
                self.tell_refusal(&peer, Exit::DECLINED, "declined");
            }
            (Question::Take(id), true) => self.order(id, Order::Accept).await,
            (Question::Take(id), false) => self.order(id, Order::Decline).await,
        }
    }

    /// The open question is of no use any more.
    fn withdrawn(&mut self, why: &rdv::Error) {
        if let Some((Question::Connect(proposal) | Question::Files(proposal), _)) =
            self.asked.take()
        {
            let peer = proposal.peer().clone();
            let failure = exit::with_peer(why, &peer);
            self.ui
                .must_say(format!("No answer is needed: {}.", failure.sentence));
            self.tell_refusal(&peer, failure.exit, &failure.sentence);
        }
    }

    /// Calls off what is under way, and waits until that is said. A second signal ends the process at once.
    async fn farewell(&mut self, news: &mut mpsc::Receiver<News>, stop: &mut Stop) {
        self.asked = None;
        self.questions.clear();
        for active in self.active.values() {
            let _ = active.orders.try_send(Order::Cancel);
        }
        let until = Instant::now() + FAREWELL;
        while !self.active.is_empty() {
            tokio::select! {
                told = news.recv() => match told {
                    Some(told) => self.heard(told).await,
                    None => return,
                },
                () = sleep_until(until) => return,
                exit = stop.asked() => std::process::exit(exit.0),
            }
        }
    }
}

/// Until the proposal that is asked about is gone.
async fn withdrawn(asked: &mut Option<(Question, Instant)>) -> rdv::Error {
    match asked {
        Some((Question::Connect(proposal) | Question::Files(proposal), _)) => proposal.gone().await,
        _ => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn unusable(error: &rdv::TransferError) -> Failure {
    Failure::new(Exit::FILES, error.to_string())
}
