//! Names of the file: which there are, and what stands behind those that are not known yet.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Choice, Config};
use crate::model::{Resolved, Wanted};
use crate::plugin::{Answer, Provider, Question, Registry};

/// Look-ups at once; each may wait long for an answer.
pub(super) const AT_ONCE: usize = 64;

/// So long the start waits for names; those that take longer come into use later.
const PATIENCE: Duration = Duration::from_secs(3);

/// So long a look-up may take, whoever does it.
const LONGEST: Duration = Duration::from_secs(60);

/// How a name is looked up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct How {
    /// By whom.
    pub(super) resolver: Choice,
    /// How often, where an answer does not say.
    pub(super) interval: Duration,
}

/// Every name of the file.
pub(super) fn wanted(config: &Config) -> BTreeMap<Wanted, How> {
    let mut all = BTreeMap::new();
    for pool in &config.pools {
        let names = pool.backends.iter();
        for wanted in names.filter_map(|backend| Wanted::of(&pool.name, &backend.address)) {
            all.entry(wanted).or_insert_with(|| How {
                resolver: pool.resolver.clone(),
                interval: pool.resolve_interval,
            });
        }
    }
    all
}

/// What stands behind all names that are not `known`: asks for them at once and waits, but not for
/// ever. Blocks.
pub(super) fn unknown(config: &Config, registry: &Registry, known: &Resolved) -> LookedUp {
    let mut all = wanted(config);
    all.retain(|wanted, _| !known.contains_key(wanted));
    if all.is_empty() {
        return LookedUp::default();
    }
    // On a thread of its own, since whoever starts this may have a runtime on his.
    let looked_up = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("resolve".into());
        let thread = thread.spawn_scoped(scope, || look_up_and_wait(&all, registry))?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a fault")))
    });
    looked_up.unwrap_or_else(|error| {
        let reasons = all.into_keys().map(|wanted| (wanted, error.to_string()));
        LookedUp { resolved: Resolved::new(), reasons: reasons.collect() }
    })
}

fn look_up_and_wait(all: &BTreeMap<Wanted, How>, registry: &Registry) -> io::Result<LookedUp> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let looked_up = runtime.block_on(look_up_all(all, registry));
    // Look-ups that hang must not keep the process.
    runtime.shutdown_background();
    Ok(looked_up)
}

/// What came of names that were not known. It is told of only if it is taken into use.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    pub(super) resolved: Resolved,
    /// Why the others are not known.
    reasons: BTreeMap<Wanted, String>,
}

impl LookedUp {
    /// Says what stands behind each, or why that is not known.
    pub(super) fn tell(&self) {
        self.resolved.iter().for_each(|(wanted, answer)| tell(wanted, answer));
        for (wanted, reason) in &self.reasons {
            let (pool, host) = (&*wanted.pool, wanted.question.name());
            tracing::warn!(
                pool,
                host,
                reason,
                "cannot resolve a backend yet; it is out of rotation"
            );
        }
    }
}

async fn look_up_all(all: &BTreeMap<Wanted, How>, registry: &Registry) -> LookedUp {
    let (answers, mut answered) = unbounded_channel();
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let not_yet = |wanted: &Wanted| (wanted.clone(), "no answer yet".to_owned());
    let mut reasons: BTreeMap<Wanted, String> = all.keys().map(not_yet).collect();
    for (wanted, how) in all {
        let provider = match registry.build_provider(&how.resolver) {
            Ok(provider) => provider,
            // It is found when the file is checked, by whoever checks it.
            Err(problems) => {
                let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
                reasons.insert(wanted.clone(), all.join("; "));
                continue;
            }
        };
        let (wanted, answers, at_once) = (wanted.clone(), answers.clone(), Arc::clone(&at_once));
        tokio::spawn(async move {
            let turn = at_once.acquire().await;
            let answer = find(&*provider, &wanted.question).await;
            drop(turn);
            // Without anybody who waits it took too long.
            let _ = answers.send((wanted, answer));
        });
    }
    drop(answers);
    let until = Instant::now() + PATIENCE;
    let mut resolved = Resolved::new();
    while let Ok(Some((wanted, answer))) = timeout_at(until, answered.recv()).await {
        match answer {
            Ok(answer) => {
                reasons.remove(&wanted);
                resolved.insert(wanted, answer);
            }
            Err(reason) => drop(reasons.insert(wanted, reason)),
        }
    }
    LookedUp { resolved, reasons }
}

