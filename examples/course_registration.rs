//! The course registration: at most so many students in a course, and no student in more than so many courses.
//!
//! Neither rule is about one stream: one looks at all students of a course, the other at all courses of a student. So the decision rests on a
//! query by tags, and its events are recorded only if nothing else that the query finds was recorded meanwhile. There is no table of
//! places to keep, and no lock.
//!
//! ```text
//! cargo run -p factum-examples --bin course_registration -- file:./courses
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use factum::{Boundary, CommandError, Decider, Decision, Event, Query, QueryItem, Retry, Tag, Uuid, connect};
use serde::{Deserialize, Serialize};

// --- What can happen ---------------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum CourseEvent {
    CourseOffered { course: String, places: usize },
    StudentRegistered { course: String, student: String },
    StudentWithdrew { course: String, student: String },
}

impl Event for CourseEvent {
    /// Everything that an event is about: who decides about a course or a student finds it by these.
    fn tags(&self) -> Vec<String> {
        match self {
            Self::CourseOffered { course, .. } => vec![course_tag(course)],
            Self::StudentRegistered { course, student } | Self::StudentWithdrew { course, student } => {
                vec![course_tag(course), student_tag(student)]
            }
        }
    }
}

fn course_tag(course: &str) -> String {
    format!("course:{course}")
}

fn student_tag(student: &str) -> String {
    format!("student:{student}")
}

// --- The rules ---------------------------------------------------------------------------------------------------------------------

const COURSES_EACH: usize = 2;

struct Registration;

/// What is known of one course and one student: what the query finds, and no more.
#[derive(Clone, Debug, Default)]
struct Known {
    places: HashMap<String, usize>,
    registered: HashSet<(String, String)>,
}

#[derive(Clone, Debug)]
enum Command {
    Offer { course: String, places: usize },
    Register { course: String, student: String },
    Withdraw { course: String, student: String },
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("the course is offered already")]
    OfferedAlready,
    #[error("there is no such course")]
    NoSuchCourse,
    #[error("the student is registered already")]
    RegisteredAlready,
    #[error("the student is not registered")]
    NotRegistered,
    #[error("all {0} places are taken")]
    Full(usize),
    #[error("the student has {COURSES_EACH} courses, and that is enough")]
    EnoughCourses,
}

impl Decider for Registration {
    const CATEGORY: &'static str = "Course";
    type State = Known;
    type Command = Command;
    type Event = CourseEvent;
    /// How many places are left.
    type Reply = usize;
    type Error = Refusal;

    fn decide(known: &Known, command: &Command) -> Result<Decision<CourseEvent, usize>, Refusal> {
        let (Command::Offer { course, .. } | Command::Register { course, .. } | Command::Withdraw { course, .. }) = command;
        let taken = known.registered.iter().filter(|(other, _)| other == course).count();
        match (known.places.get(course), command.clone()) {
            (None, Command::Offer { course, places }) => Ok(Decision::of([CourseEvent::CourseOffered { course, places }]).reply(places)),
            (Some(_), Command::Offer { .. }) => Err(Refusal::OfferedAlready),
            (None, Command::Register { .. } | Command::Withdraw { .. }) => Err(Refusal::NoSuchCourse),
            (Some(&places), Command::Register { course, student }) => {
                if known.registered.contains(&(course.clone(), student.clone())) {
                    return Err(Refusal::RegisteredAlready);
                }
                if taken >= places {
                    return Err(Refusal::Full(places));
                }
                if known.registered.iter().filter(|(_, other)| *other == student).count() >= COURSES_EACH {
                    return Err(Refusal::EnoughCourses);
                }
                Ok(Decision::of([CourseEvent::StudentRegistered { course, student }]).reply(places - taken - 1))
            }
            (Some(&places), Command::Withdraw { course, student }) => {
                if !known.registered.contains(&(course.clone(), student.clone())) {
                    return Err(Refusal::NotRegistered);
                }
                Ok(Decision::of([CourseEvent::StudentWithdrew { course, student }]).reply(places - taken + 1))
            }
        }
    }

