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

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with the question of `query`, these codes and these records of the name asked for.
    fn reply(query: &Query, flags: u16, records: &[(u16, u32, &[u8])]) -> Vec<u8> {
        let mut message = query.bytes()[..2].to_vec();
        message.extend(flags.to_be_bytes());
        message.extend([0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
        message.extend(&query.bytes()[12..]);
        for (kind, ttl, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(ttl.to_be_bytes());
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    const FINE: u16 = 0x8180;

    fn query(kind: Kind) -> Query {
        Query::new("a.example", kind).unwrap()
    }

    fn read(query: &Query, bytes: &[u8]) -> Records {
        match query.read(bytes).unwrap() {
            Reply::Records(records) => records,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_good_for_the_shortest_time_of_any() {
        let four = query(Kind::A);
        let answer = reply(&four, FINE, &[(1, 60, &[10, 0, 0, 1]), (1, 7, &[10, 0, 0, 2])]);
        let records = read(&four, &answer);
        let expected = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip| Record::Address(ip.into()));
        assert_eq!((&records.records[..], records.ttl), (&expected[..], 7));
        let six = query(Kind::Aaaa);
        let ip = std::net::Ipv6Addr::LOCALHOST;
        let records = read(&six, &reply(&six, FINE, &[(28, u32::MAX, &ip.octets())]));
        assert_eq!((&records.records[..], records.ttl), (&[Record::Address(ip.into())][..], 0));
    }

    #[test]
    fn an_alias_is_followed_and_its_time_counts() {
        let four = query(Kind::A);
        let alias: &[u8] = &[1, b'b', 0xc0, 14];
        let mut answer = reply(&four, FINE, &[(5, 3, alias), (1, 60, &[10, 0, 0, 9])]);
        // The address belongs to the alias, whose name stands in the data of the first record.
        let second = four.bytes().len() + 12 + alias.len();
        answer[second + 1] = u8::try_from(four.bytes().len() + 12).unwrap();
        let records = read(&four, &answer);
        assert_eq!((records.records.len(), records.ttl), (1, 3));
        // One of another name is none of ours.
        let stray = reply(&four, FINE, &[(5, 3, alias), (1, 60, &[10, 0, 0, 9])]);
        assert!(read(&four, &stray).records.is_empty());
    }

    #[test]
    fn a_service_says_where_it_is_or_that_it_is_not() {
        let query = query(Kind::Srv);
        let there: &[u8] = &[0, 10, 0, 5, 0x1f, 0x90, 1, b'n', 0xc0, 14];
        let nowhere: &[u8] = &[0, 0, 0, 0, 0, 0, 0];
        let records = read(&query, &reply(&query, FINE, &[(33, 9, there), (33, 9, nowhere)]));
        let target = Some("n.example".to_owned());
        let first = Service { priority: 10, weight: 5, port: 8080, target };
        let second = Service { priority: 0, weight: 0, port: 0, target: None };
        assert_eq!(records.records, [first, second].map(Record::Service));
        // One of which a record cannot be read is none: what it leaves out is not known to be gone.
        let half = reply(&query, FINE, &[(33, 9, there), (33, 9, &there[..6])]);
        assert!(query.read(&half).is_err());
    }

    #[test]
    fn codes_are_told_apart() {
        let query = query(Kind::A);
        let code = |flags| query.read(&reply(&query, flags, &[])).unwrap();
        assert_eq!(code(FINE | 3), Reply::NoSuchName);
        assert_eq!(code(FINE | 2), Reply::Refused("SERVFAIL".to_owned()));
        assert_eq!(code(FINE | 0x0200), Reply::Truncated);
        // Without the question, as some servers refuse.
        let mut bare = reply(&query, FINE | 5, &[])[..12].to_vec();
        bare[5] = 0;
        assert_eq!(query.read(&bare).unwrap(), Reply::Refused("REFUSED".to_owned()));
        bare[3] = 0x80;
        assert!(query.read(&bare).is_err());
    }

    #[test]
    fn what_is_cut_short_or_changed_is_an_answer_or_none_but_no_fault() {
        let query = query(Kind::Srv);
        let data: &[u8] = &[0, 10, 0, 5, 0x1f, 0x90, 1, b'n', 0xc0, 14];
        let whole = reply(&query, FINE, &[(5, 1, &[0xc0, 12]), (33, 9, data), (33, 9, data)]);
        for end in 0..whole.len() {
            assert!(query.read(&whole[..end]).is_err(), "{end}");
        }
        let mut random = fastrand::Rng::with_seed(7);
        let mut read = 0;
        for _ in 0..50_000 {
            let mut bytes = reply(&query, FINE, &[(33, 9, data), (33, 9, data)]);
            for _ in 0..random.usize(1..4) {
                let at = random.usize(2..bytes.len());
                bytes[at] = random.u8(..);
            }
            read += usize::from(query.read(&bytes).is_ok());
        }
        assert!((1..50_000).contains(&read), "{read}");
    }

    #[test]
    fn what_cannot_be_a_name_is_not_asked_for() {
        assert!(Query::new("a..b", Kind::A).is_none());
        assert!(Query::new(&"a".repeat(64), Kind::A).is_none());
        assert!(Query::new("a.example.", Kind::A).is_some());
    }
}
