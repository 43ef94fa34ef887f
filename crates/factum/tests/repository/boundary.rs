//! Rules that span streams: a course has so many places, a student so many courses.

use std::sync::Arc;

use factum::{
    Boundary, CommandError, CommandOptions, Decider, Decision, Error, Event, GlobalPosition, Query, QueryItem, ReadLog, Retry,
    StreamVersion, Tag,
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::memory;

const PLACES: usize = 3;
const COURSES_EACH: usize = 2;

struct Enrolment;

#[derive(Clone, Debug, Default)]
struct Enrolled {
    all: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StudentEnrolled {
    student: u32,
    course: u32,
}

impl Event for StudentEnrolled {
    fn tags(&self) -> Vec<String> {
        vec![format!("student:{}", self.student), format!("course:{}", self.course)]
    }
}

struct Enrol {
    student: u32,
    course: u32,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
struct Refusal(&'static str);

impl Decider for Enrolment {
    const CATEGORY: &'static str = "Enrolment";
    type State = Enrolled;
    type Command = Enrol;
    type Event = StudentEnrolled;
    /// The number of places that were left.
    type Reply = usize;
    type Error = Refusal;

    fn decide(Enrolled { all }: &Enrolled, &Enrol { student, course }: &Enrol) -> Result<Decision<StudentEnrolled, usize>, Refusal> {
        let taken = all.iter().filter(|(_, other)| *other == course).count();
        if all.contains(&(student, course)) {
            return Err(Refusal("enrolled already"));
        }
        if taken == PLACES {
            return Err(Refusal("no place left"));
        }
        if all.iter().filter(|(other, _)| *other == student).count() == COURSES_EACH {
            return Err(Refusal("enough courses"));
        }
        Ok(Decision::of([StudentEnrolled { student, course }]).reply(PLACES - taken))
    }

    fn evolve(Enrolled { all }: &mut Enrolled, event: &StudentEnrolled) {
        all.push((event.student, event.course));
    }
}

fn about(student: u32, course: u32) -> Query {
    let tag = |text: String| Tag::new(text).expect("a short text");
    let item = QueryItem { tags: vec![tag(format!("course:{course}"))], ..QueryItem::default() };
    Query::tags([tag(format!("student:{student}"))]).or(item)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_span_streams_hold_under_concurrent_commands() {
    let store = memory().await;
    let retry = Retry { attempts: 1_000, ..Retry::default() };
    let boundary = Arc::new(Boundary::<Enrolment>::new(store.clone()).retrying(retry));
    let mut tasks = Vec::new();
    for student in 0..8 {
        let boundary = boundary.clone();
        tasks.push(tokio::spawn(async move {
            for course in 0..4 {
                let course = (course + student) % 4;
                match boundary.execute(student.to_string(), about(student, course), Enrol { student, course }).await {
                    Ok(_) | Err(CommandError::Refused(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("it ends");
    }
    let all = boundary.state(Query::all()).await.expect("it is read").all;
    let count = |matches: &dyn Fn(&(u32, u32)) -> bool| all.iter().filter(|pair| matches(pair)).count();
    for course in 0..4 {
        assert_eq!(count(&|pair| pair.1 == course), PLACES, "{all:?}");
    }
    for student in 0..8 {
        assert!(count(&|pair| pair.0 == student) <= COURSES_EACH, "{all:?}");
    }
}

#[tokio::test]
async fn a_repeat_by_key_gets_the_answer_of_then() {
    let boundary = Boundary::<Enrolment>::new(memory().await);
    let enrol = async |student: u32, key: &str| {
        let command = Enrol { student, course: 1 };
        boundary.execute_with(student.to_string(), about(student, 1), command, CommandOptions::key(key)).await
    };
    let first = enrol(1, "a").await.expect("there is a place");
    enrol(2, "a").await.expect("there is a place");
    enrol(3, "a").await.expect("there is a place");
    let again = enrol(1, "a").await.expect("it was done before");
    assert!(again.is_duplicate());
    assert_eq!((first.reply, again.reply), (3, 3));
    assert_eq!(enrol(1, "b").await.expect_err("it is done").refused(), Some(Refusal("enrolled already")));
    assert_eq!(enrol(4, "a").await.expect_err("it is full").refused(), Some(Refusal("no place left")));
}

#[tokio::test]
async fn a_query_has_no_version_to_expect() {
    let boundary = Boundary::<Enrolment>::new(memory().await);
    let options = CommandOptions::expecting(StreamVersion::NONE);
    let done = boundary.execute_with("1", about(1, 1), Enrol { student: 1, course: 1 }, options).await;
    assert!(matches!(done, Err(CommandError::Store(Error::Invalid { .. }))));
}

#[tokio::test]
async fn events_of_others_do_not_disturb() {
    let store = memory().await;
    let boundary = Boundary::<Enrolment>::new(store.clone());
    for student in 0..3 {
        let done = boundary.execute(student.to_string(), about(student, student), Enrol { student, course: student }).await;
        assert_eq!(done.expect("there is a place").conflicts, 0);
    }
    let log: Vec<_> = store.read_log(ReadLog { after: GlobalPosition::START, ..ReadLog::default() }).try_collect().await.expect("read");
    assert_eq!(log.len(), 3);
}

/// A state that was kept is the state of its query still, after what others recorded, in and beside it; and so is that of the other.
#[tokio::test]
async fn a_kept_state_learns_what_others_recorded() {
    let store = memory().await;
    let (one, other) = (Boundary::<Enrolment>::new(store.clone()), Boundary::<Enrolment>::new(store).caching(0));
    for student in 1..=3 {
        let boundary = if student == 2 { &other } else { &one };
        let done = boundary.execute(student.to_string(), about(9, 1), Enrol { student, course: 1 }).await.expect("there is a place");
        assert_eq!((done.reply, done.conflicts), (PLACES + 1 - student as usize, 0));
    }
    for boundary in [&one, &other] {
        let refused = boundary.execute("4", about(9, 1), Enrol { student: 4, course: 1 }).await.expect_err("there is no place");
        assert_eq!(refused.refused(), Some(Refusal("no place left")));
    }
}
