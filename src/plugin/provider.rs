//! Where the backends behind a name are: asked again and again on the control thread.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Finds the backends that stand behind a name of the file.
///
/// A provider is asked on the control thread, for each pool and name, at first and then whenever what
/// it said is no longer good. Its future is polled there beside many others: it may wait for tokio's
/// I/O and timers, and must never block. It is dropped after a minute. If it panics, or fails, what it
/// said last stays in use; what it does not name any more drains as `on_remove` says.
///
/// ```
/// use forebay::plugin::{Answer, Finding, Found, Options, Provider, Question, Registry};
///
/// /// `resolver = { fixed = { address = "127.0.0.1" } }`: every name is one address.
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Fixed {
///     address: std::net::IpAddr,
/// }
///
/// impl Provider for Fixed {
///     fn find<'a>(&'a self, question: &'a Question) -> Finding<'a> {
///         Box::pin(async move {
///             match question {
///                 Question::Host(_) => {
///                     Ok(Answer { found: vec![Found::host(self.address)], good_for: None })
///                 }
///                 Question::Service(name) => Err(format!("{name} is no host")),
///             }
///         })
///     }
/// }
///
/// let mut registry = Registry::with_builtins();
/// registry.provider("fixed", Options::read::<Fixed>);
/// ```
pub trait Provider: Send + Sync {
    /// Finds what stands behind a name. `Err` is why that is not known, in a few words.
    fn find<'a>(&'a self, question: &'a Question) -> Finding<'a>;
}

/// A look-up under way.
pub type Finding<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// The addresses of a host; the file says the port.
    Host(Arc<str>),
    /// The addresses and ports of a service, by its whole name: `_http._tcp.app.example`.
    Service(Arc<str>),
}

impl Question {
    /// The name that is asked for.
    pub fn name(&self) -> &str {
        match self {
            Self::Host(name) | Self::Service(name) => name,
        }
    }
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Every backend, in any order. None at all counts as a failure.
    pub found: Vec<Found>,
    /// How long this may be relied on; `None`: until `resolve_interval` is over.
    pub good_for: Option<Duration>,
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, if the file does not say one.
    pub port: Option<u16>,
    /// Its share of new sessions, if the file does not say one.
    pub weight: Option<u32>,
    /// Its tier, if the file does not say one; 0 is used first.
    pub priority: Option<u32>,
}

impl Found {
    /// An address of which nothing else is known.
    pub fn host(ip: IpAddr) -> Self {
        Self { ip, port: None, weight: None, priority: None }
    }
}
