//! `send-expect`: a backend is healthy when a conversation goes as written.

use serde::Deserialize;

use super::conversation::Conversation;
use super::pattern::{Bytes, Pattern};
use super::said::quote;
use crate::plugin::{Measuring, Options, Probe, Problem, Target};

/// `{ send-expect = { steps = [{ send = "PING\r\n" }, { expect = "+PONG" }] } }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendExpect {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Send(Bytes),
    Expect(Pattern),
}

impl SendExpect {
    pub(super) fn from_options(options: &Options) -> Result<Self, Vec<Problem>> {
        let probe: Self = options.read()?;
        if probe.steps.is_empty() {
            let problem = options.problem_at("steps", "`steps` is empty");
            return Err(vec![problem.help("write at least one: { expect = \"…\" }")]);
        }
        Ok(probe)
    }

    async fn play(&self, target: &Target) -> Result<(), String> {
        let mut conversation = Conversation::with(target).await?;
        for (number, step) in (1..).zip(&self.steps) {
            match step {
                Step::Send(bytes) => {
                    let step = format!("step {number}: sending");
                    conversation.wait_for(step.clone());
                    let sent = conversation.tell(&bytes.0).await;
                    sent.map_err(|error| format!("{step}: {error}"))?;
                }
                Step::Expect(pattern) => expect(&mut conversation, number, pattern).await?,
            }
        }
        Ok(())
    }
}

impl Probe for SendExpect {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(self.play(target))
    }
}

/// Listens until the pattern is found; what follows it is left for the next step.
async fn expect(
    conversation: &mut Conversation<'_>,
    number: usize,
    pattern: &Pattern,
) -> Result<(), String> {
    loop {
        let heard = conversation.heard();
        let mut missing = format!("step {number}: expected {pattern}");
        if !heard.is_empty() {
            if let Some(end) = pattern.find(heard) {
                conversation.take(end);
                return Ok(());
            }
            missing = format!("{missing}, got {}", quote(heard));
        }
        conversation.wait_for(missing.clone());
        match conversation.hear().await {
            Ok(true) => {}
            Ok(false) => return Err(format!("{missing}, then the connection was closed")),
            Err(error) => return Err(format!("{missing}: {error}")),
        }
    }
}
