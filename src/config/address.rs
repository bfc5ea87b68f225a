//! Addresses: where listeners listen and where backends are, from text and back.

mod backend;
mod listen;
mod ranges;
mod show;

use std::net::IpAddr;
use std::path::PathBuf;

use super::suggest::quoted;
use super::units::Fault;

pub(super) use backend::{backend, ip, source};
pub use listen::ADDRESSES_PER_LISTENER;
pub(super) use listen::listen;
pub(super) use ranges::ranges;

/// sun_path holds 108 bytes with the final zero (unix(7)).
const UNIX_PATH: usize = 107;

/// `unix:/path` or a bare absolute path, without what would break a line of the log.
fn unix(text: &str) -> Option<Result<PathBuf, Fault>> {
    let path = match text.strip_prefix("unix:") {
        Some(path) => path,
        None if text.starts_with('/') => text,
        None => return None,
    };
    let fault = |what: &str| Fault::new(what, "write \"unix:/run/forebay/app.sock\"");
    Some(if !path.starts_with('/') {
        Err(fault(&format!("{} is not an absolute path", quoted(path))))
    } else if path.contains(char::is_control) || path.ends_with('/') {
        Err(fault(&format!("{} cannot name a socket", quoted(path))))
    } else if path.len() > UNIX_PATH {
        let length = path.len();
        Err(fault(&format!("a socket path of {length} bytes is too long, at most {UNIX_PATH}")))
    } else {
        Ok(PathBuf::from(path))
    })
}

/// Host and port; an IPv6 host keeps its brackets.
fn split<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), Fault> {
    let fault = |what: &str, help: String| Fault::new(format!("{} {what}", quoted(text)), help);
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Err(fault("is a URL", format!("write \"{rest}\" without \"{scheme}://\"")));
    }
    let bare = text.bytes().filter(|byte| *byte == b':').count() > 1 && !text.starts_with('[');
    if bare {
        return Err(fault("is IPv6 without brackets", "write \"[::1]:8080\"".to_owned()));
    }
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], &text[at + 1..]),
        _ if text.parse::<u16>().is_ok() => {
            let host = example.rsplit_once(':').map_or(example, |(host, _)| host);
            return Err(fault("is a port alone", format!("write \"{host}:{text}\"")));
        }
        _ => return Err(fault("has no port", format!("write \"{example}\""))),
    };
    match port {
        "" => Err(fault("has no port", format!("write \"{example}\""))),
        _ => Ok((host, port)),
    }
}

fn port_number(text: &str, port: &str) -> Result<u16, Fault> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| digits).ok_or_else(|| {
        let message = format!("{} is not a port in {}", quoted(port), quoted(text));
        Fault::new(message, "a port is a number up to 65535")
    })
}

fn bracketed(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}
