//! Questions to a server of names, and its answers (RFC 1035; SRV: RFC 2782).
//!
//! Only what is needed of an answer is read: the records asked for, behind aliases (CNAME) or not, and
//! how long they are good for. A message is at most 64 KiB, which bounds every loop here.

use std::net::IpAddr;
use std::str::FromStr as _;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ParsedRecord};
use domain::rdata::{A, Aaaa, Srv};

use super::Malformed;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Hosts and ports of a service.
    Srv,
}

/// A question.
#[derive(Debug)]
pub struct Query {
    message: Message<Vec<u8>>,
    kind: Kind,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer is longer than what it may send this way.
    Truncated,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// It does not know, or does not want to say: its code in words, such as `SERVFAIL`.
    Refused(String),
    /// The records asked for; none if the name has others only.
    Records(Records),
}

/// Records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// Each as the message has it, in its order.
    pub records: Vec<Record>,
    /// Seconds for which all of them are good, with the aliases that led to them.
    pub ttl: u32,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV.
    Service(Service),
}

/// A host and port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower ones are used first.
    pub priority: u16,
    /// Share among those of equal priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// The name of the host; none if the service is said not to be there.
    pub target: Option<String>,
}

impl Query {
    /// Asks for the records of `name`, taken as a whole name, under a number that cannot be guessed.
    /// None if it cannot be a name.
    pub fn new(name: &str, kind: Kind) -> Option<Self> {
        let name = Name::<Vec<u8>>::from_str(name).ok()?;
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_random_id();
        builder.header_mut().set_rd(true);
        let mut question = builder.question();
        question.push((name, kind.record_type())).ok()?;
        Some(Self { message: question.into_message(), kind })
    }

    /// As it is sent.
    pub fn bytes(&self) -> &[u8] {
        self.message.as_slice()
    }

    /// Reads an answer to this question.
    ///
    /// # Errors
    /// It is no message, or an answer to something else, or a record in it cannot be read.
    pub fn read(&self, bytes: &[u8]) -> Result<Reply, Malformed> {
        let message = Message::from_octets(bytes).map_err(|_| Malformed)?;
        let header = message.header();
        // Some servers leave the question out when they refuse.
        let bare = header.qr()
            && header.id() == self.message.header().id()
            && header.rcode() != Rcode::NOERROR
            && message.header_counts().qdcount() == 0;
        if !bare && !message.is_answer(&self.message) {
            return Err(Malformed);
        }
        match header.rcode() {
            _ if header.tc() => Ok(Reply::Truncated),
            Rcode::NOERROR => self.records(&message).map(Reply::Records),
            Rcode::NXDOMAIN => Ok(Reply::NoSuchName),
            other => Ok(Reply::Refused(other.to_string())),
        }
    }

    fn records(&self, message: &Message<&[u8]>) -> Result<Records, Malformed> {
        let owner = message.canonical_name().ok_or(Malformed)?;
        let mut all = Records { records: Vec::new(), ttl: u32::MAX };
        for record in message.answer().map_err(|_| Malformed)? {
            let record = record.map_err(|_| Malformed)?;
            let asked_for = record.rtype() == self.kind.record_type() && record.owner() == owner;
            if record.class() != Class::IN || !(asked_for || record.rtype() == Rtype::CNAME) {
                continue;
            }
            all.ttl = all.ttl.min(seconds(record.ttl().as_secs()));
            if asked_for {
                all.records.push(self.kind.read(&record)?);
            }
        }
        Ok(all)
    }
}

/// One with its highest bit set is zero (RFC 2181, section 8).
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl }
}

impl Kind {
    fn record_type(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }

    fn read(self, record: &ParsedRecord<'_, &[u8]>) -> Result<Record, Malformed> {
        match self {
            Self::A => {
                let found = record.to_record::<A>().ok().flatten().ok_or(Malformed)?;
                Ok(Record::Address(IpAddr::V4(found.data().addr())))
            }
            Self::Aaaa => {
                let found = record.to_record::<Aaaa>().ok().flatten().ok_or(Malformed)?;
                Ok(Record::Address(IpAddr::V6(found.data().addr())))
            }
            Self::Srv => {
                let found = record.to_record::<Srv<_>>().ok().flatten().ok_or(Malformed)?;
                let srv = found.data();
                let (priority, weight, port) = (srv.priority(), srv.weight(), srv.port());
                let target = (!srv.target().is_root()).then(|| srv.target().to_string());
                Ok(Record::Service(Service { priority, weight, port, target }))
            }
        }
    }
}
