//! `http`: a backend is healthy when it answers a request as expected.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{self, DeserializeSeed as _};
use serde::{Deserialize, Deserializer};

use super::conversation::Conversation;
use super::pattern::{Pattern, Text};
use super::said::quote;
use crate::net::Address;
use crate::plugin::{Measuring, Options, Probe, Problem, Target};
use crate::wire::http::{Answer, Heard, answer};

/// `{ http = { path = "/ok", host = "app.example", status = [200, "300-399"], body = "ready" } }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    #[serde(deserialize_with = "method")]
    method: String,
    #[serde(deserialize_with = "path")]
    path: String,
    #[serde(deserialize_with = "host")]
    host: Option<String>,
    status: Statuses,
    body: Option<Pattern>,
}

impl Default for Http {
    fn default() -> Self {
        let status = Statuses(vec![200..=399]);
        Self { method: "GET".into(), path: "/".into(), host: None, status, body: None }
    }
}

impl Http {
    pub(super) fn from_options(options: &Options) -> Result<Self, Vec<Problem>> {
        let probe: Self = options.read()?;
        if probe.body.is_some() && probe.is_head() {
            let problem = options.problem_at("body", "the answer to a HEAD has no body");
            return Err(vec![problem]);
        }
        Ok(probe)
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    fn request(&self, address: &Address) -> String {
        let host = match (&self.host, address) {
            (Some(host), _) => host.clone(),
            (None, Address::Tcp(address)) => address.to_string(),
            (None, Address::Unix(_)) => "localhost".to_owned(),
        };
        let Self { method, path, .. } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: forebay\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        )
    }

    async fn ask(&self, target: &Target) -> Result<(), String> {
        let mut conversation = Conversation::with(target).await?;
        conversation.wait_for("the answer");
        conversation.tell(self.request(&target.address).as_bytes()).await?;
        let mut ended = false;
        loop {
            let heard = Heard { bytes: conversation.heard(), ended, head: self.is_head() };
            let shown = quote(heard.bytes);
            match answer(heard) {
                Err(_) => return Err(format!("the answer is not HTTP: {shown}")),
                Ok(Some(answer)) => {
                    if let Some(verdict) = self.judge(&answer) {
                        return verdict;
                    }
                    conversation.wait_for(self.missing(&answer));
                }
                Ok(None) if ended && heard.bytes.is_empty() => {
                    return Err("the connection was closed without an answer".to_owned());
                }
                Ok(None) if ended => return Err(format!("the answer is cut short: {shown}")),
                Ok(None) if heard.bytes.is_empty() => {}
                Ok(None) => conversation.wait_for(format!("the answer, got {shown}")),
            }
            ended = !conversation.hear().await?;
        }
    }

    /// None if more has to come.
    fn judge(&self, answer: &Answer) -> Option<Result<(), String>> {
        if !self.status.0.iter().any(|range| range.contains(&answer.status)) {
            return Some(Err(format!("status {}, expected {}", answer.status, self.status)));
        }
        match &self.body {
            None => Some(Ok(())),
            Some(body) if body.find(&answer.body).is_some() => Some(Ok(())),
            Some(_) if answer.complete => Some(Err(self.missing(answer))),
            Some(_) => None,
        }
    }

    fn missing(&self, answer: &Answer) -> String {
        let (Answer { status, body, .. }, expected) = (answer, &self.body);
        let expected = expected.iter().map(|expected| format!(", expected {expected}"));
        let expected: String = expected.collect();
        format!("status {status}{expected} in the body, got {}", quote(body))
    }
}

impl Probe for Http {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(self.ask(target))
    }
}

/// Statuses that are good: `200`, `"200-399"`, or a list of these.
struct Statuses(Vec<RangeInclusive<u16>>);

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{start}")?,
                (start, end) => write!(f, "{start}-{end}")?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadStatuses)
    }
}

struct ReadStatuses;

impl<'de> de::Visitor<'de> for ReadStatuses {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 200 or \"200-399\", or a list of these")
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<Statuses, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|it| (100..600).contains(it));
        match (number(start), number(end)) {
            (Some(start), Some(end)) if start <= end => Ok(Statuses(vec![start..=end])),
            _ => Err(E::custom("a status is a number from 100 to 599, or a range \"200-399\"")),
        }
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
        let mut all = Vec::new();
        while let Some(Statuses(mut ranges)) = list.next_element()? {
            all.append(&mut ranges);
        }
        match all.is_empty() {
            true => Err(de::Error::custom("the list is empty")),
            false => Ok(Statuses(all)),
        }
    }
}

fn method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let read =
        Text(|text| match !text.is_empty() && text.bytes().all(|it| it.is_ascii_uppercase()) {
            true => Ok(text.to_owned()),
            false => Err("a method is a word of capital letters".to_owned()),
        });
    read.deserialize(deserializer)
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let read =
        Text(|text| match text.starts_with('/') && text.bytes().all(|it| it.is_ascii_graphic()) {
            true => Ok(text.to_owned()),
            false => {
                Err("a path begins with `/` and has no spaces; write a space as %20".to_owned())
            }
        });
    read.deserialize(deserializer)
}

fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let read =
        Text(|text| match !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic()) {
            true => Ok(Some(text.to_owned())),
            false => Err("a host has no spaces and no letters beyond ASCII".to_owned()),
        });
    read.deserialize(deserializer)
}