    fn evolve(known: &mut Known, event: &CourseEvent) {
        match event.clone() {
            CourseEvent::CourseOffered { course, places } => drop(known.places.insert(course, places)),
            CourseEvent::StudentRegistered { course, student } => drop(known.registered.insert((course, student))),
            CourseEvent::StudentWithdrew { course, student } => drop(known.registered.remove(&(course, student))),
        }
    }
}

// --- At work -----------------------------------------------------------------------------------------------------------------------

/// Runs commands, each on what it is about.
struct Office {
    boundary: Boundary<Registration>,
}

impl Office {
    async fn run(&self, command: Command) -> Result<usize, CommandError<Refusal>> {
        let (course, tags) = match &command {
            Command::Offer { course, .. } => (course.clone(), vec![course_tag(course)]),
            Command::Register { course, student } | Command::Withdraw { course, student } => {
                (course.clone(), vec![course_tag(course), student_tag(student)])
            }
        };
        // Events that carry any of these tags.
        let mut query = Query::default();
        for tag in tags {
            query = query.or(QueryItem { tags: vec![Tag::new(tag)?], ..QueryItem::default() });
        }
        Ok(self.boundary.execute(course, query, command).await?.reply)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let store = connect(&url).await?;
    let retry = Retry { attempts: 200, ..Retry::default() };
    let office = Arc::new(Office { boundary: Boundary::new(store.clone()).retrying(retry) });

    let term = Uuid::now_v7().simple().to_string();
    let course = |name: &str| format!("{term}-{name}");
    let courses = [(course("algebra"), 3), (course("botany"), 2), (course("chess"), 4)];
    for (course, places) in &courses {
        office.run(Command::Offer { course: course.clone(), places: *places }).await?;
    }
    refused(office.run(Command::Offer { course: course("chess"), places: 9 }).await, &Refusal::OfferedAlready);
    let astrology = Command::Register { course: course("astrology"), student: "ann".into() };
    refused(office.run(astrology).await, &Refusal::NoSuchCourse);

    // Registration opens, and eight students want everything at once.
    let mut students = Vec::new();
    for number in 0..8 {
        let (office, courses, student) = (office.clone(), courses.clone(), format!("{term}-student-{number}"));
        students.push(tokio::spawn(async move {
            for turn in 0..courses.len() {
                let course = courses[(turn + number) % courses.len()].0.clone();
                match office.run(Command::Register { course, student: student.clone() }).await {
                    Ok(_) | Err(CommandError::Refused(Refusal::Full(_) | Refusal::EnoughCourses)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }));
    }
    for student in students {
        student.await??;
    }

    // Both rules have held.
    let mut courses_of: HashMap<String, usize> = HashMap::new();
    for (course, places) in &courses {
        let known = office.boundary.state(Query::tags([Tag::new(course_tag(course))?])).await?;
        println!("{}: {} of {places} places taken", &course[term.len() + 1..], known.registered.len());
        assert!(known.registered.len() <= *places);
        for (_, student) in known.registered {
            *courses_of.entry(student).or_default() += 1;
        }
    }
    assert!(courses_of.values().all(|courses| *courses <= COURSES_EACH));

    // A place that is given back can be taken.
    let (course, _) = &courses[0];
    let known = office.boundary.state(Query::tags([Tag::new(course_tag(course))?])).await?;
    let (_, student) = known.registered.iter().next().ok_or("somebody is registered")?.clone();
    let register = Command::Register { course: course.clone(), student: student.clone() };
    refused(office.run(register.clone()).await, &Refusal::RegisteredAlready);
    let withdraw = Command::Withdraw { course: course.clone(), student };
    let places = office.run(withdraw.clone()).await?;
    println!("after a withdrawal: {places} left");
    refused(office.run(withdraw).await, &Refusal::NotRegistered);
    assert_eq!(office.run(register).await?, places - 1);
    store.close().await?;
    Ok(())
}

fn refused(outcome: Result<usize, CommandError<Refusal>>, expected: &Refusal) {
    let refusal = outcome.expect_err("it breaks a rule").refused().expect("the rules refuse it");
    println!("refused: {refusal}");
    assert_eq!(&refusal, expected);
}
