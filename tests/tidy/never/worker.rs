//! A worker that others wait for.

use std::sync::{Condvar, Mutex, RwLock};
use std::{fs, thread};

fn turn() {
    thread::sleep(MOMENT);
    thread::park();
}
