//! `redis-master` and `redis-replica`: a backend is healthy when it is up and has the role.

use serde::Deserialize;

use super::conversation::Conversation;
use super::said::quote;
use crate::plugin::{Measuring, Options, Probe, Problem, Target};
use crate::wire::resp::{Reply, command, reply};

/// The role that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Replica,
}

/// Asks for the role, after a login if one is given.
pub(super) struct Redis {
    role: Role,
    /// AUTH, if a password is given.
    login: Option<Vec<u8>>,
}

/// `{ redis-master = { user = "probe", password = "${REDIS_PASSWORD}" } }`; both may be missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    user: Option<String>,
    password: Option<String>,
}

impl Redis {
    pub(super) fn from_options(options: &Options, role: Role) -> Result<Self, Vec<Problem>> {
        let login: Login = options.read()?;
        let login = match (&login.user, &login.password) {
            (None, None) => None,
            (None, Some(password)) => Some(command(&["AUTH", password])),
            (Some(user), Some(password)) => Some(command(&["AUTH", user, password])),
            (Some(_), None) => {
                return Err(vec![options.problem_at("user", "`user` needs a `password`")]);
            }
        };
        Ok(Self { role, login })
    }

    async fn ask(&self, target: &Target) -> Result<(), String> {
        let mut conversation = Conversation::with(target).await?;
        if let Some(login) = &self.login {
            conversation.wait_for("the answer to AUTH");
            conversation.tell(login).await?;
            self.hear(&mut conversation, "AUTH").await?;
        }
        conversation.wait_for("the answer to ROLE");
        conversation.tell(&command(&["ROLE"])).await?;
        self.hear(&mut conversation, "ROLE").await
    }

    async fn hear(&self, conversation: &mut Conversation<'_>, asked: &str) -> Result<(), String> {
        loop {
            let heard = conversation.heard();
            let unfit = || Err(format!("no answer to {asked}: {}", quote(heard)));
            let verdict = match reply(heard) {
                Ok(None) => None,
                Ok(Some((Reply::Error(what), _))) => {
                    return Err(format!("{asked} was answered with {}", quote(what)));
                }
                Ok(Some((Reply::Status(_), length))) if asked == "AUTH" => Some((Ok(()), length)),
                Ok(Some((Reply::List(role), length))) if asked == "ROLE" => {
                    Some((self.judge(role), length))
                }
                Ok(Some(_)) | Err(_) => return unfit(),
            };
            if let Some((verdict, length)) = verdict {
                conversation.take(length);
                return verdict;
            }
            if !conversation.hear().await? {
                return Err(format!("the connection was closed before {asked} was answered"));
            }
        }
    }

    fn judge(&self, role: &[u8]) -> Result<(), String> {
        let found = match role {
            b"master" => Some(Role::Master),
            b"slave" | b"replica" => Some(Role::Replica),
            _ => None,
        };
        let wanted = match self.role {
            Role::Master => "master",
            Role::Replica => "replica",
        };
        match found {
            Some(role) if role == self.role => Ok(()),
            Some(Role::Replica) => Err(format!("it is a replica, not a {wanted}")),
            Some(Role::Master) => Err(format!("it is a master, not a {wanted}")),
            None => Err(format!("its role is {}, not {wanted}", quote(role))),
        }
    }
}

impl Probe for Redis {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(self.ask(target))
    }
}
