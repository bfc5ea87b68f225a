//! A timer that is exact to microseconds, which a poll's own timeout is not (timerfd_create(2)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Fires again and again.
#[derive(Debug)]
pub(crate) struct Timer {
    file: OwnedFd,
    number: RawFd,
}

impl Timer {
    /// Fires after so long, and each time after that.
    pub(crate) fn every(duration: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let file = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let duration = Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        };
        let times = Itimerspec { it_interval: duration, it_value: duration };
        timerfd_settime(&file, TimerfdTimerFlags::empty(), &times)?;
        let number = file.as_raw_fd();
        Ok(Self { file, number })
    }

    /// What a poll is to watch.
    pub(crate) fn source(&self) -> SourceFd<'_> {
        SourceFd(&self.number)
    }

    /// Has been seen, so that it fires again. False: it had not fired.
    pub(crate) fn clear(&mut self) -> bool {
        rustix::io::read(&self.file, &mut [0; 8]).is_ok()
    }
}
