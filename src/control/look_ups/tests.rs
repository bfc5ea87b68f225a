//! When names are asked for again, on virtual time: it goes on only when every task waits.

use std::sync::Mutex;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::*;
use crate::plugin::at_once::AtOnce;
use crate::plugin::{Finding, Found, Question};

/// What a name server says, one after the other; the last again and again.
#[derive(Clone, Copy)]
enum Says {
    /// An address, good for so long.
    Good(Duration),
    /// An address, of which it does not say how long it is good.
    Plain,
    Fails,
    Nothing,
}

/// A provider that keeps to a script, and what was seen of it.
struct Script {
    says: Vec<Says>,
    start: Instant,
    /// When it was asked, in milliseconds from the start.
    asked: Mutex<Vec<u64>>,
    at_once: AtOnce,
}

struct Scripted(Arc<Script>);

impl Provider for Scripted {
    fn find<'a>(&'a self, _: &'a Question) -> Finding<'a> {
        let script = &self.0;
        let number = {
            let mut asked = script.asked.lock().unwrap();
            asked.push(u64::try_from(script.start.elapsed().as_millis()).unwrap());
            asked.len() - 1
        };
        let said = *script.says.get(number).or(script.says.last()).unwrap();
        Box::pin(async move {
            let _under_way = script.at_once.enter();
            let answer = |good_for| {
                let found = vec![Found::host([10, 0, 0, 1].into())];
                Ok(Answer { found, good_for })
            };
            match said {
                Says::Good(good_for) => answer(Some(good_for)),
                Says::Plain => answer(None),
                Says::Fails => Err("told to".to_owned()),
                Says::Nothing => std::future::pending().await,
            }
        })
    }
}

const INTERVAL: Duration = Duration::from_secs(30);

/// A script whose tasks are asked for `names` names, and what they tell.
fn begin(says: &[Says], names: usize) -> (Arc<Script>, UnboundedReceiver<Event>) {
    let script = Arc::new(Script {
        says: says.to_vec(),
        start: Instant::now(),
        asked: Mutex::default(),
        at_once: AtOnce::default(),
    });
    let (events, told) = unbounded_channel();
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    for name in 0..names {
        let question = Question::Host(format!("{name}.example").into());
        let look_up = LookUp {
            wanted: Wanted { pool: "p".into(), question },
            provider: Arc::new(Scripted(Arc::clone(&script))),
            interval: INTERVAL,
            usual: INTERVAL,
            at_once: Arc::clone(&at_once),
            events: events.clone(),
        };
        tokio::spawn(look_up.go(Duration::ZERO));
    }
    (script, told)
}

/// When a script is asked within so many seconds, in seconds.
fn asked(says: &[Says], seconds: u64) -> Vec<u64> {
    play(async {
        let (script, _told) = begin(says, 1);
        sleep(Duration::from_secs(seconds)).await;
        let asked = script.asked.lock().unwrap();
        assert!(asked.iter().all(|at| at % 1000 == 0), "{asked:?}");
        asked.iter().map(|at| at / 1000).collect()
    })
}

fn play<T>(what: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(what)
}

fn good(seconds: u64) -> Says {
    Says::Good(Duration::from_secs(seconds))
}

#[test]
fn an_answer_is_relied_on_for_as_long_as_it_is_good() {
    assert_eq!(asked(&[good(3)], 10), [0, 3, 6, 9]);
    assert_eq!(asked(&[good(3), good(60), good(5)], 75), [0, 3, 63, 68, 73]);
    assert_eq!(asked(&[Says::Plain], 100), [0, 30, 60, 90]);
}

#[test]
fn an_answer_is_relied_on_for_a_second_at_least_and_an_hour_at_most() {
    assert_eq!(asked(&[good(0)], 4), [0, 1, 2, 3]);
    assert_eq!(asked(&[Says::Good(Duration::from_millis(1))], 3), [0, 1, 2]);
    assert_eq!(asked(&[good(i32::MAX as u64)], 8000), [0, 3600, 7200]);
    assert_eq!(asked(&[Says::Good(Duration::MAX)], 8000), [0, 3600, 7200]);
}

#[test]
fn after_a_failure_it_is_asked_again_no_later_than_after_the_interval() {
    assert_eq!(asked(&[good(3600), Says::Fails], 3700), [0, 3600, 3630, 3660, 3690]);
    assert_eq!(asked(&[good(3), Says::Fails, Says::Fails, good(9)], 25), [0, 3, 6, 9, 18]);
    // What takes a minute is given up, and asked again after that.
    assert_eq!(asked(&[good(3), Says::Nothing, good(9)], 80), [0, 3, 66, 75]);
}

#[test]
fn no_more_are_asked_at_once_than_may_be_and_everybody_has_a_turn() {
    const ALL: usize = AT_ONCE * 2 + 1;
    play(async {
        let (script, mut told) = begin(&[Says::Nothing], ALL);
        sleep(Duration::from_secs(179)).await;
        assert_eq!(script.at_once.most(), AT_ONCE);
        assert_eq!(script.asked.lock().unwrap()[..ALL].last(), Some(&120_000));
        let mut failed = 0;
        while let Ok(Event::LookedUp(_, answer)) = told.try_recv() {
            assert_eq!(answer, Err("no answer in 60s".to_owned()));
            failed += 1;
        }
        assert_eq!(failed, AT_ONCE * 2);
    });
}
