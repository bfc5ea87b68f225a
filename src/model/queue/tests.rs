//! The line on its own: who is called, and that nobody is forgotten.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::model::Limit;

/// Keeps who was called.
struct Calls(Mutex<Vec<usize>>);

impl Wake for Calls {
    fn wake(&self, _worker: usize) {}

    fn call(&self, _worker: usize, session: usize) {
        self.0.lock().unwrap().push(session);
    }
}

fn queue(max: u32) -> (Arc<Queue>, Arc<Calls>) {
    let calls = Arc::new(Calls(Mutex::default()));
    let queue = Arc::new(Queue::new(Arc::clone(&calls) as Arc<dyn Wake>));
    queue.set_max(Some(max));
    (queue, calls)
}

fn join(queue: &Arc<Queue>, session: usize) -> Ticket {
    queue.join(Waiter { worker: 0, session }).unwrap()
}

impl Calls {
    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn a_permit_calls_the_first_and_nobody_else() {
    let (queue, calls) = queue(10);
    let limit = Arc::new(Limit::new(Some(1), Arc::clone(&queue) as Arc<dyn Wake>));
    let permit = limit.acquire().unwrap();
    let (one, two) = (join(&queue, 1), join(&queue, 2));
    assert!(one.is_first() && !two.is_first());
    drop(permit);
    assert_eq!(calls.take(), [1]);
    one.hear();
    let permit = limit.acquire().unwrap();
    drop(one);
    assert_eq!(calls.take(), [0; 0], "there is no room for the next");
    assert!(two.is_first());
    drop(permit);
    assert_eq!(calls.take(), [2]);
}

#[test]
fn what_comes_free_while_the_first_is_called_is_the_next_ones() {
    let (queue, calls) = queue(10);
    let line: Vec<Ticket> = (0..4).map(|session| join(&queue, session)).collect();
    queue.room(1);
    queue.room(1);
    queue.room(1);
    assert_eq!(calls.take(), [0]);
    let mut left = line.into_iter();
    for (number, ticket) in left.by_ref().take(3).enumerate() {
        ticket.hear();
        drop(ticket);
        assert_eq!(calls.take(), [number + 1][..usize::from(number < 2)]);
    }
    assert_eq!(queue.waiting(), 1);
}

#[test]
fn who_leaves_without_having_heard_leaves_it_to_the_next() {
    let (queue, calls) = queue(10);
    let (one, two, three) = (join(&queue, 1), join(&queue, 2), join(&queue, 3));
    drop(two);
    queue.room(1);
    assert_eq!(calls.take(), [1]);
    drop(one);
    assert_eq!(calls.take(), [3]);
    drop(three);
    assert_eq!(calls.take(), [0; 0]);
    // Nobody is left, so nothing is kept.
    let four = join(&queue, 4);
    queue.room(1);
    assert_eq!(calls.take(), [4]);
    drop(four);
}

#[test]
fn who_finds_no_room_stays_and_is_called_again() {
    let (queue, calls) = queue(10);
    let (one, _two) = (join(&queue, 1), join(&queue, 2));
    queue.room(usize::MAX);
    queue.room(usize::MAX);
    assert_eq!(calls.take(), [1]);
    one.hear();
    one.stay();
    queue.room(1);
    assert_eq!(calls.take(), [1]);
    one.hear();
    drop(one);
    assert_eq!(calls.take(), [0; 0], "what was told before it found no room is forgotten");
}

#[test]
fn who_finds_room_by_itself_lets_the_next_look_too() {
    let (queue, calls) = queue(10);
    let line: Vec<Ticket> = (0..4).map(|session| join(&queue, session)).collect();
    let mut left = line.into_iter();
    let one = left.next().unwrap();
    assert!(one.looks());
    drop(one);
    assert_eq!(calls.take(), [1]);
    let two = left.next().unwrap();
    two.hear();
    assert!(two.looks());
    drop(two);
    assert_eq!(calls.take(), [2]);
    let three = left.next().unwrap();
    three.hear();
    assert!(three.looks());
    three.stay();
    drop(three);
    assert_eq!(calls.take(), [0; 0], "it had found none");
}

#[test]
fn no_more_than_the_most_wait_and_the_most_may_change() {
    let (queue, _calls) = queue(2);
    let waiter = |session| Waiter { worker: 0, session };
    let line: Vec<Ticket> = (0..2).map(|session| join(&queue, session)).collect();
    assert!(queue.join(waiter(2)).is_none());
    queue.set_max(Some(3));
    let third = queue.join(waiter(3)).unwrap();
    queue.set_max(Some(1));
    assert!(queue.join(waiter(4)).is_none());
    assert!(line[0].is_first(), "those who wait stay");
    drop(line);
    assert!(third.is_first());
    assert!(queue.join(waiter(5)).is_none());
    drop(third);
    let last = queue.join(waiter(6)).unwrap();
    queue.set_max(None);
    assert!(queue.join(waiter(7)).is_none());
    drop(last);
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn many_come_and_go_from_the_middle_in_bounded_room() {
    let (queue, _calls) = queue(8);
    let first = join(&queue, 0);
    let room = queue.lock().places.capacity();
    for session in 1..10_000 {
        let (one, two) = (join(&queue, session), join(&queue, session));
        drop(one);
        drop(two);
    }
    assert!(first.is_first());
    assert_eq!(queue.lock().places.capacity(), room);
    assert_eq!(queue.waiting(), 1);
}

#[test]
fn one_that_moves_is_called_where_it_is() {
    struct Places(Mutex<Vec<(usize, usize)>>);
    impl Wake for Places {
        fn wake(&self, _worker: usize) {}

        fn call(&self, worker: usize, session: usize) {
            self.0.lock().unwrap().push((worker, session));
        }
    }
    let places = Arc::new(Places(Mutex::default()));
    let queue = Arc::new(Queue::new(Arc::clone(&places) as Arc<dyn Wake>));
    queue.set_max(Some(2));
    let ticket = join(&queue, 7);
    queue.room(1);
    ticket.moved(Waiter { worker: 3, session: 8 });
    assert_eq!(*places.0.lock().unwrap(), [(0, 7), (3, 8)], "the first call may be lost");
    ticket.hear();
    queue.room(1);
    assert_eq!(places.0.lock().unwrap().last(), Some(&(3, 8)));
}

/// Sends each call to the thread that waits.
struct Bells(Vec<Sender<()>>);

impl Wake for Bells {
    fn wake(&self, _worker: usize) {}

    fn call(&self, worker: usize, _session: usize) {
        let _ = self.0[worker].send(());
    }
}

/// No call is lost, whatever the threads do: each gets its permit without ever looking by itself.
#[test]
fn nobody_sleeps_beside_a_free_permit() {
    const THREADS: usize = 8;
    let (bells, heard): (Vec<Sender<()>>, Vec<Receiver<()>>) =
        (0..THREADS).map(|_| channel()).unzip();
    let queue = Arc::new(Queue::new(Arc::new(Bells(bells))));
    queue.set_max(Some(100));
    let limit = Arc::new(Limit::new(Some(2), Arc::clone(&queue) as Arc<dyn Wake>));
    let stuck = AtomicBool::new(false);
    thread::scope(|scope| {
        for (worker, heard) in heard.into_iter().enumerate() {
            let (queue, limit, stuck) = (&queue, &limit, &stuck);
            scope.spawn(move || {
                for session in 0..3_000 {
                    if queue.waiting() == 0
                        && let Some(permit) = limit.acquire()
                    {
                        drop(permit);
                        continue;
                    }
                    let ticket = queue.join(Waiter { worker, session }).unwrap();
                    let mut permit = ticket.is_first().then(|| limit.acquire()).flatten();
                    while permit.is_none() {
                        if ticket.is_first() {
                            ticket.stay();
                        }
                        // Only a thread that was never called waits for so long.
                        if heard.recv_timeout(Duration::from_secs(20)).is_err() {
                            stuck.store(true, SeqCst);
                            return;
                        }
                        ticket.hear();
                        permit = ticket.is_first().then(|| limit.acquire()).flatten();
                    }
                    drop(ticket);
                    drop(permit);
                }
            });
        }
    });
    assert!(!stuck.load(SeqCst));
    assert_eq!((queue.waiting(), limit.current()), (0, 0));
}
