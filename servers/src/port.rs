//! A port that nobody listens on.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A TCP port of the loopback interface that was free a moment ago. Somebody else may take it before the server does; whoever starts
/// one tries again with another port then.
///
/// # Errors
/// If the system gives none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_can_be_listened_on() {
        let port = free_port().expect("a port is free");
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
    }
}
