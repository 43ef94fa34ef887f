//! Given, when, then.

use std::sync::atomic::{AtomicU64, Ordering};

use factum::testing::{given, given_object};
use factum::{Aggregate, Decider, Decision, Event, Recorder};
use serde::{Deserialize, Serialize};

use crate::failure;

struct Lamp;

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    is_on: bool,
    switched: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum LampEvent {
    SwitchedOn { room: String, watts: u64 },
    SwitchedOff,
}
impl Event for LampEvent {}

enum Command {
    SwitchOn {
        watts: u64,
    },
    SwitchOff,
    /// Against the rules: not the same decision twice.
    Flicker,
    Look,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    IsOn,
    IsOff,
}

impl Decider for Lamp {
    const CATEGORY: &'static str = "Lamp";
    type State = State;
    type Command = Command;
    type Event = LampEvent;
    type Reply = u32;
    type Error = Refusal;

    fn decide(state: &State, command: &Command) -> Result<Decision<LampEvent, u32>, Refusal> {
        static TIME: AtomicU64 = AtomicU64::new(0);
        let on = |watts| LampEvent::SwitchedOn { room: "kitchen".into(), watts };
        match command {
            Command::SwitchOn { .. } if state.is_on => Err(Refusal::IsOn),
            Command::SwitchOn { watts } => Ok(Decision::of([on(*watts)]).reply(state.switched + 1)),
            Command::SwitchOff if state.is_on => Ok(Decision::of([LampEvent::SwitchedOff]).reply(state.switched + 1)),
            Command::SwitchOff => Err(Refusal::IsOff),
            Command::Flicker => Ok(Decision::of([on(TIME.fetch_add(1, Ordering::Relaxed))]).reply(0)),
            Command::Look => Ok(Decision::nothing().reply(state.switched)),
        }
    }

    fn evolve(state: &mut State, event: &LampEvent) {
        state.switched += 1;
        state.is_on = matches!(event, LampEvent::SwitchedOn { .. });
    }
}

fn on(watts: u64) -> LampEvent {
    LampEvent::SwitchedOn { room: "kitchen".into(), watts }
}

#[test]
fn what_is_as_said_passes() {
    given::<Lamp>([])
        .when(Command::SwitchOn { watts: 40 })
        .then_events([on(40)])
        .then_reply(1)
        .then_state(State { is_on: true, switched: 1 });
    given::<Lamp>([on(40)]).when(Command::SwitchOff).then_events([LampEvent::SwitchedOff]);
    given::<Lamp>([on(40)]).when(Command::SwitchOn { watts: 40 }).then_refused(Refusal::IsOn);
    given::<Lamp>([on(40), LampEvent::SwitchedOff]).when(Command::Look).then_nothing().then_reply(2);
    given::<Lamp>([on(40)]).then_state(State { is_on: true, switched: 1 }).when(Command::SwitchOff).then_reply(2);
}

#[test]
fn what_differs_is_shown() {
    let message = failure(|| drop(given::<Lamp>([]).when(Command::SwitchOn { watts: 40 }).then_events([on(60)])));
    let expected = "other events happened:
--- expected
+++ actual
@@ -1,4 +1,4 @@
 SwitchedOn {
   \"room\": \"kitchen\",
-  \"watts\": 60
+  \"watts\": 40
 }
";
    assert_eq!(message, expected);

    let message = failure(|| drop(given::<Lamp>([on(40)]).when(Command::SwitchOff).then_state(State::default())));
    assert!(message.starts_with("the state is another:\n") && message.contains("-    switched: 0,\n+    switched: 2,"), "{message}");
    let message = failure(|| drop(given::<Lamp>([on(40)]).when(Command::SwitchOff).then_reply(7)));
    assert!(message.contains("-7\n+2"), "{message}");
    let message = failure(|| given::<Lamp>([]).when(Command::SwitchOn { watts: 1 }).then_refused(Refusal::IsOn));
    assert!(message.starts_with("it was not refused, but this happened:\nSwitchedOn {"), "{message}");
    let message = failure(|| given::<Lamp>([]).when(Command::SwitchOff).then_refused(Refusal::IsOn));
    assert!(message.contains("-IsOn\n+IsOff"), "{message}");
    let message = failure(|| drop(given::<Lamp>([]).when(Command::SwitchOff).then_events([LampEvent::SwitchedOff])));
    assert_eq!(message, "it was refused (IsOff), where this was expected to happen:\nSwitchedOff {}\n");
    let message = failure(|| drop(given::<Lamp>([on(40)]).when(Command::SwitchOn { watts: 40 }).then_reply(2)));
    assert_eq!(message, "it was refused (IsOn), where the reply was expected to be 2");
    let message = failure(|| drop(given::<Lamp>([]).when(Command::SwitchOn { watts: 1 }).then_nothing()));
    assert!(message.contains("-nothing\n+SwitchedOn {"), "{message}");
}

#[test]
fn a_decision_that_reads_a_clock_is_noticed() {
    let message = failure(|| drop(given::<Lamp>([]).when(Command::Flicker)));
    assert!(message.contains("gave two decisions"), "{message}");
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Counter {
    count: u32,
    recorder: Recorder<Counted>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    by: u32,
}
impl Event for Counted {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "Counter";
    type Event = Counted;
    type Error = &'static str;

    fn apply(&mut self, event: &Counted) {
        self.count += event.by;
    }

    fn recorder(&mut self) -> &mut Recorder<Counted> {
        &mut self.recorder
    }
}

impl Counter {
    fn count(&mut self, by: u32) -> Result<u32, &'static str> {
        if self.count + by > 10 {
            return Err("that is too many");
        }
        self.record(Counted { by });
        Ok(self.count)
    }
}

#[test]
fn objects_are_tested_the_same_way() {
    given_object::<Counter>([Counted { by: 3 }]).when_called(|counter| counter.count(4)).then_events([Counted { by: 4 }]).then_reply(7);
    given_object::<Counter>([Counted { by: 9 }]).when_called(|counter| counter.count(2)).then_refused("that is too many");
    let message = failure(|| drop(given_object::<Counter>([]).when_called(|counter| counter.count(2)).then_nothing()));
    assert!(message.contains("+Counted {"), "{message}");
}
