//! The user profile: a decider as two functions, and what happens when its events change their shape.
//!
//! Events are for ever, programs are not. This one has been through three versions, and reads what each of them has stored.
//!
//! ```text
//! cargo run -p factum-examples --bin user_profile -- file:./users
//! ```

use factum::{
    Decider, Decision, Event, EventStoreExt, ExpectedVersion, NewEvent, Repository, Shape, Snapshots, StreamVersion, Upcasters, Uuid,
    connect,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

// --- What can happen to a user, in the shape of today ------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum UserEvent {
    UserCreated { first_name: String, last_name: String, email: String, locale: String },
    EmailChanged { email: String },
    StreetChanged { street: String },
    CityChanged { city: String },
}

impl Event for UserEvent {
    /// How it came to be. Each step takes one type from one version of its schema to the next, or to other types.
    fn upcasters() -> Upcasters {
        Upcasters::new()
            // At first there was one name, and the field for the address was called `mail`.
            .from("UserCreated", 1, |shape| {
                shape.rename_field("mail", "email").split_field("name", |name| {
                    let (first, last) = name.as_str().and_then(|name| name.split_once(' ')).unwrap_or_default();
                    [("first_name", json!(first)), ("last_name", json!(last))]
                })
            })
            // Then came other languages.
            .from("UserCreated", 2, |shape| shape.default_field("locale", "en"))
            // A move was one event, until people began to move within their city.
            .from("AddressUpdated", 1, |shape| {
                let (street, city) = (shape.data["street"].clone(), shape.data["city"].clone());
                vec![Shape::new("StreetChanged", json!({"street": street})), Shape::new("CityChanged", json!({"city": city}))]
            })
            .rename_type("EmailUpdated", "EmailChanged")
            // Nobody ever needed to know.
            .drop_type("UserLoggedIn")
    }
}

// --- The user ----------------------------------------------------------------------------------------------------------------------

struct User;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    email: String,
    street: String,
    city: String,
    locale: String,
}

enum Command {
    Create { first_name: String, last_name: String, email: String, locale: String },
    ChangeEmail { email: String },
    Move { street: String, city: String },
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("there is such a user")]
    Exists,
    #[error("there is no such user")]
    DoesNotExist,
    #[error("{0:?} is no address for mail")]
    NoEmail(String),
}

impl Decider for User {
    const CATEGORY: &'static str = "User";
    type State = Option<Profile>;
    type Command = Command;
    type Event = UserEvent;
    type Reply = ();
    type Error = Refusal;

    fn decide(profile: &Option<Profile>, command: &Command) -> Result<Decision<UserEvent>, Refusal> {
        let checked = |email: &String| if email.contains('@') { Ok(email.clone()) } else { Err(Refusal::NoEmail(email.clone())) };
        match (profile, command) {
            (Some(_), Command::Create { .. }) => Err(Refusal::Exists),
            (None, Command::Create { first_name, last_name, email, locale }) => Ok(Decision::of([UserEvent::UserCreated {
                first_name: first_name.clone(),
                last_name: last_name.clone(),
                email: checked(email)?,
                locale: locale.clone(),
            }])),
            (None, Command::ChangeEmail { .. } | Command::Move { .. }) => Err(Refusal::DoesNotExist),
            // Asked for what is so already: nothing happens, and that is no refusal.
            (Some(profile), Command::ChangeEmail { email }) if profile.email == *email => Ok(Decision::nothing()),
            (Some(_), Command::ChangeEmail { email }) => Ok(Decision::of([UserEvent::EmailChanged { email: checked(email)? }])),
            (Some(profile), Command::Move { street, city }) => {
                let mut events = vec![UserEvent::StreetChanged { street: street.clone() }];
                if profile.city != *city {
                    events.push(UserEvent::CityChanged { city: city.clone() });
                }
                Ok(Decision::of(events))
            }
        }
    }

    fn evolve(profile: &mut Option<Profile>, event: &UserEvent) {
        let profile = profile.get_or_insert_default();
        match event.clone() {
            UserEvent::UserCreated { first_name, last_name, email, locale } => {
                *profile = Profile { name: format!("{first_name} {last_name}"), email, locale, ..Profile::default() };
            }
            UserEvent::EmailChanged { email } => profile.email = email,
            UserEvent::StreetChanged { street } => profile.street = street,
            UserEvent::CityChanged { city } => profile.city = city,
        }
    }
}

