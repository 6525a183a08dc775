//! `rdv shared`: what somebody shares with us, listed or fetched.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use indicatif::HumanBytes;
use rdv::{
    Engine, Error, ScreenName, Security, Services, SharedEntry, SharedFiles, Sink, SinkOptions,
    Summary, show,
};
use serde_json::{Value, json};

use crate::args;
use crate::exit::{self, Exit, Failure};
use crate::follow::{Consent, follow};
use crate::record::{Record, Way};
use crate::signed_on::{PlainFor, User};
use crate::stop::Stop;
use crate::ui::Ui;

/// Longest name in a sentence.
const NAME_SHOWN_MAX: usize = 64;
/// Longest path on a line.
const PATH_SHOWN_MAX: usize = 400;

pub(crate) async fn run(args: args::Shared, ui: &mut Ui, stop: &mut Stop) -> Result<Exit, Failure> {
    stop.limit(args.road.timeout);
    let fetches = args.paths.iter().any(|path| !is_folder(path));
    let options = SinkOptions {
        if_exists: args.if_exists.into(),
        ..SinkOptions::default()
    };
    if fetches {
        // What is wrong with the folder is said before anybody is asked.
        sink(&args, options)?;
    }
    // Whoever listens for this account hears what is proposed to it; this session only fetches.
    let services = Services::NONE;
    let user = stop
        .or(User::open(&args.user, &args.road, services, ui))
        .await?;
    let mut plain = PlainFor::contacts(user.kept())?;
    if args.user.allow_plain {
        plain.names.insert(args.name.clone());
    }
    let engine = user.engine(&args.road, services, plain, None).await?;
    let mut visit = Visit {
        engine: &engine,
        peer: &args.name,
        ui,
        stop,
        way: None,
        record: None,
        all: Summary::default(),
    };
    let asked = match args.paths.is_empty() {
        true => visit.list("").await,
        false => visit.each(&args, options).await,
    };
    let (way, record, all) = (visit.way, visit.record, visit.all);
    stop.leave(async {
        engine.close().await;
        user.close().await;
    })
    .await;
    match asked {
        Ok(()) => {
            let mut result = json!({
                "event": "result", "ok": true, "exit": 0, "reason": null,
                "security": way.as_ref().map(|(_, security)| security.word()),
                "files": all.files, "bytes": all.bytes,
                "saved": all.saved.iter().map(|saved| saved.to_string_lossy()).collect::<Vec<_>>(),
            });
            for (key, value) in Way::fields(way.as_ref().map(|(way, _)| way)) {
                result[key] = value;
            }
            ui.event(&result);
            Ok(Exit::DONE)
        }
        Err(failure) => Ok(ui.failed(&failure, record.as_ref())),
    }
}

/// One connection after the other: each ends with its file.
struct Visit<'a> {
    engine: &'a Engine,
    peer: &'a ScreenName,
    ui: &'a mut Ui,
    stop: &'a mut Stop,
    /// Of the last connection.
    way: Option<(Way, Security)>,
    /// Of the last file.
    record: Option<Record>,
    /// All that was fetched.
    all: Summary,
}

