//! Whether a backend is healthy: measured again and again on the control thread.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use crate::net::Address;

/// Measures backends.
///
/// A probe is asked on the control thread, once for each interval and backend, and its future is
/// polled there beside many others: it may wait for tokio's I/O and timers, and must never block. It
/// is dropped when `probe.timeout` is over. If it panics, that probe has failed.
///
/// ```
/// use forebay::plugin::{Measuring, Options, Probe, Registry, Target};
///
/// /// `probe = { kind = { lucky = { number = 7 } } }`: ports that end in a lucky number are healthy.
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Lucky {
///     number: u8,
/// }
///
/// impl Probe for Lucky {
///     fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
///         Box::pin(async move {
///             match target.address.to_string().ends_with(&self.number.to_string()) {
///                 true => Ok(()),
///                 false => Err(format!("not a lucky port: {}", target.address)),
///             }
///         })
///     }
/// }
///
/// let mut registry = Registry::with_builtins();
/// registry.probe("lucky", Options::read::<Lucky>);
/// ```
pub trait Probe: Send + Sync {
    /// Measures one backend. `Err` is why it is not healthy, in a few words.
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a>;
}

/// A measurement under way.
pub type Measuring<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// What is measured.
#[derive(Debug)]
pub struct Target {
    /// Where to connect.
    pub address: Address,
    /// What the probe waits for.
    waits_for: Mutex<String>,
}

impl Target {
    /// A backend at `address`.
    pub fn new(address: Address) -> Self {
        Self { address, waits_for: Mutex::default() }
    }

    /// Notes what is waited for from now on, to be told if the time runs out: `step 2: expected "+PONG"`.
    pub fn wait_for(&self, what: impl Into<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// What was noted last.
    pub fn waits_for(&self) -> String {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