/// Says what stands behind a name now.
pub(super) fn tell(wanted: &Wanted, answer: &Answer) {
    let (pool, host) = (&*wanted.pool, wanted.question.name());
    let shown = answer.found.iter().map(|found| match found.port {
        Some(port) => std::net::SocketAddr::new(found.ip, port).to_string(),
        None => found.ip.to_string(),
    });
    let addresses: Vec<String> = shown.collect();
    tracing::info!(pool, host, ?addresses, "resolved");
}

/// Asks once. What is found can be connected to, is sorted, and is there once.
///
/// # Errors
/// Why nothing is found; also that the provider panicked or took too long.
pub(super) async fn find(provider: &dyn Provider, question: &Question) -> Result<Answer, String> {
    const PANICKED: &str = "the provider panicked";
    let begin = AssertUnwindSafe(|| provider.find(question));
    let Ok(mut finding) = catch_unwind(begin) else { return Err(PANICKED.to_owned()) };
    let guarded = std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| finding.as_mut().poll(context));
        catch_unwind(poll).unwrap_or_else(|_| Poll::Ready(Err(PANICKED.to_owned())))
    });
    let found = timeout(LONGEST, guarded).await;
    let mut answer = found.unwrap_or_else(|_| Err(format!("no answer in {LONGEST:?}")))?;
    answer.found.iter_mut().for_each(|found| found.ip = found.ip.to_canonical());
    answer.found.retain(|found| can_be_connected_to(found.ip));
    answer.found.sort_unstable();
    answer.found.dedup();
    match answer.found.is_empty() {
        true => Err("the name has no address that can be connected to".to_owned()),
        false => Ok(answer),
    }
}

/// As what the file may name: a connect to 0.0.0.0, say, would reach this host.
fn can_be_connected_to(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(four) if four.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Finding, Found};

    /// Answers so, or panics.
    struct Says(Option<Vec<IpAddr>>);

    impl Provider for Says {
        fn find<'a>(&'a self, _: &'a Question) -> Finding<'a> {
            Box::pin(async {
                let Some(ips) = &self.0 else { panic!("told to") };
                Ok(Answer { found: ips.iter().copied().map(Found::host).collect(), good_for: None })
            })
        }
    }

    fn found(says: Option<&[&str]>) -> Result<Vec<String>, String> {
        let says = Says(says.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect()));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(find(&says, &Question::Host("x".into())))?;
        Ok(answer.found.iter().map(|found| found.ip.to_string()).collect())
    }

    #[test]
    fn what_is_found_is_sorted_and_can_be_connected_to() {
        let said = ["10.0.0.2", "0.0.0.0", "::1", "::ffff:10.0.0.1", "10.0.0.2", "224.0.0.1", "::"];
        assert_eq!(found(Some(&said)).unwrap(), ["10.0.0.1", "10.0.0.2", "::1"]);
        assert!(found(Some(&["0.0.0.0"])).is_err());
        assert!(found(Some(&[])).is_err());
    }

    #[test]
    fn a_provider_that_panics_has_found_nothing() {
        assert_eq!(found(None).unwrap_err(), "the provider panicked");
    }

    #[test]
    fn names_are_looked_up_also_where_a_runtime_runs() {
        let mut registry = Registry::with_builtins();
        registry.provider("says", |_| Ok(Says(Some(vec![IpAddr::from([10, 0, 0, 1])]))));
        registry.provider("panics", |_| Ok(Says(None)));
        let pool = |name: &str| {
            format!("[pool.{name}]\nresolver = '{name}'\nbackends = ['x.example:1', 'srv:_y.z']\n")
        };
        let listener = "[listener.l]\naddress = '127.0.0.1:0'\npool = 'says'\n";
        let text = format!("{listener}{}{}{}", pool("says"), pool("panics"), pool("none"));
        let config = crate::config::parse(&text, "f", &|_| None).config.unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        let looked_up = runtime.block_on(async { unknown(&config, &registry, &Resolved::new()) });
        let known: Vec<&str> = looked_up.resolved.keys().map(|wanted| &*wanted.pool).collect();
        assert_eq!(known, ["says", "says"]);
        let reasons: Vec<&str> = looked_up.reasons.values().map(String::as_str).collect();
        assert_eq!(reasons.len(), 4);
        assert!(reasons[0].contains("unknown resolver `none`"), "{reasons:?}");
        assert_eq!(reasons[2..], ["the provider panicked"; 2]);
        assert!(wanted(&config).keys().all(|it| {
            looked_up.resolved.contains_key(it) || looked_up.reasons.contains_key(it)
        }));
    }
}
