//! `postgres-primary` and `postgres-replica`: a backend is healthy when it lets us log in and has the
//! role.

use std::io;
use std::time::Duration;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use serde::Deserialize;
use tokio::time::timeout;

use super::conversation::Conversation;
use super::said::quote;
use crate::plugin::{Measuring, Options, Probe, Problem, Target};
use crate::wire::postgres::{
    Message, message, password, query, sasl_part, scram_begin, startup, terminate,
};

/// How long a server may take to hang up after it was told that all is said. It logs a reset.
const PARTING: Duration = Duration::from_millis(100);

/// The role that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
}

/// Logs in and asks whether the server is in recovery.
pub(super) struct Postgres {
    role: Role,
    login: Login,
}

/// `{ postgres-primary = { user = "probe", password = "${PGPASSWORD}", database = "postgres" } }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    user: String,
    password: Option<String>,
    #[serde(default = "database")]
    database: String,
}

fn database() -> String {
    "postgres".to_owned()
}

/// How far a login is.
struct Progress {
    scram: Option<ScramSha256>,
    asked: bool,
}

/// What follows from a message.
enum Next {
    Listen,
    Say(Vec<u8>),
    /// The next part of SASL, which takes a while to compute.
    Scram(Vec<u8>),
    /// Whether it is in recovery.
    Answer(bool),
}

impl Postgres {
    pub(super) fn from_options(options: &Options, role: Role) -> Result<Self, Vec<Problem>> {
        let login: Login = options.read()?;
        let words = [("user", Some(&login.user)), ("password", login.password.as_ref())];
        let words = words.into_iter().chain([("database", Some(&login.database))]);
        let bad = words.filter_map(|(key, word)| Some((key, word?))).filter_map(|(key, word)| {
            let unfit = word.is_empty() || word.contains('\0');
            unfit.then(|| options.problem_at(key, format!("`{key}` is empty or has a zero in it")))
        });
        let bad: Vec<Problem> = bad.collect();
        if bad.is_empty() { Ok(Self { role, login }) } else { Err(bad) }
    }

    async fn ask(&self, target: &Target) -> Result<(), String> {
        let mut conversation = Conversation::with(target).await?;
        let mut progress = Progress { scram: None, asked: false };
        let answer = self.login.ask(&mut conversation, &mut progress).await;
        part(conversation, &progress).await;
        self.judge(answer?)
    }

    fn judge(&self, in_recovery: bool) -> Result<(), String> {
        match (self.role, in_recovery) {
            (Role::Primary, false) | (Role::Replica, true) => Ok(()),
            (Role::Primary, true) => Err("it is a replica, not a primary".to_owned()),
            (Role::Replica, false) => Err("it is a primary, not a replica".to_owned()),
        }
    }
}

impl Probe for Postgres {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(self.ask(target))
    }
}

impl Login {
    /// Whether the server is in recovery.
    async fn ask(
        &self,
        conversation: &mut Conversation<'_>,
        progress: &mut Progress,
    ) -> Result<bool, String> {
        conversation.wait_for("the login");
        conversation.tell(&startup(&self.user, &self.database)).await?;
        loop {
            match self.listen(conversation, progress).await? {
                Next::Listen => {}
                Next::Say(bytes) => conversation.tell(&bytes).await?,
                Next::Scram(part) => {
                    let bytes = progress.go_on(part).await?;
                    conversation.tell(&bytes).await?;
                }
                Next::Answer(in_recovery) => return Ok(in_recovery),
            }
            if progress.asked {
                conversation.wait_for("the role");
            }
        }
    }

    /// Waits for a message, and says what follows from it.
    async fn listen(
        &self,
        conversation: &mut Conversation<'_>,
        progress: &mut Progress,
    ) -> Result<Next, String> {
        loop {
            let heard = conversation.heard();
            match message(heard) {
                Err(_) => return Err(format!("the answer is not PostgreSQL's: {}", quote(heard))),
                Ok(Some((message, length))) => {
                    let next = self.follow(&message, progress)?;
                    conversation.take(length);
                    return Ok(next);
                }
                Ok(None) => {}
            }
            if !conversation.hear().await? {
                return Err("the connection was closed before the role was known".to_owned());
            }
        }
    }

    fn follow(&self, message: &Message<'_>, progress: &mut Progress) -> Result<Next, String> {
        Ok(match message {
            Message::Error(what) => return Err(quote(what)),
            Message::Password => Next::Say(password(self.password()?)),
            Message::Md5(salt) => {
                let hash = md5_hash(self.user.as_bytes(), self.password()?, *salt);
                Next::Say(password(hash.as_bytes()))
            }
            Message::Sasl(true) => {
                let scram = ScramSha256::new(self.password()?, ChannelBinding::unsupported());
                let begin = scram_begin(scram.message());
                progress.scram = Some(scram);
                Next::Say(begin)
            }
            Message::Sasl(false) => return Err("it wants another login than SCRAM-SHA-256".into()),
            Message::UnknownLogin(number) => {
                return Err(format!("it wants login method {number}, which is not supported"));
            }
            Message::SaslContinue(part) => Next::Scram(part.to_vec()),
            Message::SaslFinal(part) => {
                let scram = progress.scram.as_mut();
                let checked = scram.map(|scram| scram.finish(part));
                checked.transpose().map_err(|error| format!("the login failed: {error}"))?;
                Next::Listen
            }
            Message::Ready if progress.asked => return Err("it does not tell its role".to_owned()),
            Message::Ready => {
                progress.asked = true;
                Next::Say(query("SELECT pg_is_in_recovery()"))
            }
            Message::Row(Some(b"t")) => Next::Answer(true),
            Message::Row(Some(b"f")) => Next::Answer(false),
            Message::Row(_) => return Err("it does not tell its role".to_owned()),
            Message::LoggedIn | Message::Other => Next::Listen,
        })
    }

    fn password(&self) -> Result<&[u8], String> {
        let password = self.password.as_ref().ok_or("it asks for a password, and none is given")?;
        Ok(password.as_bytes())
    }
}

impl Progress {
    /// Hashes the password as often as the server says (100,000 times at the most), where that may
    /// take its time.
    async fn go_on(&mut self, part: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut scram = self.scram.take().ok_or("it goes on with a login that was not begun")?;
        let hashed = tokio::task::spawn_blocking(move || scram.update(&part).map(|()| scram));
        let fault = |error: io::Error| format!("the login failed: {error}");
        let scram = hashed.await.map_err(|error| fault(error.into()))?.map_err(fault)?;
        let bytes = sasl_part(scram.message());
        self.scram = Some(scram);
        Ok(bytes)
    }
}

/// Takes leave, so that the server need not log that it was hung up on.
async fn part(mut conversation: Conversation<'_>, progress: &Progress) {
    let _ = timeout(PARTING, async {
        let left = match progress.asked {
            true => conversation.tell(&terminate()).await,
            // It is not to be told so before a login, but understands a FIN.
            false => conversation.finish().await,
        };
        if left.is_ok() {
            while let Ok(true) = conversation.hear().await {}
        }
    })
    .await;
}
