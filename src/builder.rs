//! The program with somebody's own plug-ins beside the built-in ones.

use crate::config::{Choices, Config, Options, Problem};
use crate::control::{self, Failure, Running, Start};
use crate::discovery;
use crate::health;
use crate::plugin::{Balancer, Guard, Observer, Probe, Provider, Registry};

/// Gathers plug-ins, then runs: the whole command line, or one configuration.
///
/// See the [crate's page](crate) for a whole program.
#[derive(Debug)]
pub struct Builder {
    registry: Registry,
}

impl Builder {
    /// With what Forebay brings along.
    pub fn new() -> Self {
        let mut registry = Registry::with_builtins();
        health::register(&mut registry);
        discovery::register(&mut registry);
        Self { registry }
    }

    /// Adds what `balance = "NAME"` makes. A name that is taken gets the new meaning, built-in or
    /// not. The factory may be called just to check a file, so it must do nothing else.
    #[must_use]
    pub fn balancer<B, F>(mut self, name: &str, factory: F) -> Self
    where
        B: Balancer + 'static,
        F: Fn(&Options) -> Result<B, Vec<Problem>> + Send + Sync + 'static,
    {
        self.registry.balancer(name, factory);
        self
    }

    /// Adds what `guards = ["NAME"]` makes, as [`balancer`](Self::balancer) does.
    #[must_use]
    pub fn guard<G, F>(mut self, name: &str, factory: F) -> Self
    where
        G: Guard + 'static,
        F: Fn(&Options) -> Result<G, Vec<Problem>> + Send + Sync + 'static,
    {
        self.registry.guard(name, factory);
        self
    }

    /// Adds what `probe = { kind = "NAME" }` makes, as [`balancer`](Self::balancer) does.
    #[must_use]
    pub fn probe<P, F>(mut self, name: &str, factory: F) -> Self
    where
        P: Probe + 'static,
        F: Fn(&Options) -> Result<P, Vec<Problem>> + Send + Sync + 'static,
    {
        self.registry.probe(name, factory);
        self
    }

    /// Adds what `resolver = "NAME"` makes, as [`balancer`](Self::balancer) does.
    #[must_use]
    pub fn provider<P, F>(mut self, name: &str, factory: F) -> Self
    where
        P: Provider + 'static,
        F: Fn(&Options) -> Result<P, Vec<Problem>> + Send + Sync + 'static,
    {
        self.registry.provider(name, factory);
        self
    }

    /// Adds an observer. All are told of every session, in this order.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.registry.observer(observer);
        self
    }

    /// Runs the command line with the arguments of this process: `run`, `check`, `proxy`, `demo`.
    /// The outcome is the exit code of the program.
    #[cfg(feature = "cli")]
    pub fn run(self) -> std::process::ExitCode {
        crate::cli::main(std::env::args_os(), self.registry)
    }

    /// Starts a configuration and returns once its listeners listen; it runs on threads of its own.
    ///
    /// Signals are heard as by the program: SIGTERM and SIGINT drain it, for instance. What it does
    /// is told through `tracing`.
    ///
    /// ```
    /// use forebay::{Builder, config};
    ///
    /// let text = "
    ///     [listener.web]
    ///     address = '127.0.0.1:0'
    ///     pool = 'app'
    ///     [pool.app]
    ///     backends = ['127.0.0.1:9000']
    /// ";
    /// let config = config::parse(text, "web.toml", &config::environment).config?;
    /// let running = Builder::new().start(config)?;
    /// println!("listening on {}", running.bound()[0].address);
    /// running.drain();
    /// running.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Addresses that cannot be listened on, or what the plug-ins find wrong with their options.
    pub fn start(self, config: Config) -> Result<Running, Failure> {
        let registry = self.registry;
        let wrong = registry.check(&Choices::of(&config));
        if !wrong.is_empty() {
            return Err(Failure::Plugin(wrong));
        }
        control::start(Start { config, origin: None, registry, ready: None, reloaded: None })
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
