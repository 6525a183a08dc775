//! A store and a mailer that fail when a test wants it.

use std::sync::{Mutex, OnceLock};

use rdv_host::accounts::{
    AccountId, Accounts, AdminStore, Answer, Checked, CodeHash, Password, PasswordKind, Record,
    StoreError,
};
use rdv_host::mail::{Confirmation, MailError, Mailer, Sending};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::mpsc;

/// What becomes of a record on its way out.
type Edit = Box<dyn Fn(Record) -> Option<Record> + Send>;

/// Accounts that answer as they are told, and otherwise as they are.
#[derive(Default)]
pub(super) struct FaultyStore {
    behind: OnceLock<Accounts>,
    fault: Mutex<Option<Fault>>,
    edit: Mutex<Option<Edit>>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Everything is answered like this.
    All(StoreError),
    /// Changes are.
    Changes(StoreError),
    /// A bug.
    Panic,
}

impl FaultyStore {
    /// Answers for these from now on.
    pub(super) fn stands_before(&self, accounts: Accounts) {
        self.behind.set(accounts).ok();
    }

    /// From now on this goes wrong, or nothing.
    pub(super) fn fails(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    /// From now on records are told like this.
    pub(super) fn tells(&self, edit: impl Fn(Record) -> Option<Record> + Send + 'static) {
        *self.edit.lock().unwrap() = Some(Box::new(edit));
    }

    /// From now on records are told as they are.
    pub(super) fn tells_the_truth(&self) {
        *self.edit.lock().unwrap() = None;
    }

    fn accounts(&self) -> &Accounts {
        self.behind.get().unwrap()
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a Accounts) -> Answer<'a, T>,
    ) -> Answer<'a, T> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::All(error)) => Box::pin(async move { Err(error) }),
            Some(Fault::Panic) => Box::pin(async { panic!("a bug, on purpose") }),
            Some(Fault::Changes(_)) | None => ask(self.accounts()),
        }
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a Accounts) -> Answer<'a, T>,
    ) -> Answer<'a, T> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::Changes(error)) => Box::pin(async move { Err(error) }),
            _ => self.read(ask),
        }
    }
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl AdminStore for FaultyStore {
    fn record(&self, id: AccountId) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let record = self.read(|accounts| accounts.record(id)).await?;
            let edit = self.edit.lock().unwrap();
            Ok(match edit.as_ref() {
                Some(edit) => record.and_then(edit),
                None => record,
            })
        })
    }

    fn set_format(&self, id: AccountId, name: ScreenName) -> Answer<'_, ()> {
        self.write(|accounts| accounts.set_format(id, name))
    }

    fn set_email_pending(
        &self,
        id: AccountId,
        email: String,
        code: CodeHash,
        expires_unix_s: u64,
    ) -> Answer<'_, bool> {
        self.write(|accounts| accounts.set_email_pending(id, email, code, expires_unix_s))
    }

    fn set_email(&self, id: AccountId, email: String) -> Answer<'_, ()> {
        self.write(|accounts| accounts.set_email(id, email))
    }

    fn set_registration(&self, id: AccountId, registration: u8) -> Answer<'_, ()> {
        self.write(|accounts| accounts.set_registration(id, registration))
    }

    fn check_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: Password,
    ) -> Answer<'_, Checked> {
        self.read(|accounts| AdminStore::check_password(accounts, id, kind, password))
    }

    fn set_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: Password,
    ) -> Answer<'_, ()> {
        self.write(|accounts| accounts.set_password(id, kind, password))
    }

    fn start_confirm(
        &self,
        id: AccountId,
        code: CodeHash,
        expires_unix_s: u64,
    ) -> Answer<'_, bool> {
        self.write(|accounts| accounts.start_confirm(id, code, expires_unix_s))
    }

    fn confirm(&self, id: AccountId, code: CodeHash) -> Answer<'_, bool> {
        self.write(|accounts| AdminStore::confirm(accounts, id, code))
    }

    fn withdraw(&self, id: AccountId, code: CodeHash) -> Answer<'_, ()> {
        self.write(|accounts| accounts.withdraw(id, code))
    }

    fn mark_deleted(&self, id: AccountId) -> Answer<'_, ()> {
        self.write(|accounts| accounts.mark_deleted(id))
    }

    fn emails_like(&self, email: String) -> Answer<'_, u32> {
        self.read(|accounts| accounts.emails_like(email))
    }

    fn changes_today(&self, id: AccountId) -> Answer<'_, u32> {
        self.read(|accounts| accounts.changes_today(id))
    }
}

/// Carries mail to the test.
#[derive(Debug)]
pub(super) struct TestMailer {
    fault: Mutex<Option<MailError>>,
    sent: mpsc::UnboundedSender<Confirmation>,
    arrived: tokio::sync::Mutex<mpsc::UnboundedReceiver<Confirmation>>,
}

impl TestMailer {
    pub(super) fn new() -> Self {
        let (sent, arrived) = mpsc::unbounded_channel();
        Self {
            fault: Mutex::default(),
            sent,
            arrived: tokio::sync::Mutex::new(arrived),
        }
    }

    /// From now on this becomes of mail, or it is carried.
    pub(super) fn fails(&self, fault: impl Into<Option<MailError>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    /// The next mail that was sent.
    pub(super) async fn next(&self) -> Confirmation {
        let mut arrived = self.arrived.lock().await;
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), arrived.recv()).await;
        next.expect("no mail came").unwrap()
    }

    /// Whether no mail was sent that nobody looked at.
    pub(super) async fn is_empty(&self) -> bool {
        self.arrived.lock().await.is_empty()
    }
}

impl Mailer for TestMailer {
    fn confirm(&self, confirmation: Confirmation) -> Sending<'_> {
        let fault = *self.fault.lock().unwrap();
        Box::pin(async move {
            if let Some(error) = fault {
                return Err(error);
            }
            self.sent
                .send(confirmation)
                .map_err(|_| MailError::Internal)
        })
    }
}
