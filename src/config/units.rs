//! Values with units: durations, sizes, rates, percents, networks, mode bits.
//!
//! Pure functions from text; each error says what would be right.

use std::net::IpAddr;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::{IpNet, Ipv4Net};
use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use jiff::{SignedDuration, SpanRelativeTo};

use super::Rate;
use super::suggest::quoted;

/// What is wrong with a value: a message, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// A rate is over at most a day: its state is kept that long.
const RATE_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// `"250ms"`, `"5s"`, `"1h 30m"`, `"2 days"`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let help = "write a number and a unit: \"250ms\", \"5s\", \"1h 30m\"";
    let fault = |what: &str| Fault::new(format!("{} {what}", quoted(text)), help);
    let span = SpanParser::new().parse_span(text.trim());
    let length = span
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| fault("is not a duration"))?;
    if length < SignedDuration::ZERO {
        return Err(fault("is a negative duration"));
    }
    Duration::try_from(length).map_err(|_| fault("is too long"))
}

/// A duration as [`duration`] reads it.
pub(super) fn show_duration(length: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&length)
}

/// `"64KiB"`, `"1.5 MiB"`, `"4096"`: bytes.
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let size = text.trim().parse::<ByteSize>();
    let help = "write a number and a unit: \"64KiB\", \"256MiB\"";
    size.map(|size| size.as_u64())
        .map_err(|_| Fault::new(format!("{} is not a size", quoted(text)), help))
}

/// A size as [`size`] reads it, exactly.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.iter().find(|(bits, _)| bytes != 0 && bytes.trailing_zeros() >= *bits);
    match whole {
        Some((bits, unit)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

/// `"100/s"`, `"20/m"`, `"5/10s"`, `"1_000/h"`.
pub(super) fn rate(text: &str) -> Result<Rate, Fault> {
    let help = "write so many per so long: \"100/s\", \"20/m\", \"5/10s\"";
    let fault = |what: &str| Fault::new(format!("{} {what}", quoted(text)), help);
    let (count, per) = text.split_once('/').ok_or_else(|| fault("is not a rate"))?;
    let digits = count.trim().replace('_', "");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault("is not a rate"));
    }
    let count = digits.parse::<u32>().map_err(|_| fault("is too high a rate"))?;
    if count == 0 {
        return Err(Fault::new(format!("{} lets nothing in", quoted(text)), "at least 1 per time"));
    }
    let per = per.trim();
    let one = per.starts_with(|first: char| first.is_ascii_alphabetic());
    let per = if one { format!("1{per}") } else { per.to_owned() };
    let per = duration(&per).map_err(|_| fault("is not a rate"))?;
    match per {
        Duration::ZERO => Err(fault("is not a rate")),
        per if per > RATE_WINDOW => Err(fault("is over more than a day")),
        per => Ok(Rate { count, per }),
    }
}

/// A rate as [`rate`] reads it.
pub(super) fn show_rate(rate: Rate) -> String {
    format!("{}/{}", rate.count, show_duration(rate.per))
}

/// `"10%"`: 0 to 100.
pub(super) fn percent(text: &str) -> Result<u8, Fault> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    number.filter(|percent| *percent <= 100).ok_or_else(|| {
        Fault::new(format!("{} is not a percentage", quoted(text)), "write \"0%\" to \"100%\"")
    })
}

/// `"10.0.0.0/8"`, `"2001:db8::/32"`, or a single address; as [`parse_network`] has it.
pub(super) fn network(text: &str) -> Result<(IpNet, bool), Fault> {
    parse_network(text).ok_or_else(|| {
        let help = "write an address or a network: \"10.0.0.0/8\", \"2001:db8::/32\"";
        Fault::new(format!("{} is not a network", quoted(text.trim())), help)
    })
}

/// A network, or a single address. The second part is true exactly when bits beyond the prefix were
/// set, and have been cleared.
pub(crate) fn parse_network(text: &str) -> Option<(IpNet, bool)> {
    let text = text.trim();
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).ok()?;
    Some((unmapped(network.trunc()), network.trunc() != network))
}

/// Sources are compared as IPv4 where they are IPv4, so ::ffff:10.0.0.0/104 must be 10.0.0.0/8.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    let four = six.network().to_ipv4_mapped();
    let bits = six.prefix_len().checked_sub(96);
    let four = four.zip(bits).and_then(|(four, bits)| Ipv4Net::new(four, bits).ok());
    four.map_or(network, IpNet::V4)
}

/// `"0660"`: permission bits in octal.
pub(super) fn mode(text: &str) -> Result<u32, Fault> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| digits && *bits <= 0o777);
    bits.ok_or_else(|| {
        let help = "write permission bits in octal: \"0660\"";
        Fault::new(format!("{} is not a file mode", quoted(text)), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_round_trip() {
        let reads = [
            ("250ms", 250),
            ("5s", 5_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("1d", 86_400_000),
            (" 2 weeks ", 1_209_600_000),
            ("0s", 0),
        ];
        for (text, millis) in reads {
            let length = Duration::from_millis(millis);
            assert_eq!(duration(text).unwrap(), length, "{text}");
            assert_eq!(duration(&show_duration(length)).unwrap(), length, "{text}");
        }
        for text in ["", "5", "s", "-5s", "5s ago", "5 parsecs", "1 month", "PT5S", "∞", "99999y"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_exact_and_round_trip() {
        let reads =
            [("64KiB", 65536), ("1.5 MiB", 1_572_864), ("4096", 4096), ("1GB", 1_000_000_000)];
        for (text, bytes) in reads {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
            assert_eq!(size(&show_size(bytes)).unwrap(), bytes, "{text}");
        }
        for text in ["", "x", "-1", "64 parsecs", "1.2.3K"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(show_size(0), "0B");
    }

    #[test]
    fn rates_count_per_time() {
        let reads =
            [("100/s", 100, 1), ("20/m", 20, 60), ("5/10s", 5, 10), ("1_000/h", 1000, 3600)];
        for (text, count, seconds) in reads {
            let expected = Rate { count, per: Duration::from_secs(seconds) };
            assert_eq!(rate(text).unwrap(), expected, "{text}");
            assert_eq!(rate(&show_rate(expected)).unwrap(), expected, "{text}");
        }
        for text in ["", "100", "/s", "0/s", "5/0s", "-1/s", "5/", "99999999999/s", "1/2d", "1.5/s"]
        {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percents_networks_and_modes() {
        assert_eq!(percent("10%"), Ok(10));
        assert!(["10", "101%", "-1%", "%"].iter().all(|text| percent(text).is_err()));
        assert_eq!(network("10.0.0.0/8"), Ok(("10.0.0.0/8".parse().unwrap(), false)));
        assert_eq!(network("10.1.2.3/8"), Ok(("10.0.0.0/8".parse().unwrap(), true)));
        assert_eq!(network("::1"), Ok(("::1/128".parse().unwrap(), false)));
        assert_eq!(network("::ffff:10.0.0.0/104").unwrap().0, "10.0.0.0/8".parse().unwrap());
        assert!(["10.0.0/8", "10.0.0.0/33", "x", ""].iter().all(|text| network(text).is_err()));
        assert_eq!((mode("0660"), mode("600")), (Ok(0o660), Ok(0o600)));
        assert!(
            ["660 ", "0o660", "0999", "7777", "6", "+660"].iter().all(|text| mode(text).is_err())
        );
    }
}