// --- At work -----------------------------------------------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let store = connect(&url).await?;
    let users = || Repository::<User>::new(store.clone()).snapshots(Snapshots::every(4).schema(1));
    let profiles = users();

    // Events that the first version of this program has stored.
    let old = &Uuid::now_v7().to_string();
    let events = vec![
        NewEvent::json("UserCreated", &json!({"name": "Alice Smith", "mail": "alice@example.com"}))?,
        NewEvent::json("UserLoggedIn", &json!({"from": "192.0.2.7"}))?,
        NewEvent::json("AddressUpdated", &json!({"street": "1 Main Street", "city": "Springfield"}))?,
        NewEvent::json("EmailUpdated", &json!({"email": "alice.smith@example.com"}))?,
    ];
    store.append_to(&profiles.stream(old)?, ExpectedVersion::NoStream, events).await?;

    // This one reads them as if they were its own.
    let alice = profiles.get(old).await?.ok_or("she is there")?;
    println!("stored by version 1: {:?}", alice.state);
    let expected = Profile {
        name: "Alice Smith".into(),
        email: "alice.smith@example.com".into(),
        street: "1 Main Street".into(),
        city: "Springfield".into(),
        locale: "en".into(),
    };
    assert_eq!(alice.state.as_ref(), Some(&expected));

    // And goes on with them.
    let moved = Command::Move { street: "2 Main Street".into(), city: "Springfield".into() };
    let done = profiles.execute(old, moved).await?;
    println!("moved within the city: version {}", done.version);
    let same = profiles.execute(old, Command::ChangeEmail { email: expected.email.clone() }).await?;
    assert_eq!((same.receipt, same.version), (None, done.version));

    let new = &Uuid::now_v7().to_string();
    let create =
        || Command::Create { first_name: "Bob".into(), last_name: "Jones".into(), email: "bob@example.com".into(), locale: "fr".into() };
    profiles.execute(new, create()).await?;
    let refusals = [
        (profiles.execute(new, create()).await, Refusal::Exists),
        (profiles.execute(new, Command::ChangeEmail { email: "nowhere".into() }).await, Refusal::NoEmail("nowhere".into())),
        (profiles.execute("nobody", Command::ChangeEmail { email: "a@b.c".into() }).await, Refusal::DoesNotExist),
    ];
    for (outcome, expected) in refusals {
        let refusal = outcome.expect_err("it makes no sense").refused().ok_or("the user itself refuses it")?;
        println!("refused: {refusal}");
        assert_eq!(refusal, expected);
    }

    // Time travel: before the move, and before everything.
    let before = profiles.get_at(old, StreamVersion::new(4)).await?.state;
    assert_eq!(before.map(|profile| profile.street), Some("1 Main Street".to_owned()));
    assert_eq!(profiles.get_at(old, StreamVersion::NONE).await?.state, None);

    // A second process finds a snapshot where this one has taken it, and the same state either way.
    profiles.settle().await;
    assert_eq!(users().get(old).await?, profiles.get(old).await?);
    store.close().await?;
    Ok(())
}

// --- Its tests ---------------------------------------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use factum::testing::{Golden, given};

    use super::*;

    fn created() -> UserEvent {
        let (first_name, last_name) = ("Alice".into(), "Smith".into());
        UserEvent::UserCreated { first_name, last_name, email: "alice@example.com".into(), locale: "en".into() }
    }

    /// Each version of each event that was ever stored is still read, and as what it was.
    #[test]
    fn everything_that_was_ever_stored_can_be_read() {
        let samples = [
            created(),
            UserEvent::EmailChanged { email: "a@b.c".into() },
            UserEvent::StreetChanged { street: "1 Main Street".into() },
            UserEvent::CityChanged { city: "Springfield".into() },
        ];
        Golden::<UserEvent>::in_folder("golden/user_profile").check(samples);
    }

    #[test]
    fn who_moves_within_the_city_changes_only_the_street() {
        let there = || [created(), UserEvent::CityChanged { city: "Springfield".into() }];
        let street = || UserEvent::StreetChanged { street: "2 Main Street".into() };
        let to = |city: &str| Command::Move { street: "2 Main Street".into(), city: city.into() };
        given::<User>(there()).when(to("Springfield")).then_events([street()]);
        given::<User>(there()).when(to("Shelbyville")).then_events([street(), UserEvent::CityChanged { city: "Shelbyville".into() }]);
    }

    #[test]
    fn what_is_so_already_is_no_news() {
        given::<User>([created()]).when(Command::ChangeEmail { email: "alice@example.com".into() }).then_nothing();
    }
}