impl Visit<'_> {
    async fn each(&mut self, args: &args::Shared, options: SinkOptions) -> Result<(), Failure> {
        for path in &args.paths {
            match is_folder(path) {
                true => self.list(path).await?,
                false => self.fetch(path, sink(args, options)?).await?,
            }
        }
        Ok(())
    }

    /// Prints what is in a folder.
    async fn list(&mut self, folder: &str) -> Result<(), Failure> {
        let mut files = self.connect().await?;
        self.walk(&mut files, parts(folder)).await?;
        let below: String = parts(folder).map(|part| format!("{part}/")).collect();
        for entry in files.entries() {
            let name = format!("{below}{}", entry.name());
            self.ui.event(&json!({
                "event": "shared", "peer": self.peer.as_str(), "name": name, "folder": entry.folder,
                "bytes": entry.size, "mtime": entry.mtime,
            }));
            if !self.ui.json {
                self.print(&line(&name, entry))?;
            }
        }
        if files.entries().is_empty() {
            self.ui.say("There is nothing in it.");
        }
        Ok(())
    }

    async fn fetch(&mut self, path: &str, sink: Sink) -> Result<(), Failure> {
        let mut files = self.connect().await?;
        let mut parts: Vec<&str> = parts(path).collect();
        let name = parts.pop().unwrap_or_default();
        self.walk(&mut files, parts.into_iter()).await?;
        let found = files.entries().iter().find(|entry| entry.name() == name);
        let entry = match found.cloned() {
            Some(entry) if entry.folder => {
                let shown = show(&format!("{path}/"), PATH_SHOWN_MAX);
                let sentence = format!("it is a folder; to see what is in it, say {shown}");
                return Err(Failure::new(Exit::USAGE, sentence));
            }
            Some(entry) => entry,
            None => return Err(self.not_there(path)),
        };
        let shown = show(path, PATH_SHOWN_MAX);
        let size = HumanBytes(entry.size.into());
        self.ui.say(format!("Fetching {shown}, {size} ..."));
        let peer = self.peer;
        let judge = |error: &Error| exit::with_peer(error, peer);
        let transfer = files.fetch(&entry, sink).await;
        let transfer = transfer.map_err(|error| judge(&error))?;
        let followed = follow(transfer, self.ui, Consent::Given, self.stop, &judge).await;
        self.ui.clear();
        let (outcome, mut record) = followed.end("receive");
        let security = self.way.as_ref().map(|(_, security)| security.word());
        if let Some((way, _)) = &self.way {
            record.went(way);
        }
        let record = self.record.insert(record);
        let summary = outcome?;
        let mut told = self
            .ui
            .summary("Fetched", false, &summary, &record.path_words());
        let more = [
            ("event", json!("transfer")),
            ("peer", json!(self.peer.as_str())),
            ("service", json!("get_file")),
            ("name", json!(path)),
            ("ok", json!(true)),
            ("exit", json!(0)),
            ("reason", Value::Null),
            ("security", json!(security)),
        ];
        for (key, value) in more.into_iter().chain(record.fields()) {
            told[key] = value;
        }
        self.ui.event(&told);
        self.all.files += summary.files;
        self.all.bytes += summary.bytes;
        self.all.saved.extend(summary.saved);
        Ok(())
    }

    async fn connect(&mut self) -> Result<SharedFiles, Failure> {
        let (engine, peer) = (self.engine, self.peer);
        let asked = self.stop.or(async {
            let files = engine.get_files(peer.clone()).await;
            files.map_err(|error| judge(&error, peer))
        });
        let files = asked.await?;
        self.ui.connected(files.path(), files.security(), None);
        self.way = Some((Way::from(files.path()), files.security()));
        Ok(files)
    }

    /// Goes down to a folder.
    async fn walk<'p>(
        &mut self,
        files: &mut SharedFiles,
        parts: impl Iterator<Item = &'p str>,
    ) -> Result<(), Failure> {
        for part in parts {
            let mut entries = files.entries().iter();
            let next = entries.find(|entry| entry.folder && entry.name() == part);
            let Some(next) = next.cloned() else {
                return Err(self.not_there(part));
            };
            let peer = self.peer;
            let listed = self.stop.or(async {
                let listed = files.list(Some(&next)).await;
                listed.map(|_| ()).map_err(|error| judge(&error, peer))
            });
            listed.await?;
        }
        Ok(())
    }

    fn not_there(&self, path: &str) -> Failure {
        let who = show(self.peer.as_str(), NAME_SHOWN_MAX);
        let path = show(path, PATH_SHOWN_MAX);
        Failure::new(Exit::OTHER, format!("{who} shares no {path} with you"))
    }

    fn print(&self, line: &str) -> Result<(), Failure> {
        match self.ui.payload(line) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
                Exit::FILES,
                format!("cannot write the list: {error}"),
            )),
            _ => Ok(()),
        }
    }
}

/// With whom nothing is shared, and whose client does not know what that is, cannot be told apart.
fn judge(error: &Error, peer: &ScreenName) -> Failure {
    match error {
        Error::Incompatible { .. } => {
            let who = show(peer.as_str(), NAME_SHOWN_MAX);
            Failure::new(Exit::INCOMPATIBLE, format!("{who} shares nothing with you"))
        }
        other => exit::with_peer(other, peer),
    }
}

fn sink(args: &args::Shared, options: SinkOptions) -> Result<Sink, Failure> {
    Sink::folder(&args.output, options)
        .map_err(|error| Failure::new(Exit::FILES, error.to_string()))
}

/// A path that is to be listed, not fetched.
fn is_folder(path: &str) -> bool {
    path.ends_with('/')
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Size, time and name, as a table that programs can split, too.
fn line(name: &str, entry: &SharedEntry) -> String {
    let size = match entry.folder {
        true => "-".to_owned(),
        false => entry.size.to_string(),
    };
    let time = match entry.mtime {
        0 => "-".to_owned(),
        seconds => {
            let time = UNIX_EPOCH + Duration::from_secs(seconds.into());
            humantime::format_rfc3339_seconds(time).to_string()
        }
    };
    let slash = if entry.folder { "/" } else { "" };
    let name = show(&format!("{name}{slash}"), PATH_SHOWN_MAX);
    format!("{size:>10}  {time:<20}  {name}")
}
